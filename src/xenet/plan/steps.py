"""Steps: the single actions by which a host changes. Values: a datapath does them, a reader reads them.

Each says for which object it is done (so that a failure finds its owner), and the equivalent command as text.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import msgspec

from xenet.plan.bond_commands import bond_commands
from xenet.plan.ethtool import told
from xenet.plan.limit_commands import limit_commands
from xenet.plan.lock import commands, elements
from xenet.plan.mirror_commands import mirror_commands
from xenet.plan.view import (
    AdvertisementsView,
    BondView,
    LockView,
    MirrorView,
    PortView,
    RouteView,
    Settings,
    SwitchView,
    UplinkView,
    VLANView,
    ends_of,
)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One action. `object` is the uuid of the VIF, network or VM that needs it; `reason` says why, for people."""

    where: ClassVar[str] = "datapath"
    """Who does it: the datapath, or the guests."""
    object: str
    reason: str = ""

    @property
    def text(self) -> str:
        """The equivalent command; where there is none, the step's name."""
        return type(self).__name__


class CreateSwitch(Step, frozen=True, kw_only=True):
    """A bridge with forward delay 0, multicast snooping off, nothing learned from frames that bridges do not forward, no link-local address,
    up; its uplink, ports, addresses are steps of their own."""

    switch: SwitchView

    @property
    def text(self) -> str:
        mac = f" address {self.switch.mac}" if self.switch.mac else ""
        made = f"ip link add {self.switch.bridge}{mac} mtu {self.switch.mtu} up type bridge forward_delay 0 mcast_snooping 0 no_linklocal_learn 1"
        return _all(made, *told(self.switch.bridge, self.switch.ethtool, {}))


class SetSwitch(Step, frozen=True, kw_only=True):
    """MAC (where not empty), MTU, up, IGMP snooping, and what its driver is told."""

    switch: SwitchView
    ethtool: Settings = {}
    """What its driver was told until then, as observed."""
    snooping: bool = False
    """Whether it snooped until then, as observed."""
    learning: bool = True
    """Whether it was a learning switch until then, as observed."""

    @property
    def text(self) -> str:
        mac = f" address {self.switch.mac}" if self.switch.mac else ""
        link = f"ip link set {self.switch.bridge}{mac} mtu {self.switch.mtu} up"
        return _all(link, *told(self.switch.bridge, self.switch.ethtool, self.ethtool))


class DeleteSwitch(Step, frozen=True, kw_only=True):
    bridge: str

    @property
    def text(self) -> str:
        return f"ip link del {self.bridge}"


class AttachUplink(Step, frozen=True, kw_only=True):
    """Put the NIC into the bridge, up, with its MTU and without addresses of its own; also mends a NIC that is there already.
    The device of a VLAN, a bond or a tunnel is made, where it is not there; a bond gets its slaves and settings. Then the drivers are told."""

    bridge: str
    uplink: UplinkView
    ethtool: Mapping[str, Settings] = {}
    """What the NICs' drivers were told until then, those that somebody looked at."""
    bond: BondView | None = None
    """The bond as it is until then, where it is there."""
    vlan: VLANView | None = None
    """The same of a VLAN's device."""

    @property
    def text(self) -> str:
        after = (text for nic, settings in self.uplink.ethtool.items() for text in told(nic, settings, self.ethtool.get(nic)))
        made = _made(self.bridge, self.uplink, self.bond, self.vlan)
        if self.uplink.tunnel and self.uplink.tunnel.protocol == "gre":  # without a device of its own
            return _all(*made, *after)
        return _all(*made, f"ip link set {self.uplink.device} mtu {self.uplink.mtu} master {self.bridge} up", *after)


