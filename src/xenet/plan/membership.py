"""What a guest is asked so that it says which multicast it wants to hear: a general query of IGMPv3 (RFC 3376) and of MLDv2 (RFC 3810).

Who has no address to ask from asks from 0.0.0.0 (RFC 4541, 2.1.1), and by IPv6 from a link-local one.
"""

import struct

from xenet.plan.announcement import ALL_NODES, ALL_NODES_MAC, IPV6, checksum

ALL_SYSTEMS, ALL_SYSTEMS_MAC = bytes((224, 0, 0, 1)), bytes.fromhex("01005e000001")
_IPV4, _IGMP, _ICMPV6, _HOP_BY_HOP = 0x0800, 2, 58, 0
_QUERY, _MLD_QUERY, _ROBUSTNESS = 0x11, 130, 2
_ROUTER_ALERT, _ROUTER_ALERT6 = bytes.fromhex("94040000"), bytes.fromhex("3a00050200000100")
_ANSWER_S = 1
"""Seconds that guests have to answer."""


def queries(mac: str, interval: int) -> list[bytes]:
    """The frames, from this MAC, of one who asks every so many seconds (127 at most)."""
    own = bytes.fromhex(mac.replace(":", ""))
    return [_igmp(own, interval), _mld(own, interval)]


def _igmp(mac: bytes, interval: int) -> bytes:
    body = struct.pack("!BBH4sBBH", _QUERY, _ANSWER_S * 10, 0, bytes(4), _ROBUSTNESS, interval, 0)
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    header = struct.pack("!BBHHHBBH4s4s4s", 0x46, 0xC0, 24 + len(body), 0, 0, 1, _IGMP, 0, bytes(4), ALL_SYSTEMS, _ROUTER_ALERT)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return ALL_SYSTEMS_MAC + mac + struct.pack("!H", _IPV4) + header + body


def _mld(mac: bytes, interval: int) -> bytes:
    address = bytes.fromhex("fe80000000000000") + bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]
    body = struct.pack("!BBHHH16sBBH", _MLD_QUERY, 0, 0, _ANSWER_S * 1000, 0, bytes(16), _ROBUSTNESS, interval, 0)
    checked = address + ALL_NODES + struct.pack("!II", len(body), _ICMPV6) + body
    body = body[:2] + struct.pack("!H", checksum(checked)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(_ROUTER_ALERT6) + len(body), _HOP_BY_HOP, 1) + address + ALL_NODES
    return ALL_NODES_MAC + mac + struct.pack("!H", IPV6) + header + _ROUTER_ALERT6 + body
