"""HostView: one host's networking in XenServer's terms, free of the datapath.

It is ONE form for what is wanted and for what is observed, so the difference of the two is the work to do.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import Literal, TypeAlias

import msgspec

from xenet.model.derived import BondMode, TunnelProtocol
from xenet.model.guests import GuestKind, PortKind

Settings: TypeAlias = Mapping[str, str]
"""What a driver is told, in ethtool's words: `gro` -> `off`. Wanted: what somebody asked for. Observed: those same words, each as it is;
what the device cannot do, as it was asked for, so that wanted and observed can be equal."""


class LockView(msgspec.Struct, frozen=True):
    """What a guest is held to, beside its MAC: source addresses and CIDRs, sorted, none within another. Without any it gets as far as
    asking a DHCP server."""

    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    tags: tuple[int, ...] = ()
    """Of Open vSwitch: the VLANs whose frames it may send with their tag, sorted; what they carry is held to the same addresses. No other tag
    passes."""
    whole: bool = True
    """Observed, False: somebody changed it, or the rules that all locks of a host share."""


class PortView(msgspec.Struct, frozen=True):
    """A VIF as a port of a switch."""

    device: str
    """The device on the host: `vif<domid>.<index>`, for a tap guest `tap<domid>.<index>`."""
    vif: str
    """The VIF's uuid."""
    vm: str
    """The VM's uuid: whose namespace holds the other end."""
    index: int
    """The VIF's device number; the guest sees `eth<index>`."""
    mac: str
    """The guest's MAC. The host's end always has fe:ff:ff:ff:ff:ff."""
    mtu: int = 1500
    kind: PortKind = "namespace"
    up: bool = True
    """False for a disabled VIF: the guest has no carrier."""
    rate: int = 0
    """Bytes a second that the guest may send; 0: no limit. Observed, -1 is a limit that is broken: it lets nothing pass, or not at that rate."""
    lock: LockView | None = None
    """None: the guest may send what it likes."""
    ethtool: Settings = {}
    """Of the device on the host."""
    trunks: tuple[int, ...] = ()
    """Of Open vSwitch: the VLANs whose frames pass, with their tags, sorted; 0 stands for frames without one. Empty: nothing is said of it.
    Observed, with -1: not as it must be."""
    moving: bool = False
    """Its VM is on the way to this host or from it: all is ready, but the guest's NIC may be the other end of another host's device."""


def same_device(one: PortView, other: PortView) -> bool:
    """Whether two ports can be the same device: what a veth or a tap is born with cannot be changed later."""
    return (one.vif, one.vm, one.index, one.mac, one.kind) == (other.vif, other.vm, other.index, other.mac, other.kind)


class VLANView(msgspec.Struct, frozen=True):
    """A device that stands for one VLAN of another: frames leave it with the tag (IEEE 802.1Q) and come to it without."""

    parent: str
    """The NIC or bond that carries it."""
    tag: int


class BondView(msgspec.Struct, frozen=True):
    """Several NICs as one, in XenServer's terms; times in milliseconds. A datapath that has no means for one of these settings says in its
    own view what it was asked for, so that wanted and observed can be equal."""

    slaves: tuple[str, ...]
    """Devices, sorted."""
    mode: BondMode
    mac: str
    primary: str = ""
    """The slave that carries everything at first where only one does."""
    miimon: int = 100
    """Between two looks at the slaves' links."""
    downdelay: int = 200
    updelay: int = 31000
    hashing: Literal["src_mac", "tcpudp_ports"] = "src_mac"
    """What spreads the frames over the slaves: with balance-slb always src_mac."""
    rebalance: int = 1800000
    lacp_time: Literal["slow", "fast"] = "slow"
    lacp_key: int = 0
    """The aggregation key, 0: the datapath's choice."""
    lacp_fallback: bool = True
    """Without a partner that speaks LACP, one slave carries everything."""
    whole: bool = True
    """Observed, False: somebody changed a setting of it, or what keeps its own frames from coming back."""


