"""Frames of a guest that keeps to its lock, and of one that does not, each with its name.

The guest has MAC `ME`, the addresses 10.0.0.1 and 10.8.0.0/24, 2001:db8::1 and fd00:8::/64. Others have the next numbers;
for what is sent to `TARGET` a bridge does not know the way, so all hear it.
"""

from scapy.layers.dhcp import BOOTP
from scapy.layers.dhcp6 import DHCP6_Advertise, DHCP6_Solicit
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    RouterAlert,
    fragment6,
)
from scapy.layers.l2 import ARP, LLC, SNAP, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Packet, Raw

ME, OTHER, TARGET = "02:00:00:01:00:00", "02:00:00:09:00:09", "02:00:00:77:00:07"
MINE, THEIRS = "10.0.0.1", "10.0.0.9"
MINE6, THEIRS6, TO6 = "2001:db8::1", "2001:db8::9", "2001:db8::2"
LOCAL, THEIR_LOCAL = "fe80::ff:fe01:0", "fe80::ff:fe09:9"
ALL_NODES, ANYONE = "ff02::1", "ff:ff:ff:ff:ff:ff"
_ME, _ALL = Ether(src=ME, dst=TARGET), Ether(src=ME, dst=ANYONE)
_DHCP_OFFER = BOOTP(op=2, yiaddr="10.0.0.50") / Raw(b"\x63\x82\x53\x63\x35\x01\x02\xff")
_ADVERT = ICMPv6ND_RA() / Raw(bytes(16))


def _arp(mac: str = ME, ip: str = MINE, op: int = 1, source: str = ME) -> Packet:
    return Ether(src=source, dst=ANYONE) / ARP(op=op, hwsrc=mac, psrc=ip, pdst="10.0.0.2")


def _ip(source: str = MINE) -> Packet:
    return _ME / IP(src=source, dst="10.0.0.2")


def _ip6(source: str = MINE6, target: str = TO6) -> Packet:
    return _ME / IPv6(src=source, dst=target)


def _advertisement(target: str, source: str = MINE6) -> Packet:
    return _ip6(source, ALL_NODES) / ICMPv6ND_NA(tgt=target) / Raw(b"\x02\x01" + bytes.fromhex(ME.replace(":", "")))


def _hidden_advert() -> list[Packet]:
    """A router advertisement whose header is in the second fragment, behind options that fill the first (RFC 7113)."""
    whole = _ip6(LOCAL, ALL_NODES) / IPv6ExtHdrFragment(id=7) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(250))] * 6) / _ADVERT
    first, *later = fragment6(whole, 1400)
    return [first, *later]


