"""What devices that stand on others are told when they are made, and say later: a VLAN's tag (IEEE 802.1Q), VXLAN's number (RFC 7348), GRE's key
(RFC 2890), and the addresses of the last two. Source: linux/if_link.h, linux/if_tunnel.h, net/ipv4/ip_gre.c."""

import socket
import struct

from xenet.datapath.netlink import as_u32, attr, attributes, u32

_VLAN_ID = 1
_VXLAN_ID, _VXLAN_LOCAL, _VXLAN_LEARNING, _VXLAN_PORT = 1, 4, 7, 15
_IANA_VXLAN_PORT = struct.pack(">H", 4789)
_IFLAGS, _OFLAGS, _IKEY, _OKEY, _GRE_LOCAL, _REMOTE, _TTL = 2, 3, 4, 5, 6, 7, 8
_HAS_KEY = b"\x20\0"
_HOPS = b"\x40"
"""A packet without a number of its own would have that of the packet that it carries, which may be 1."""


def vlan_data(tag: int) -> bytes:
    return attr(_VLAN_ID, struct.pack("=H", tag))


def vxlan_data(vni: int, local: str) -> bytes:
    """Who to is in a table of the device's own. Raises OSError for what is no IPv4 address, as does the next."""
    options = u32(_VXLAN_ID, vni) + attr(_VXLAN_LOCAL, socket.inet_aton(local))
    return options + attr(_VXLAN_LEARNING, b"\1") + attr(_VXLAN_PORT, _IANA_VXLAN_PORT)


def gre_data(key: int, local: str, remote: str) -> bytes:
    """One key both ways, as Open vSwitch has it with options:key."""
    number, ends = struct.pack(">I", key), ((_GRE_LOCAL, socket.inet_aton(local)), (_REMOTE, socket.inet_aton(remote)))
    said = ((_IFLAGS, _HAS_KEY), (_OFLAGS, _HAS_KEY), (_IKEY, number), (_OKEY, number), *ends, (_TTL, _HOPS))
    return b"".join(attr(kind, value) for kind, value in said)


def parse_stacked(kind: str, data: bytes) -> tuple[int, str, str]:
    """The number, the address here and the one there; -1 and empty where a device of this kind has none."""
    if kind not in ("vlan", "vxlan", "gretap"):
        return -1, "", ""
    said = attributes(data, 0)
    if kind == "vlan":
        return int(struct.unpack_from("=H", said[_VLAN_ID])[0]), "", ""
    if kind == "vxlan":
        return as_u32(said.get(_VXLAN_ID, b"")), _address(said, _VXLAN_LOCAL), ""
    keyed = said.get(_IFLAGS) == said.get(_OFLAGS) == _HAS_KEY and said.get(_IKEY) == said.get(_OKEY)
    return int.from_bytes(said.get(_IKEY, b"")) if keyed else -1, _address(said, _GRE_LOCAL), _address(said, _REMOTE)


def _address(said: dict[int, bytes], kind: int) -> str:
    return socket.inet_ntoa(said[kind]) if kind in said else ""