class TunnelView(msgspec.Struct, frozen=True):
    """What carries a network's frames between hosts in packets of another network: to each peer, as no peer passes them on."""

    protocol: TunnelProtocol
    key: int
    """What tells them from other networks' frames: the VNI (RFC 7348) or the key (RFC 2890)."""
    local: str
    """The host's address."""
    peers: tuple[str, ...] = ()
    """The other hosts' addresses, sorted."""


BROKEN = "?"
"""Observed, in place of a peer: what leads to one is not as it must be."""


def end_name(device: str, peer: str) -> str:
    """What leads to one peer of the tunnel with this device, within the 15 characters of a device's name: of `tunnel0` to 192.0.2.1 it is
    t0-c0000201. Raises ValueError for what is no IPv4 address."""
    return f"t{device.removeprefix('tunnel')}-{IPv4Address(peer).packed.hex()}"


class UplinkView(msgspec.Struct, frozen=True):
    """What a switch reaches the world through: a NIC, a bond of several, a VLAN's device on either, or a tunnel's. A port of a bridge is
    promiscuous by itself."""

    device: str
    mtu: int = 1500
    up: bool = True
    vlan: VLANView | None = None
    """Of a VLAN: the device exists for this switch alone, with the MAC of the one below."""
    bond: BondView | None = None
    """Of a bond: the device exists for this switch alone, and its slaves are on no other."""
    tunnel: TunnelView | None = None
    """Of a tunnel: the device exists for this switch alone."""

    @property
    def made(self) -> bool:
        """Whether xenet makes the device, for this switch, and takes it away with it; a NIC is there by itself."""
        return bool(self.vlan or self.bond or self.tunnel)

    ethtool: Mapping[str, Settings] = {}
    """By NIC: the device itself, or each slave of the bond."""


def nics_of(uplink: UplinkView) -> tuple[str, ...]:
    """The devices that frames of this uplink come in by, itself first."""
    return (uplink.device, *(uplink.bond.slaves if uplink.bond else ()))


def ends_of(uplink: UplinkView) -> tuple[str, ...] | None:
    """What leads to the peers of a tunnel by GRE, on a bridge a device each, but for what is broken. None of any other uplink."""
    tunnel = uplink.tunnel if uplink.tunnel and uplink.tunnel.protocol == "gre" else None
    return tuple(end_name(uplink.device, peer) for peer in tunnel.peers if peer != BROKEN) if tunnel else None


class RouteView(msgspec.Struct, frozen=True, order=True):
    """A route through a switch's own address. `destination` is a CIDR, 0.0.0.0/0 or ::/0 for the default."""

    destination: str
    gateway: str


class AdvertisementsView(msgspec.Struct, frozen=True):
    """What a switch takes from routers' advertisements (RFC 4861); for these it has a link-local address. The addresses and routes that
    come of them are the kernel's: no part of a SwitchView."""

    autoconf: bool
    """An address in each prefix (RFC 4862)."""
    router: bool
    """The default route."""


class MirrorView(msgspec.Struct, frozen=True, order=True):
    """A port that hears copies of what others send and hear, and nothing else; what its guest sends goes nowhere."""

    target: str
    """Its device. Observed, empty: it is gone."""
    everything: bool = False
    """Each frame without a tag that comes into the switch, once."""
    sources: tuple[str, ...] = ()
    """Devices of VIFs, sorted: each frame that one of them sends or gets."""
    whole: bool = True
    """Observed, False: somebody changed it."""


