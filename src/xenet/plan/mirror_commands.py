"""Mirrors as commands: filters that copy, and a port that is reserved for what they copy."""

from collections.abc import Iterator

from xenet.plan.view import MirrorView

PREF, DROP = 0x5844, 0x5846
"""The preferences of these filters, which are their mark: that copies, that keeps a target's guest quiet."""


def mirror_commands(bridge: str, mirror: MirrorView, *, add: bool) -> Iterator[str]:
    """Set one up, or take it away."""
    target = mirror.target or "nothing"
    yield f"bridge link set dev {target} flood {_on(not add)} mcast_flood {_on(not add)} bcast_flood {_on(not add)}"
    yield f"tc filter add dev {target} ingress pref {DROP} matchall action drop" if add else f"tc filter del dev {target} ingress pref {DROP}"
    if mirror.everything:
        each = _filter("$dev", "ingress", target, add)
        yield f"for dev in $(ls /sys/class/net/{bridge}/brif); do [ $dev = {target} ] || {each}; done"
        yield _filter(bridge, "egress", target, add)
    for source in mirror.sources:
        yield from (_filter(source, side, target, add) for side in ("ingress", "egress"))


def _on(value: bool) -> str:
    return "on" if value else "off"


def _filter(device: str, side: str, target: str, add: bool) -> str:
    if not add:
        return f"tc filter del dev {device} {side} pref {PREF}"
    return f"tc filter add dev {device} {side} pref {PREF} matchall action mirred egress mirror dev {target} continue"
