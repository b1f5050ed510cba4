"""Frames as a pcap stream, without a device."""

import struct

from xenet.lab import frames


def test_a_tag_stands_behind_the_macs() -> None:
    frame = bytes(range(12)) + b"\x08\x00rest"
    assert frames.with_tag(frame, 7, 0x8100) == bytes(range(12)) + b"\x81\x00\x00\x07" + b"\x08\x00rest"


def test_a_record_says_when_and_how_long() -> None:
    assert frames.record(b"abc", 5.25) == struct.pack("=IIII", 5, 250000, 3, 3) + b"abc"


def test_the_header_is_that_of_ethernet_in_microseconds() -> None:
    magic, major, minor, _, _, snap, link = struct.unpack("=IHHiIII", frames.PCAP_HEADER)
    assert (magic, major, minor, snap, link) == (0xA1B2C3D4, 2, 4, 262144, 1)