HONEST: dict[str, Packet | list[Packet]] = {
    "ARP: who has": _arp(),
    "ARP: answer": _arp(op=2),
    "ARP: announcement": _ALL / ARP(op=1, hwsrc=ME, psrc=MINE, pdst=MINE),
    "ARP: probe": _arp(ip="0.0.0.0"),
    "ARP: from the block": _arp(ip="10.8.0.77"),
    "IPv4: UDP": _ip() / UDP(sport=999, dport=9),
    "IPv4: TCP": _ip() / TCP(dport=80),
    "IPv4: ping": _ip() / ICMP(),
    "IPv4: from the block": _ip("10.8.0.255") / UDP(dport=9),
    "IPv4: fragments": fragment(_ip() / UDP(sport=999, dport=9) / Raw(bytes(3000)), 1400),
    "IPv4: DHCP discover": _ALL / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / BOOTP(),
    "IPv4: DHCP renewal": _ip() / UDP(sport=68, dport=67) / BOOTP(),
    "IPv6: UDP": _ip6() / UDP(sport=999, dport=9),
    "IPv6: TCP": _ip6() / TCP(dport=80),
    "IPv6: ping": _ip6() / ICMPv6EchoRequest(),
    "IPv6: from the block": _ip6("fd00:8::77") / UDP(dport=9),
    "IPv6: from its link-local address": _ip6(LOCAL, THEIR_LOCAL) / ICMPv6EchoRequest(),
    "IPv6: fragments": fragment6(_ip6() / IPv6ExtHdrFragment(id=5) / ICMPv6EchoRequest(data=bytes(3000)), 1400),
    "IPv6: UDP in fragments": fragment6(_ip6() / IPv6ExtHdrFragment(id=6) / UDP(sport=999, dport=9) / Raw(bytes(3000)), 1400),
    "IPv6: is my address free": _ip6("::", "ff02::1:ff00:1") / ICMPv6ND_NS(tgt=MINE6),
    "IPv6: is my link-local address free": _ip6("::", "ff02::1:ff01:0") / ICMPv6ND_NS(tgt=LOCAL),
    "IPv6: who has": _ip6(MINE6, "ff02::1:ff00:2") / ICMPv6ND_NS(tgt=TO6),
    "IPv6: I have": _advertisement(MINE6),
    "IPv6: I have one of the block": _advertisement("fd00:8::5", LOCAL),
    "IPv6: where are routers": _ip6(LOCAL, "ff02::2") / ICMPv6ND_RS(),
    "IPv6: multicast report": _ip6(LOCAL, "ff02::16") / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6MLReport2(),
    "IPv6: DHCP solicit": _ip6(LOCAL, "ff02::1:2") / UDP(sport=546, dport=547) / DHCP6_Solicit(),
}
FORGED: dict[str, Packet | list[Packet]] = {
    "another's MAC": Ether(src=OTHER, dst=TARGET) / IP(src=MINE, dst="10.0.0.2") / UDP(dport=9),
    "another's MAC, ARP": _arp(source=OTHER),
    "ARP: another's MAC inside": _arp(mac=OTHER),
    "ARP: another's address": _arp(ip=THEIRS),
    "ARP: answer for another": _arp(ip=THEIRS, op=2),
    "ARP: announcement for another": _ALL / ARP(op=2, hwsrc=ME, psrc=THEIRS, pdst=THEIRS, hwdst=ANYONE),
    "ARP: answer without address": _arp(ip="0.0.0.0", op=2),
    "ARP: just below the block": _arp(ip="10.7.255.255"),
    "ARP: longer hardware addresses": _ALL / ARP(hwlen=8, hwsrc=ME, psrc=MINE),
    "RARP": Ether(src=ME, dst=ANYONE, type=0x8035) / ARP(op=3, hwsrc=ME, psrc=MINE),
    "IPv4: another's address": _ip(THEIRS) / UDP(dport=9),
    "IPv4: none": _ip("0.0.0.0") / UDP(sport=68, dport=68),
    "IPv4: just above the block": _ip("10.8.1.0") / UDP(dport=9),
    "IPv4: another's address, later fragment": _ME / IP(src=THEIRS, dst="10.0.0.2", frag=185, proto=17) / Raw(bytes(64)),
    "IPv4: DHCP offer": _ip() / UDP(sport=67, dport=68) / _DHCP_OFFER,
    "IPv4: DHCP offer from another port": _ip() / UDP(sport=1067, dport=68) / _DHCP_OFFER,
    "IPv4: DHCP relay": _ip() / UDP(sport=67, dport=67) / _DHCP_OFFER,
    "IPv4: DHCP offer, first fragment": _ME / IP(src=MINE, dst="10.0.0.2", flags="MF") / UDP(sport=67, dport=68, len=1000) / Raw(bytes(64)),
    "IPv6: another's address": _ip6(THEIRS6) / UDP(dport=9),
    "IPv6: another's link-local address": _ip6(THEIR_LOCAL) / ICMPv6EchoRequest(),
    "IPv6: none": _ip6("::") / UDP(dport=9),
    "IPv6: router advertisement": _ip6(LOCAL, ALL_NODES) / _ADVERT,
    "IPv6: router advertisement as the router": _ip6(THEIR_LOCAL, ALL_NODES) / _ADVERT,
    "IPv6: router advertisement behind options": _ip6(LOCAL, ALL_NODES) / IPv6ExtHdrDestOpt() / _ADVERT,
    "IPv6: router advertisement in its first fragment": _ip6(LOCAL, ALL_NODES) / IPv6ExtHdrFragment(m=1, id=9) / ICMPv6ND_RA(),
    "IPv6: router advertisement with a fragment's header": _ip6(LOCAL, ALL_NODES) / IPv6ExtHdrFragment(id=9) / _ADVERT,
    "IPv6: router advertisement hidden in fragments": _hidden_advert()[:1],
    "IPv6: I have another's": _advertisement(THEIRS6),
    "IPv6: I have another's, from its address": _advertisement(THEIRS6, THEIRS6),
    "IPv6: is another's address free": _ip6("::", "ff02::1:ff00:9") / ICMPv6ND_NS(tgt=THEIRS6),
    "IPv6: who has, as another": _ip6(THEIRS6, "ff02::1:ff00:2") / ICMPv6ND_NS(tgt=TO6),
    "IPv6: redirect": _ip6(LOCAL, MINE6) / ICMPv6ND_Redirect(tgt=LOCAL, dst=THEIRS6),
    "IPv6: DHCP advertise": _ip6(LOCAL, THEIR_LOCAL) / UDP(sport=547, dport=546) / DHCP6_Advertise(),
    "IPv6: DHCP advertise from another port": _ip6(LOCAL, THEIR_LOCAL) / UDP(sport=999, dport=546) / DHCP6_Advertise(),
    "VLAN 5": _ME / Dot1Q(vlan=5) / IP(src=MINE, dst="10.0.0.2") / UDP(dport=9),
    "VLAN 5, another's address": _ME / Dot1Q(vlan=5) / IP(src=THEIRS, dst="10.0.0.2") / UDP(dport=9),
    "VLAN 0": _ME / Dot1Q(vlan=0, prio=7) / IP(src=THEIRS, dst="10.0.0.2") / UDP(dport=9),
    "two tags": _ME / Dot1Q(vlan=1) / Dot1Q(vlan=5) / IP(src=MINE, dst="10.0.0.2") / UDP(dport=9),
    "two tags, ARP for another": _ALL / Dot1Q(vlan=0) / Dot1Q(vlan=0) / ARP(op=2, hwsrc=ME, psrc=THEIRS),
    "a provider's tag": _ME / Dot1AD(vlan=5) / IP(src=MINE, dst="10.0.0.2") / UDP(dport=9),
    "a provider's tag and a tag": _ME / Dot1AD(vlan=1) / Dot1Q(vlan=5) / IP(src=THEIRS, dst="10.0.0.2") / UDP(dport=9),
    "IPv4 in 802.3": Dot3(src=ME, dst=TARGET) / LLC() / SNAP(code=0x0800) / IP(src=THEIRS, dst="10.0.0.2") / UDP(dport=9),
    "PPPoE": Ether(src=ME, dst=TARGET, type=0x8864) / Raw(bytes(50)),
    "an experiment's ethertype": Ether(src=ME, dst=TARGET, type=0x88B5) / Raw(bytes(50)),
}
TO_THE_BRIDGE: dict[str, Packet] = {
    "spanning tree": Dot3(src=OTHER, dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP(),
    "LLDP": Ether(src=OTHER, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(bytes(50)),
    "LACP": Ether(src=OTHER, dst="01:80:c2:00:00:02", type=0x8809) / Raw(bytes(50)),
}
"""With another's MAC: what a bridge learns of, though it forwards none of it (spanning tree but for a bridge that takes no part)."""


def frames(named: dict[str, Packet | list[Packet]]) -> dict[str, list[bytes]]:
    """As bytes, with their names at the end, by which `names` tells them."""
    return {name: [_named(part, name) for part in (packet if isinstance(packet, list) else [packet])] for name, packet in named.items()}


def _named(part: Packet, name: str) -> bytes:
    if IP in part:
        part[IP].len = None  # counted anew: a fragment says how long it was
    if IPv6 in part:
        part[IPv6].plen = None
    return bytes(part / Raw(_tag(name)))


def names(seen: list[bytes], sent: dict[str, list[bytes]]) -> set[str]:
    """Those of which every frame was seen."""
    found = {name: sum(_tag(name) in frame for frame in seen) for name in sent}
    return {name for name, count in found.items() if count >= len(sent[name])}


def _tag(name: str) -> bytes:
    return f"<xenet {name}>".encode()
