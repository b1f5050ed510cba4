"""What is said on the wire for a guest that has come to another place: frames from its MAC to everybody, so that every switch on the way learns
where it is, and with each of its addresses, so that neighbours keep it in mind.

A gratuitous ARP request for an IPv4 address (RFC 5227), an unsolicited neighbour advertisement for an IPv6 one (RFC 4861, 7.2.6), and a
reverse ARP request (RFC 903), which names no address, where none is known.
"""

import ipaddress
import struct
from collections.abc import Iterable

BROADCAST = b"\xff" * 6
ALL_NODES = ipaddress.IPv6Address("ff02::1").packed
ALL_NODES_MAC = bytes.fromhex("333300000001")
ARP, RARP, IPV6, VLAN = 0x0806, 0x8035, 0x86DD, 0x8100
_ARP_REQUEST, _RARP_REQUEST = 1, 3
_ICMPV6, _NEIGHBOUR_ADVERTISEMENT, _OVERRIDE, _LINK_LAYER_TARGET = 58, 136, 0x20000000, 2
_HOP_LIMIT = 255


def announcement(mac: str, addresses: Iterable[str]) -> list[bytes]:
    """The frames for a guest with this MAC and these addresses (without prefix lengths)."""
    own = bytes.fromhex(mac.replace(":", ""))
    known = [ipaddress.ip_address(address) for address in addresses]
    frames = [_advertisement(own, ip.packed) if ip.version == 6 else _arp(own, ARP, _ARP_REQUEST, ip.packed) for ip in known]
    return frames or [_arp(own, RARP, _RARP_REQUEST, bytes(4))]


def herald(mac: str, station: bytes) -> bytes:
    """A reverse ARP request, too, but to a station that is nowhere, another one each time (5 bytes of chance): every switch floods it, and for
    one that learns from the first frame of a flow only (Open vSwitch, within 10 s) it is the first."""
    return b"\x02" + station + announcement(mac, ())[0][6:]


def in_vlan(frame: bytes, tag: int) -> bytes:
    """The same frame with a tag (IEEE 802.1Q)."""
    return frame[:12] + struct.pack("!HH", VLAN, tag) + frame[12:]


def _arp(mac: bytes, ethertype: int, operation: int, address: bytes) -> bytes:
    """From and about the same address. A reverse request asks for that of its own MAC."""
    target = mac if ethertype == RARP else bytes(6)
    header = BROADCAST + mac + struct.pack("!HHHBBH", ethertype, 1, 0x0800, 6, 4, operation)
    return header + mac + address + target + address


def _advertisement(mac: bytes, address: bytes) -> bytes:
    body = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE) + address + struct.pack("!BB", _LINK_LAYER_TARGET, 1) + mac
    checked = address + ALL_NODES + struct.pack("!II", len(body), _ICMPV6) + body
    body = body[:2] + struct.pack("!H", checksum(checked)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, _HOP_LIMIT) + address + ALL_NODES
    return ALL_NODES_MAC + mac + struct.pack("!H", IPV6) + header + body


def checksum(data: bytes) -> int:
    """The Internet's (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
