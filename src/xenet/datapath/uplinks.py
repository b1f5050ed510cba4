"""A switch's uplink as the kernel's tables show it: a NIC, the device of a VLAN or a tunnel, those to a tunnel's peers, a bond with its slaves."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from xenet.datapath.bonding import ACTIVE_BACKUP, Options, options_of
from xenet.datapath.links import Link
from xenet.datapath.mark import LIVE, asked_gre, asked_of, is_ours, is_tunnel_end, words
from xenet.model.hidden import BondLinks
from xenet.plan.view import BROKEN, BondView, Settings, TunnelView, UplinkView, VLANView, end_name


class Known(Protocol):
    """What is known of a host's devices."""

    peers: dict[int, frozenset[str]]
    ear_of: Callable[[str, Sequence[str]], str]
    settings_of: Callable[[Link, Settings], Settings]

    def link(self, which: int | str) -> Link | None: ...
    def members(self, master: int) -> list[Link]: ...


def switch_uplink(table: Known, bridge: Link, asked: Mapping[str, Settings]) -> UplinkView | None:
    """`asked`: what the drivers of its devices were told."""
    device = words(bridge.alias).get("uplink", "")
    if (gre := asked_gre(bridge)) is not None:
        return _meshed(table, bridge, device, *gre)
    nic = table.link(device)
    return uplink_view(table, nic, asked) if nic and nic.master == bridge.index else None


def ways_of(table: Known, bridge: Link, uplink: UplinkView) -> list[str]:
    """The devices by which frames leave a switch with this uplink: those to a tunnel's peers where it has one for each."""
    if asked_gre(bridge) is None:
        return [uplink.device]
    return [link.name for link in table.members(bridge.index) if is_tunnel_end(link)]


def _meshed(table: Known, bridge: Link, device: str, key: int, local: str) -> UplinkView:
    """Its MTU is that of the first, where there is none the bridge's."""
    ends = sorted((link for link in table.members(bridge.index) if is_tunnel_end(link)), key=lambda link: link.name)
    mtu = ends[0].mtu if ends else bridge.mtu
    peers = sorted(_peer(end, device, key, local, mtu) for end in ends)
    return UplinkView(device, mtu, tunnel=TunnelView("gre", key, local, tuple(peers)))


def _peer(end: Link, device: str, key: int, local: str, mtu: int) -> str:
    whole = end.up and end.isolated and (end.tag, end.local, end.mtu) == (key, local, mtu) and bool(end.remote)
    return end.remote if whole and end.name == end_name(device, end.remote) else BROKEN


def uplink_view(table: Known, nic: Link, asked: Mapping[str, Settings]) -> UplinkView:
    """`asked`: what the drivers of it and its slaves were told."""
    below = table.link(nic.peer) if nic.kind == "vlan" and is_ours(nic) else None
    nics = [nic, *table.members(nic.index)]
    return UplinkView(
        nic.name,
        nic.mtu,
        nic.up,
        vlan=VLANView(below.name, nic.tag) if below else None,
        bond=bond_view(table, nic) if is_bond(nic) else None,
        tunnel=_tunnel(table, nic) if nic.kind == "vxlan" and is_ours(nic) else None,
        ethtool={link.name: table.settings_of(link, asked[link.name]) for link in nics if link.name in asked},
    )


def _tunnel(table: Known, nic: Link) -> TunnelView:
    return TunnelView("vxlan", nic.tag, nic.local, tuple(sorted(table.peers.get(nic.index, ()))))


def is_bond(link: Link) -> bool:
    """Whether this is a bond of ours in service."""
    return link.group == LIVE and link.kind == "bond"


def bond_view(table: Known, link: Link) -> BondView:
    """What it was asked for, where that is what it has."""
    asked, slaves = asked_of(link), slaves_of(table, link)
    if asked is None or link.bond is None:
        return BondView(slaves, "balance-slb", link.mac, whole=False)
    want, have = options_of(asked, primary_of(table, asked, slaves)), link.bond
    fenced = asked.mode != "balance-slb" or bool(table.ear_of(link.name, slaves))
    return msgspec.structs.replace(asked, slaves=slaves, mac=link.mac, whole=fenced and have == seen(want, have))


def seen(want: Options, have: Options) -> Options:
    """What is wanted as the kernel shows it, which does not always tell the key."""
    return want if have.key is not None else msgspec.structs.replace(want, key=None)


def slaves_of(table: Known, link: Link) -> tuple[str, ...]:
    return tuple(sorted(member.name for member in table.members(link.index)))


def primary_of(table: Known, bond: BondView, slaves: Sequence[str]) -> int:
    """The ifindex of the primary slave, 0 while it is none."""
    primary = table.link(bond.primary) if bond.primary in slaves else None
    return primary.index if primary else 0


def bond_links(table: Known, link: Link) -> BondLinks:
    """A slave without a cable has no link from that moment on, whenever the bond looks at it."""
    slaves = sorted(table.members(link.index), key=lambda slave: slave.name)
    up = [slave for slave in slaves if slave.slave and slave.slave.up and slave.carrier and slave.up]
    return BondLinks(link.name, tuple(slave.name for slave in up), tuple(slave.name for slave in up if slave.slave and slave.slave.active))


def ready_first(table: Known, link: Link) -> list[Link]:
    """The slaves that have a link, the primary before all others."""
    asked, up = asked_of(link), bond_links(table, link).up
    named = sorted(up, key=lambda name: (asked is None or name != asked.primary, name))
    return [slave for name in named if (slave := table.link(name))]


def is_single(link: Link) -> bool:
    """Whether only one slave carries frames."""
    return link.bond is not None and link.bond.mode == ACTIVE_BACKUP
