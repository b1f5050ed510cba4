"""Rate limits as commands: a token bucket in a device that all that a guest sends makes a detour by."""

from xenet.plan.limit import burst_of, limiter_of, queue_of
from xenet.plan.view import PortView

PREF, SILENCE = 0x5845, 0x5846
"""The preferences of these filters: that makes the detour, that keeps frames from the host's own stack."""


def limit_commands(port: PortView, now: int) -> tuple[str, ...]:
    """From this rate to the port's own."""
    device, limiter = port.device, limiter_of(port.device)
    if port.rate == now:
        return ()
    if not port.rate:
        return f"tc qdisc del dev {device} clsact", f"ip link del {limiter}"
    if now > 0:
        return (f"tc qdisc change dev {limiter} root {_bucket(port)}",)
    made = f"ip link add {limiter} up type ifb", f"tc qdisc add dev {limiter} root {_bucket(port)}"
    return *made, f"tc qdisc add dev {device} clsact", _redirect(device, limiter)


def leg_commands(port: PortView, now: int) -> tuple[str, ...]:
    """The same where ovs-vswitchd moves the frames itself: the port of the switch is the far end of a pair, the bucket behind the near one.
    There is room for filters, as for the silence."""
    device, near, far = port.device, f"leg{port.device[3:]}", far_of(port)
    if port.rate == now:
        return ()
    if not port.rate:
        return f"tc filter del dev {device} ingress pref {PREF}", f"ip link del {near}"
    if now > 0:
        return (f"tc qdisc change dev {near} root {_bucket(port)}",)
    made = f"ip link add {near} up type veth peer name {far}", f"ip link set {far} up", f"tc qdisc add dev {near} root {_bucket(port)}"
    return *made, *silence(far), f"tc qdisc add dev {near} clsact", _redirect(near, device), _redirect(device, near)


def silence(device: str) -> tuple[str, ...]:
    """ovs-vswitchd hears a device by a packet socket, so the host's own stack would hear it as well."""
    return f"tc qdisc add dev {device} clsact", f"tc filter add dev {device} ingress protocol all pref {SILENCE} bpf da bytecode '1,6 0 0 2'"


def far_of(port: PortView) -> str:
    """The far end of that pair."""
    return f"lim{port.device[3:]}"


def _redirect(device: str, to: str) -> str:
    return f"tc filter add dev {device} ingress protocol all pref {PREF} u32 match u32 0 0 action mirred egress redirect dev {to}"


def _bucket(port: PortView) -> str:
    return f"tbf rate {port.rate}bps burst {burst_of(port.rate, port.mtu)} limit {queue_of(port.rate, port.mtu)}"
