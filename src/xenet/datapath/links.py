"""Link messages: create, set, delete, ask for network devices, and what xenet reads of one.

Measured: IFLA_GROUP holds from a creating message on while IFLA_IFALIAS is ignored there; a veth peer cannot be created up, the
device itself can; the kernel takes the flags of a message before its addr_gen_mode, so a device that has its carrier gets a link-local
address when one message sets both.
Source: linux/if_link.h, linux/veth.h, net/core/rtnetlink.c.
"""

import socket
from struct import Struct
from typing import NamedTuple

import msgspec

from xenet.datapath.bonding import Options, Slave, parse_options, parse_slave
from xenet.datapath.netlink import CREATE, DELLINK, EXCL, GETLINK, NEWLINK, SETLINK, Request, as_text, as_u32, attr, attributes, text, u32
from xenet.datapath.stacked import gre_data, parse_stacked, vlan_data, vxlan_data
from xenet.plan.view import AdvertisementsView

IFF_UP = 1
EUI64, NO_ADDRESS = 0, 1
"""addr_gen_mode: a link-local address from the MAC (the kernel's default), or none at all."""

SWITCHES = ("bridge", "openvswitch", "tun")
"""The kinds of a switch's own device: Open vSwitch's is one of its kernel module's, or a tap in its userspace."""

_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _LINKINFO, _IFALIAS, _AF_SPEC, _GROUP = 1, 3, 4, 5, 10, 18, 20, 26, 27
_NET_NS_FD, _EXT_MASK, _CARRIER, _MAX_MTU, _PARENT_NAME, _PARENT_BUS = 28, 29, 33, 51, 56, 57
_OPERSTATE, _OPER_UP = 16, 6
_INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 4, 5
_INFO_KIND, _INFO_DATA, _VETH_PEER, _BR_FORWARD_DELAY, _BR_MCAST_SNOOPING, _BR_OPTIONS = 1, 2, 1, 1, 23, 46
_FLUSH, _FLOODS = 24, (9, 27, 30)
"""IFLA_BRPORT_*: forget what was learned there; unknown addresses, multicast and broadcast go there."""
_ISOLATED = 33
"""IFLA_BRPORT_*: no frame from this port to another one that says the same (Linux 4.18)."""
_ADDR_GEN_MODE, _SKIP_STATS, _INET6_CONF = 8, 8, 2
_ACCEPT_RA, _AUTOCONF, _ACCEPT_DEFAULT = 3, 5, 17
_IFINFO = Struct("=BxHiII")
_OPTIONS, _NO_LL_LEARN = Struct("=II"), 1
_NEW = _IFINFO.pack(0, 0, 0, 0, 0)
_TLV = Struct("=HH")


class Link(msgspec.Struct, frozen=True):
    """What xenet reads of a network device. peer is the ifindex of a veth's other end, in that one's own namespace; of the device below a
    VLAN's."""

    index: int
    name: str
    kind: str = ""
    mac: str = ""
    mtu: int = 0
    up: bool = False
    carrier: bool = False
    group: int = 0
    master: int = 0
    alias: str = ""
    peer: int = 0
    advertisements: AdvertisementsView | None = None
    """What a bridge takes from routers' advertisements."""
    parent: str = ""
    """The hardware's bus and name, such as `pci 0000:00:03.0`; empty for a virtual device and before Linux 5.14."""
    tag: int = -1
    """Of a VLAN's device, its tag; of a VXLAN's, its VNI; of GRE's, its key."""
    local: str = ""
    """Of a VXLAN's or GRE's device, the address that its packets come from."""
    remote: str = ""
    """Of GRE's, the one that they go to."""
    max_mtu: int = 0
    """What the driver takes at most; 0: it does not say."""
    bond: Options | None = None
    """Of a bond."""
    slave: Slave | None = None
    """Of a bond's slave."""
    flooded: bool = True
    """Of a bridge's port: False where nothing that the bridge has no place for goes there."""
    isolated: bool = False
    """Of a bridge's port: nothing goes from it to another one of these."""


