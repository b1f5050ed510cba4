"""Frames with their VLAN's tag, as they are on a wire: the kernel takes a tag off and tells of it beside the frame (packet(7))."""

import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.e2e.world import PATIENCE
from xenet.lab.frames import AUXDATA, ETH_P_ALL, PACKET_AUXDATA, SOL_PACKET, TP_STATUS_VLAN_VALID, with_tag
from xenet.plan.announcement import VLAN, in_vlan

NONE = -1
"""In place of a tag: there is none."""
LAST = b"<the last one>"


@contextmanager
def tagged(namespace: Callable[..., Any], device: str = "eth0", last: bytes = b"") -> Iterator[list[bytes]]:
    """What comes to a device while the block runs; read the list after the block. `last`: what is in the last frame that is sent and comes, if one
    does: a switch under load may take a while."""
    frames: list[bytes] = []
    with namespace(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        sock.bind((device, ETH_P_ALL))
        yield frames
        sock.settimeout((5 if last else 0.05) * PATIENCE)
        with suppress(TimeoutError):
            while True:
                if last and frames and last in frames[-1]:  # of what came together, a switch passes first what it knows the way of
                    sock.settimeout(0.05 * PATIENCE)
                frame, beside, _, source = sock.recvmsg(65536, 256)
                if source[2] != socket.PACKET_OUTGOING:
                    frames.append(_whole(frame, beside))


def _whole(frame: bytes, beside: list[tuple[int, int, bytes]]) -> bytes:
    for _, _, data in beside:
        status, _, _, _, _, tci, tpid = AUXDATA.unpack(data)
        if status & TP_STATUS_VLAN_VALID:
            return with_tag(frame, tci, tpid)
    return frame


def tag_of(frame: bytes) -> int:
    kind, tci = struct.unpack_from("!HH", frame, 12)
    return tci & 0xFFF if kind == VLAN else NONE


def in_vlans(frame: bytes, *tags: int) -> bytes:
    """The outer tag first."""
    for tag in reversed(tags):
        frame = in_vlan(frame, tag)
    return frame


def shout(mac: str, *tags: int) -> bytes:
    """To everybody, of a kind that no lock lets pass, saying which tags it was sent with."""
    own = bytes.fromhex(mac.replace(":", ""))
    return in_vlans(b"\xff" * 6 + own + b"\x88\xb5" + f"<{mac} {tags}>".encode().ljust(50), *tags)


def shouted(frames: list[bytes], mac: str) -> dict[tuple[int, ...], int]:
    """What came of one's shouts: the tags that they were sent with -> the outer one that each came with."""
    found: dict[tuple[int, ...], int] = {}
    for frame in frames:
        if (head := f"<{mac} (".encode()) in frame:
            said = frame.partition(head)[2].partition(b")")[0]
            found[tuple(int(tag) for tag in said.decode().split(",") if tag.strip())] = tag_of(frame)
    return found


def shouts(mac: str, sent: Iterable[tuple[int, ...]]) -> list[bytes]:
    """One with each of these tags, and a last one without."""
    return [*(shout(mac, *tags) for tags in sent), shout(mac)[:14] + LAST.ljust(50)]


def send_all(namespace: Callable[..., Any], frames: list[bytes], device: str = "eth0") -> None:
    def act() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((device, 0))
            for frame in frames:
                sock.send(frame)

    namespace(act)