class SwitchView(msgspec.Struct, frozen=True):
    """A learning switch: a bridge, its uplink, its ports, and the host's own address on it, if any."""

    bridge: str
    network: str
    """The network's uuid; of a foreign bridge, which serves no network, empty."""
    mac: str = ""
    """The bridge's MAC; empty in a wanted view: whatever the kernel chose."""
    mtu: int = 1500
    up: bool = True
    uplink: UplinkView | None = None
    ports: Mapping[str, PortView] = {}
    """By device."""
    addresses: tuple[str, ...] = ()
    """CIDR, sorted."""
    routes: tuple[RouteView, ...] = ()
    """Sorted; those of the kernel's own making (connected networks) left out."""
    advertisements: AdvertisementsView | None = None
    """None: they are ignored."""
    ethtool: Settings = {}
    """Of the bridge itself."""
    fail_mode: Literal["", "secure"] = ""
    """Of Open vSwitch: `secure` passes nothing that no flow allows, by default it is a learning switch of itself."""
    disable_in_band: Literal["", "true", "false"] = ""
    """Of Open vSwitch: whether hidden flows for a controller's own connection are left out; empty: nothing is said."""
    learning: bool = True
    """Of Open vSwitch: it has the flow by which it is a learning switch, or somebody else's flows."""
    snooping: bool = False
    """Of Open vSwitch: multicast goes to the ports whose guests have asked for its group (RFC 4541), and out by the uplink."""
    mirrors: tuple[MirrorView, ...] = ()
    """By target, sorted."""
    foreign: bool = False
    """Somebody else's bridge, of which nothing but our ports is ours: all other fields are as they are by default."""


def ways_out(uplink: UplinkView, switches: Iterable[SwitchView]) -> tuple[str, ...]:
    """The devices that frames of an uplink may pass, where a datapath makes no device for a VLAN, a bond or a tunnel: itself first, then what leads
    to a tunnel's peers, or the NICs below.
    `switches`: all of the host, as a VLAN's view does not tell the slaves of the bond that it is on."""
    parent = uplink.vlan.parent if uplink.vlan else ""
    below = [other.uplink for other in switches if parent and other.uplink and other.uplink.device == parent]
    lower = (nic for other in below for nic in nics_of(other))
    return tuple(dict.fromkeys((*nics_of(uplink), *(ends_of(uplink) or ()), *([parent] if parent else ()), *lower)))


class BootView(msgspec.Struct, frozen=True):
    """What a QEMU guest is made of and starts from. Paths are the host's; empty: there is none."""

    kernel: str
    ramdisk: str
    args: str
    memory: int
    """Bytes."""
    vcpus: int
    disk: str = ""
    machine: str = "pc"
    """QEMU's name of it; two hosts with different versions need one with a version in it (`pc-i440fx-7.2`)."""


class NICView(msgspec.Struct, frozen=True, order=True):
    """A NIC of a QEMU guest, and the tap that it is on."""

    index: int
    device: str
    mac: str
    vif: str
    """The VIF's uuid."""


Stage: TypeAlias = Literal["runs", "halts", "awaits", "arrives", "goes", "going", "gone", "held", "stays", "late"]
"""What a guest is at. Wanted and observed: it runs; it was asked to end; it awaits what another host's will send. Wanted only: it arrives
from another host; it goes to another one; it is held, neither sent nor let run on; it stays, if it is not gone already; it runs if it has
arrived, and else it comes too late and is ended. Observed only: it is being sent; it has been sent, and stands still."""


class GuestView(msgspec.Struct, frozen=True):
    """A VM that the host itself holds up: a namespace or a QEMU. Tap guests belong to their hypervisor. What follows the name is QEMU's."""

    vm: str
    """The VM's uuid."""
    domid: int
    """The one that it was born as: it keeps it where it moves."""
    name: str
    kind: GuestKind = "namespace"
    boot: BootView | None = None
    """As it was started; what is wanted later is for its next start."""
    nics: tuple[NICView, ...] = ()
    """Sorted."""
    stage: Stage = "runs"
    journey: int = -1
    """Its domid at the place where it goes: that of no other migration."""
    way: str = ""
    """Where it is awaited: `address:port`; empty: in its folder, as both hosts are on one machine."""


class HostView(msgspec.Struct, frozen=True):
    """All that xenet keeps on one host."""

    switches: Mapping[str, SwitchView] = {}
    """By bridge."""
    guests: Mapping[str, GuestView] = {}
    """By VM uuid."""