def _made(bridge: str, uplink: UplinkView, now: BondView | None, there: VLANView | None) -> Iterator[str]:
    device, vlan, tunnel = uplink.device, uplink.vlan, uplink.tunnel
    if vlan and vlan != there:
        yield f"ip link add link {vlan.parent} name {device} type vlan id {vlan.tag}"
    if uplink.bond:
        yield from bond_commands(device, uplink.bond, now)
    if tunnel and tunnel.protocol == "gre":
        yield f"ip link set {bridge} alias '... uplink={device} gre={tunnel.key}@{tunnel.local}'"
        for peer, end in zip(tunnel.peers, ends_of(uplink) or (), strict=True):
            yield f"ip link add {end} mtu {uplink.mtu} type gretap key {tunnel.key} local {tunnel.local} remote {peer} ttl 64"
            yield f"ip link set {end} master {bridge}"
            yield f"bridge link set dev {end} isolated on"
            yield f"ip link set {end} up"
    elif tunnel:
        yield f"ip link add {device} type vxlan id {tunnel.key} local {tunnel.local} dstport 4789"
        for peer in tunnel.peers:
            yield f"bridge fdb append 00:00:00:00:00:00 dev {device} dst {peer}"


class DetachUplink(Step, frozen=True, kw_only=True):
    """Out of the bridge; a device that was made for it is deleted, and a bond's slaves are up again with their own MACs."""

    bridge: str
    device: str
    made: bool = False
    slaves: tuple[str, ...] = ()
    """Of a bond."""
    ends: tuple[str, ...] | None = None
    """Of a tunnel that has a device for each peer, and none of its own."""

    @property
    def text(self) -> str:
        up = (f"ip link set {slave} up" for slave in self.slaves)
        if self.ends is not None:
            return _all(*(f"ip link del {end}" for end in self.ends), f"ip link set {self.bridge} alias ...")
        return _all(f"ip link del {self.device}", *up) if self.made else f"ip link set {self.device} nomaster"


class CreatePort(Step, frozen=True, kw_only=True):
    """The VIF's device (a veth pair whose peer is born in the guest's namespace, or a tap), limited to its rate and locked before it is in the
    bridge and, if it is not disabled, up on both sides."""

    bridge: str
    port: PortView
    foreign: bool = False
    """The bridge is somebody else's; else it must be ours."""

    @property
    def text(self) -> str:
        port = self.port
        before = (*told(port.device, port.ethtool, {}), *limit_commands(port, 0), *_lock(port, None))
        after = f"master {self.bridge} {_state(port)}"
        if port.kind == "tap":
            return _all(f"ip tuntap add {port.device} mode tap", *before, f"ip link set {port.device} mtu {port.mtu} {after}")
        nic = port.device if port.moving else f"eth{port.index}"
        pair = f"ip link add {port.device} mtu {port.mtu} type veth peer name {nic} address {port.mac} netns {port.vm}"
        return _all(pair, *before, f"ip link set {port.device} {after}")


class SetPort(Step, frozen=True, kw_only=True):
    """An existing device of a VIF: into this bridge (a VIF that moves keeps its device), MTU, up or down, its rate and lock, on Open vSwitch its
    VLANs. The guest's end is left alone."""

    bridge: str
    port: PortView
    foreign: bool = False
    """The bridge is somebody else's; else it must be ours."""
    rate: int = 0
    """The rate that it is limited to until then, as observed."""
    lock: LockView | None = None
    """What it is locked to until then, as observed."""
    ethtool: Settings = {}
    """What its driver was told until then, as observed."""

    @property
    def text(self) -> str:
        port = self.port
        link = f"ip link set {port.device} mtu {port.mtu} master {self.bridge} {_state(port)}"
        return _all(*_lock(port, self.lock), link, *told(port.device, port.ethtool, self.ethtool), *limit_commands(port, self.rate))


def _all(*commands: str) -> str:
    return " && ".join(commands)


def _state(port: PortView) -> str:
    return "up" if port.up else "down"


def _lock(port: PortView, now: LockView | None) -> tuple[str, ...]:
    """From this lock to the port's own, in one transaction. A broken one is made anew."""
    before = elements(port.mac, now) if now is None or now.whole else {}
    script = "; ".join(commands(port.device, before, elements(port.mac, port.lock)))
    return (f"nft '{script}'",) if script else ()


