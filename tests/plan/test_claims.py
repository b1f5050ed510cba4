"""What frames claim, built by another's encoder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from xenet.model.hidden import Claim
from xenet.plan.announcement import announcement
from xenet.plan.claims import MOST, claimed, is_answer, joined
from xenet.plan.view import LockView

MAC, OTHER = "02:00:00:00:61:00", "02:00:00:00:61:01"
V4, V6 = "10.0.0.1", "2001:db8::1"
ASKED = "ff02::1:ff00:1"


def arp(op: int = 1, source: str = MAC, sender: str = MAC, address: str = V4, target: str = "10.0.0.2") -> Packet:
    return Ether(src=source, dst="ff:ff:ff:ff:ff:ff") / ARP(op=op, hwsrc=sender, psrc=address, hwdst="00:00:00:00:00:00", pdst=target)


def nd(message: Packet, *options: Packet, source: str = V6, mac: str = MAC, hops: int = 255) -> Packet:
    packet = Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=source, dst=ASKED, hlim=hops) / message
    for option in options:
        packet /= option
    return packet


CLAIMS = {
    "a question": (arp(), V4),
    "an answer": (arp(2), V4),
    "a gratuitous request": (arp(target=V4), V4),
    "a gratuitous answer": (arp(2, target=V4), V4),
    "a solicitation": (nd(ICMPv6ND_NS(tgt="2001:db8::2"), ICMPv6NDOptSrcLLAddr(lladdr=MAC)), V6),
    "an advertisement": (nd(ICMPv6ND_NA(tgt="2001:db8::7"), ICMPv6NDOptDstLLAddr(lladdr=MAC)), "2001:db8::7"),
    "an advertisement without its MAC, as an answer may be": (nd(ICMPv6ND_NA(tgt=V6)), V6),
    "a question for routers": (nd(ICMPv6ND_RS(), ICMPv6NDOptSrcLLAddr(lladdr=MAC), source="fe80::1"), "fe80::1"),
    "another option first": (nd(ICMPv6ND_NA(tgt=V6), ICMPv6NDOptPrefixInfo(prefix="2001:db8::"), ICMPv6NDOptDstLLAddr(lladdr=MAC)), V6),
}
ANSWERS = {"an answer"}
"""Of these, what only answers, as Linux does at a NIC that has not the address."""
NO_CLAIMS = {
    "whether an address is free": arp(address="0.0.0.0", target=V4),
    "whether an IPv6 address is free": nd(ICMPv6ND_NS(tgt=V6), source="::"),
    "routers asked without an address": nd(ICMPv6ND_RS(), source="::"),
    "from another MAC": arp(source=OTHER, sender=MAC),
    "for another MAC": arp(sender=OTHER),
    "a reverse request": arp(3),
    "an advertisement for another MAC": nd(ICMPv6ND_NA(tgt=V6), ICMPv6NDOptDstLLAddr(lladdr=OTHER)),
    "a solicitation of another MAC": nd(ICMPv6ND_NS(tgt="2001:db8::2"), ICMPv6NDOptSrcLLAddr(lladdr=OTHER)),
    "hidden behind another option": nd(ICMPv6ND_NA(tgt=V6), ICMPv6NDOptPrefixInfo(prefix="::"), ICMPv6NDOptDstLLAddr(lladdr=OTHER)),
    "from another MAC by discovery": nd(ICMPv6ND_NA(tgt=V6), mac=OTHER),
    "from beyond a router": nd(ICMPv6ND_NA(tgt=V6), hops=254),
    "for everybody": arp(address="255.255.255.255"),
    "for a group": arp(address="224.0.0.1"),
    "for a group of IPv6": nd(ICMPv6ND_NA(tgt="ff02::1")),
    "for itself": arp(address="127.0.0.1"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_what_is_claimed(name: str) -> None:
    packet, address = CLAIMS[name]
    assert claimed(bytes(packet), MAC) == address


@pytest.mark.parametrize("name", CLAIMS)
def test_an_answer_is_told_from_use(name: str) -> None:
    assert is_answer(bytes(CLAIMS[name][0])) == (name in ANSWERS)


@pytest.mark.parametrize("name", NO_CLAIMS)
def test_what_is_no_claim(name: str) -> None:
    assert claimed(bytes(NO_CLAIMS[name]), MAC) == ""


def test_what_an_announcement_says_is_claimed() -> None:
    assert [claimed(frame, MAC) for frame in announcement(MAC, [V4, V6])] == [V4, V6]
    assert [claimed(frame, MAC) for frame in announcement(MAC, [])] == [""]


def test_under_a_lock_only_what_it_allows() -> None:
    lock = LockView(ipv4=("10.0.0.0/30",), ipv6=(V6,))
    assert claimed(bytes(arp()), MAC, lock) == V4
    assert claimed(bytes(arp(address="10.0.0.9")), MAC, lock) == ""
    assert claimed(bytes(nd(ICMPv6ND_NA(tgt=V6))), MAC, lock) == V6
    assert claimed(bytes(nd(ICMPv6ND_NA(tgt="2001:db8::2"))), MAC, lock) == ""
    assert claimed(bytes(arp()), MAC, LockView()) == ""


@given(st.sampled_from([bytes(packet) for packet, _ in CLAIMS.values()]), st.integers(0, 120), st.integers(14, 90), st.integers(0, 255))
def test_no_frame_breaks_it(frame: bytes, size: int, at: int, value: int) -> None:
    """Cut off anywhere, a byte of it another one: it claims something that can be an address, or nothing."""
    broken = bytearray(frame)
    broken[min(at, len(frame) - 1)] = value
    address = claimed(bytes(broken[:size]), MAC)
    assert claimed(frame[: min(size, 41)], MAC) == ""
    assert not address or (address not in ("0.0.0.0", "::") and not address.startswith(("ff", "127.")))


def test_those_that_were_not_heard_for_the_longest_time_give_way() -> None:
    known = tuple(Claim(f"10.0.0.{number}", 100 + number) for number in range(MOST))
    more = joined(known, [Claim("10.0.0.0", 500), Claim("10.0.1.1", 400)])
    assert len(more) == MOST
    assert [claim.address for claim in more] == ["10.0.0.0", *(f"10.0.0.{number}" for number in range(2, MOST)), "10.0.1.1"]
    assert joined(more, [Claim("10.0.0.0", 3)]) == more, "older news"
