"""Frames of a device as a pcap stream on stdout: `python -m xenet.lab.frames DEVICE`, in the device's namespace.

tcpdump started as root gives its privileges up first, which it cannot in a user namespace that knows no other user. There
this module listens instead (packet(7)), and a tcpdump without privileges reads. A VLAN tag that the kernel took off into the
auxiliary data is put back where it was on the wire.
"""

import os
import select
import socket
import struct
import sys
import time
from pathlib import Path

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_AUXDATA = 263, 8
AUXDATA = struct.Struct("IIIHHHH")
"""struct tpacket_auxdata: status, length, captured, offsets of MAC and network header, VLAN TCI and TPID."""
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 0x10, 0x40
ETH_P_8021Q = 0x8100
SNAP = 262144
PCAP_HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAP, 1)
"""Microseconds, version 2.4, link type Ethernet (draft-ietf-opsawg-pcap)."""


def privileges_can_be_dropped() -> bool:
    """Whether a program started here as root can become another user: it cannot where the user namespace maps root alone (user_namespaces(7))."""
    return any(int(line.split()[2]) > 1 for line in Path("/proc/self/uid_map").read_text().splitlines())


def with_tag(frame: bytes, tci: int, tpid: int) -> bytes:
    """The frame with this tag behind its MACs (IEEE 802.1Q)."""
    return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]


def record(frame: bytes, seconds: float) -> bytes:
    """A frame as the pcap format has it."""
    whole = int(seconds)
    return struct.pack("=IIII", whole, int((seconds - whole) * 1e6), len(frame), len(frame)) + frame


def _receive(wire: socket.socket) -> bytes:
    frame, auxiliary, _, _ = wire.recvmsg(SNAP, socket.CMSG_SPACE(AUXDATA.size))
    for level, kind, data in auxiliary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = AUXDATA.unpack(data)
            if status & TP_STATUS_VLAN_VALID:
                return with_tag(frame, tci, tpid if status & TP_STATUS_VLAN_TPID_VALID else ETH_P_8021Q)
    return frame


def listen(device: str, out: int) -> None:
    """Write what the device sees, both ways, until nobody reads any more."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        wire.bind((device, ETH_P_ALL))
        os.write(out, PCAP_HEADER)
        sys.stderr.write(f"listening on {device}\n")
        poll = select.poll()
        poll.register(wire, select.POLLIN)
        poll.register(out, 0)  # only that the reader has gone
        while out not in dict(poll.poll()):
            os.write(out, record(_receive(wire), time.time()))


if __name__ == "__main__":
    try:
        listen(sys.argv[1], sys.stdout.fileno())
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(0)