class GuestEnd(NamedTuple):
    """The guest's end of a veth pair: the file descriptor of the namespace it is born in (None: that of the socket), its name, MAC and MTU, and
    whether it is up."""

    netns: int | None
    name: str
    mac: str
    mtu: int
    up: bool = True


def create_veth(name: str, mac: str, mtu: int, group: int, guest: GuestEnd, home: int | None = None) -> Request:
    """A pair: this end down, in the namespace of the descriptor `home` (None: that of the socket), the guest's in its own, up or not.

    To the kernel the guest's end is the device and this one its peer, since only the device can be created up. Each is born where it
    stays: moving a device between namespaces costs 17 ms. Before Linux 6.14 the device's name must be free in the namespace of the socket,
    too: a host with a NIC eth0 makes no guest's eth0 from where it is.
    """
    here = _NEW + _common(name, mac, mtu) + u32(_GROUP, group) + _born_in(home)
    info = text(_INFO_KIND, "veth") + attr(_INFO_DATA, attr(_VETH_PEER, here))
    up = _IFINFO.pack(0, 0, 0, IFF_UP if guest.up else 0, IFF_UP)
    there = up + _common(guest.name, guest.mac, guest.mtu) + _born_in(guest.netns)
    return Request(NEWLINK, CREATE | EXCL, there + attr(_LINKINFO, info))


def _born_in(netns: int | None) -> bytes:
    return b"" if netns is None else u32(_NET_NS_FD, netns)


def create_bridge(name: str, mac: str, mtu: int, group: int) -> Request:
    """A bridge, down, that forwards at once and floods multicast like a plain switch. From frames that no bridge forwards (LLDP) it learns
    nothing: they pass by nftables, and a locked guest could claim another's MAC by them. An empty mac leaves the choice to the kernel."""
    options = u32(_BR_FORWARD_DELAY, 0) + attr(_BR_MCAST_SNOOPING, b"\0") + attr(_BR_OPTIONS, _OPTIONS.pack(_NO_LL_LEARN, _NO_LL_LEARN))
    info = text(_INFO_KIND, "bridge") + attr(_INFO_DATA, options)
    return Request(NEWLINK, CREATE | EXCL, _NEW + _common(name, mac, mtu) + u32(_GROUP, group) + attr(_LINKINFO, info))


def create_ifb(name: str, group: int) -> Request:
    """A device, down, that puts all that goes out of it back where it came from."""
    return Request(NEWLINK, CREATE | EXCL, _NEW + _common(name, "", 0) + u32(_GROUP, group) + attr(_LINKINFO, text(_INFO_KIND, "ifb")))


def create_vlan(name: str, parent: int, tag: int, mtu: int, group: int) -> Request:
    """A device, down, for one VLAN of another, whose MAC it takes."""
    info = text(_INFO_KIND, "vlan") + attr(_INFO_DATA, vlan_data(tag))
    return Request(NEWLINK, CREATE | EXCL, _NEW + _common(name, "", mtu) + u32(_LINK, parent) + u32(_GROUP, group) + attr(_LINKINFO, info))


def create_vxlan(name: str, vni: int, local: str, mtu: int, group: int) -> Request:
    """A device, down, that carries frames in UDP from this address; who to is in its own table."""
    info = text(_INFO_KIND, "vxlan") + attr(_INFO_DATA, vxlan_data(vni, local))
    return Request(NEWLINK, CREATE | EXCL, _NEW + _common(name, "", mtu) + u32(_GROUP, group) + attr(_LINKINFO, info))


def create_gretap(name: str, key: int, local: str, remote: str, mtu: int, group: int) -> Request:
    """A device, down, that carries frames in GRE from one address to another."""
    info = text(_INFO_KIND, "gretap") + attr(_INFO_DATA, gre_data(key, local, remote))
    return Request(NEWLINK, CREATE | EXCL, _NEW + _common(name, "", mtu) + u32(_GROUP, group) + attr(_LINKINFO, info))