class SetMirrors(Step, frozen=True, kw_only=True):
    """Which ports of a switch hear copies, and of what: exactly these. What else an administrator mirrors stays."""

    bridge: str
    mirrors: tuple[MirrorView, ...]
    now: tuple[MirrorView, ...] = ()
    """What is there until then, as observed."""

    @property
    def text(self) -> str:
        gone = (text for mirror in self.now if mirror not in self.mirrors for text in mirror_commands(self.bridge, mirror, add=False))
        come = (text for mirror in self.mirrors if mirror not in self.now for text in mirror_commands(self.bridge, mirror, add=True))
        return _all(*gone, *come) or f"tc filter show dev {self.bridge} egress"


class RemovePort(Step, frozen=True, kw_only=True):
    """Out of the switch at once, both sides down; the device itself is deleted later, with others."""

    bridge: str
    port: PortView

    @property
    def text(self) -> str:
        return f"ip link set {self.port.device} nomaster down && ip link del {self.port.device}"


class OfferPort(Step, frozen=True, kw_only=True):
    """Note on a VIF's device that its VM is about to move: from now on another host may take the guest's end of it out of service."""

    port: PortView

    @property
    def text(self) -> str:
        return f"ip link set {self.port.device} alias 'moving ...'"


class SeatPort(Step, frozen=True, kw_only=True):
    """The guest's NIC becomes the other end of this device: it gets the name, the addresses, the routes and the neighbours of the one that
    has the place, which goes out of service. Where it is so already, there is only the note to take off."""

    port: PortView

    @property
    def text(self) -> str:
        link, nic = f"ip -n {self.port.vm} link set", f"eth{self.port.index}"
        return f"{link} {nic} down name old && {link} {self.port.device} name {nic} up"


class Announce(Step, frozen=True, kw_only=True):
    """Have every switch learn where the guest's MAC now is: a frame for each of its addresses, again and again with growing pauses."""

    where: ClassVar[str] = "announcer"
    port: PortView

    @property
    def text(self) -> str:
        return f"ip netns exec {self.port.vm} arping -U -I eth{self.port.index} ..."


class AddAddress(Step, frozen=True, kw_only=True):
    bridge: str
    address: str

    @property
    def text(self) -> str:
        return f"ip address add {self.address} dev {self.bridge}"


class RemoveAddress(Step, frozen=True, kw_only=True):
    """From a bridge, or from a NIC whose address moves to its bridge."""

    device: str
    address: str

    @property
    def text(self) -> str:
        return f"ip address del {self.address} dev {self.device}"


class AddRoute(Step, frozen=True, kw_only=True):
    bridge: str
    route: RouteView

    @property
    def text(self) -> str:
        return f"ip route replace {self.route.destination} via {self.route.gateway} dev {self.bridge}"


class RemoveRoute(Step, frozen=True, kw_only=True):
    bridge: str
    route: RouteView

    @property
    def text(self) -> str:
        return f"ip route del {self.route.destination} via {self.route.gateway} dev {self.bridge}"


class SetAdvertisements(Step, frozen=True, kw_only=True):
    """What the bridge takes from routers' advertisements, None: nothing. What came by them and is not wanted any more goes; routers are
    asked at once, from a link-local address."""

    bridge: str
    advertisements: AdvertisementsView | None

    @property
    def text(self) -> str:
        conf, want = f"net.ipv6.conf.{self.bridge}", self.advertisements
        if want is None:
            return f"sysctl {conf}.accept_ra=0 {conf}.addr_gen_mode=1"
        return f"sysctl {conf}.autoconf={want.autoconf:d} {conf}.accept_ra_defrtr={want.router:d} {conf}.accept_ra=2 {conf}.addr_gen_mode=0"


class StepFailure(msgspec.Struct, frozen=True):
    """A step that did not come to pass. `retry` says whether doing it again can help (a busy kernel) or not (bad input); `lacks`, of which
    kind the file is that a guest cannot start without (plan.machine.files_of)."""

    step: Step
    text: str
    retry: bool = False
    lacks: str = ""


def as_text(steps: Iterable[Step]) -> str:
    """The plan as people read it: a command and its reason a line."""
    return "\n".join(f"{step.text}    # {step.reason}" if step.reason else step.text for step in steps)
