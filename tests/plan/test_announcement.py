"""The frames of an announcement, read by another's decoder."""

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from xenet.plan.announcement import announcement

MAC = "02:00:00:00:61:00"


def test_an_ipv4_address() -> None:
    (raw,) = announcement(MAC, ["10.0.0.1"])
    frame = Ether(raw)
    assert (frame.dst, frame.src) == ("ff:ff:ff:ff:ff:ff", MAC)
    arp = frame[ARP]
    assert (arp.op, arp.hwsrc, arp.psrc, arp.pdst) == (1, MAC, "10.0.0.1", "10.0.0.1")


def test_an_ipv6_address() -> None:
    (raw,) = announcement(MAC, ["2001:db8::1"])
    frame = Ether(raw)
    assert (frame.dst, frame.src) == ("33:33:00:00:00:01", MAC)
    assert (frame[IPv6].src, frame[IPv6].dst, frame[IPv6].hlim) == ("2001:db8::1", "ff02::1", 255)
    told = frame[ICMPv6ND_NA]
    assert (told.tgt, told.O, told.S, told.R) == ("2001:db8::1", 1, 0, 0)
    assert frame[ICMPv6NDOptDstLLAddr].lladdr == MAC
    checksum = told.cksum
    del told.cksum
    assert Ether(bytes(frame))[ICMPv6ND_NA].cksum == checksum


def test_no_address() -> None:
    (raw,) = announcement(MAC, [])
    assert raw[12:14] == b"\x80\x35"
    frame = Ether(raw)
    assert (frame.dst, frame.src) == ("ff:ff:ff:ff:ff:ff", MAC)
    asked = ARP(raw[14:])
    assert (asked.op, asked.hwsrc, asked.hwdst) == (3, MAC, MAC)


def test_each_address_has_a_frame() -> None:
    assert len(announcement(MAC, ["10.0.0.1", "10.0.0.2", "fe80::1"])) == 3