def create_bond(name: str, mac: str, mtu: int, group: int, data: bytes) -> Request:
    """A bond, down and without slaves, with these settings (`bonding`)."""
    info = text(_INFO_KIND, "bond") + attr(_INFO_DATA, data)
    return Request(NEWLINK, CREATE | EXCL, _NEW + _common(name, mac, mtu) + u32(_GROUP, group) + attr(_LINKINFO, info))


def set_bond(index: int, data: bytes) -> Request:
    """Other settings for a bond."""
    info = text(_INFO_KIND, "bond") + attr(_INFO_DATA, data)
    return Request(NEWLINK, 0, _IFINFO.pack(0, 0, index, 0, 0) + attr(_LINKINFO, info))


def set_link(
    which: int | str,
    *,
    master: int | None = None,
    up: bool | None = None,
    alias: str = "",
    addr_gen_mode: int | None = None,
    mtu: int = 0,
    mac: str = "",
    group: int | None = None,
    name: str = "",
) -> Request:
    """Change a device, given by ifindex or name. master 0 takes it out of its bridge; name renames it (by ifindex only)."""
    index, named = (0, which) if isinstance(which, str) else (which, name)
    body = _IFINFO.pack(0, 0, index, IFF_UP if up else 0, 0 if up is None else IFF_UP) + _common(named, mac, mtu)
    if master is not None:
        body += u32(_MASTER, master)
    if alias:
        body += text(_IFALIAS, alias)
    if addr_gen_mode is not None:
        body += attr(_AF_SPEC, attr(socket.AF_INET6, attr(_ADDR_GEN_MODE, bytes((addr_gen_mode,)))))
    if group is not None:
        body += u32(_GROUP, group)
    return Request(SETLINK, 0, body)


def set_flooded(index: int, flooded: bool) -> Request:
    """Of a bridge's port. What the bridge has learned there is forgotten."""
    return _set_bridge_port(index, b"".join(attr(flag, bytes((flooded,))) for flag in _FLOODS) + attr(_FLUSH, b""))


def set_isolated(index: int) -> Request:
    """Of a bridge's port."""
    return _set_bridge_port(index, attr(_ISOLATED, b"\1"))


def _set_bridge_port(index: int, data: bytes) -> Request:
    info = text(_INFO_SLAVE_KIND, "bridge") + attr(_INFO_SLAVE_DATA, data)
    return Request(NEWLINK, 0, _IFINFO.pack(0, 0, index, 0, 0) + attr(_LINKINFO, info))


def delete_link(which: int | str) -> Request:
    index, named = (0, which) if isinstance(which, str) else (which, "")
    return Request(DELLINK, 0, _IFINFO.pack(0, 0, index, 0, 0) + _common(named, "", 0))


def delete_group(group: int) -> Request:
    """All devices of a group at once: 17 ms for one alone, under 1 ms each for hundreds. ENODEV when there is none."""
    return Request(DELLINK, 0, _NEW + u32(_GROUP, group))


def get_link(which: int | str) -> Request:
    """One device by ifindex or name; as a dump, with ifindex 0, all of them. Counters are left out."""
    index, named = (0, which) if isinstance(which, str) else (which, "")
    return Request(GETLINK, 0, _IFINFO.pack(0, 0, index, 0, 0) + _common(named, "", 0) + u32(_EXT_MASK, _SKIP_STATS))


def _common(name: str, mac: str, mtu: int) -> bytes:
    address = attr(_ADDRESS, bytes.fromhex(mac.replace(":", ""))) if mac else b""
    return (text(_IFNAME, name) if name else b"") + address + (u32(_MTU, mtu) if mtu else b"")


def is_operational(message: bytes) -> bool:
    """Whether the device of an RTM_NEWLINK has gone into operation: it has a carrier, and all who wait for that have heard (RFC 2863)."""
    return attributes(message, 32).get(_OPERSTATE) == bytes((_OPER_UP,))


def is_up(message: bytes) -> bool:
    return bool(_IFINFO.unpack_from(message, 16)[3] & IFF_UP)


def link_index(message: bytes) -> int:
    """The ifindex of a link message; 0 for a bridge's message about one of its ports, which says only part of it."""
    family, _, index, _, _ = _IFINFO.unpack_from(message, 16)
    return 0 if family else int(index)


def port_index(message: bytes) -> int:
    """The ifindex of such a bridge's message; 0 for any other."""
    family, _, index, _, _ = _IFINFO.unpack_from(message, 16)
    return int(index) if family == socket.AF_BRIDGE else 0


def parse_link(message: bytes) -> Link:
    """The device of an RTM_NEWLINK. Only what xenet reads is decoded: a dump of 4,000 must cost little more than its reception."""
    _, _, index, flags, _ = _IFINFO.unpack_from(message, 16)
    found: dict[int, bytes] = {}
    unpack, pos, end = _TLV.unpack_from, 32, len(message)
    while pos < end:
        size, kind = unpack(message, pos)
        if kind in _READ:
            found[kind] = message[pos + 4 : pos + size]
        pos += (size + 3) & ~3
    get = found.get
    info = attributes(found[_LINKINFO], 0) if _LINKINFO in found else {}
    kind_of = as_text(info.get(_INFO_KIND, b""))
    port = _bridge_port(info)
    return Link(
        index,
        as_text(found[_IFNAME]),
        kind_of,
        get(_ADDRESS, b"").hex(":"),
        as_u32(get(_MTU, b"")),
        bool(flags & IFF_UP),
        get(_CARRIER) == b"\1",
        as_u32(get(_GROUP, b"")),
        as_u32(get(_MASTER, b"")),
        as_text(get(_IFALIAS, b"")),
        as_u32(get(_LINK, b"")),
        _advertisements(found[_AF_SPEC]) if _AF_SPEC in found and kind_of in SWITCHES else None,
        f"{as_text(get(_PARENT_BUS, b''))} {as_text(found[_PARENT_NAME])}" if _PARENT_NAME in found else "",
        *parse_stacked(kind_of, info.get(_INFO_DATA, b"")),
        max_mtu=as_u32(get(_MAX_MTU, b"")),
        bond=parse_options(info.get(_INFO_DATA, b"")) if kind_of == "bond" else None,
        flooded=_flooded(port),
        isolated=port.get(_ISOLATED) == b"\1",
        slave=parse_slave(info[_INFO_SLAVE_DATA]) if info.get(_INFO_SLAVE_KIND) == b"bond\0" and _INFO_SLAVE_DATA in info else None,
    )


def _bridge_port(info: dict[int, bytes]) -> dict[int, bytes]:
    """What a bridge's port is told; empty for any other device."""
    ports = info.get(_INFO_SLAVE_KIND) == b"bridge\0" and _INFO_SLAVE_DATA in info
    return attributes(info[_INFO_SLAVE_DATA], 0) if ports else {}


def _flooded(said: dict[int, bytes]) -> bool:
    return not said or any(said.get(flag) != b"\0" for flag in _FLOODS)


def _advertisements(families: bytes) -> AdvertisementsView | None:
    """From the device's settings for IPv6, as `ip -d` does not show them (linux/ipv6.h, DEVCONF)."""
    conf = attributes(attributes(families, 0).get(socket.AF_INET6, b""), 0).get(_INET6_CONF, b"")
    values = memoryview(conf).cast("i") if conf else ()
    if len(values) <= _ACCEPT_DEFAULT or not values[_ACCEPT_RA]:
        return None
    return AdvertisementsView(autoconf=bool(values[_AUTOCONF]), router=bool(values[_ACCEPT_DEFAULT]))


_READ = frozenset({_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _LINKINFO, _IFALIAS, _GROUP, _CARRIER, _PARENT_NAME, _PARENT_BUS, _AF_SPEC, _MAX_MTU})
