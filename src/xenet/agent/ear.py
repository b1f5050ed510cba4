"""An ear hears the frames to one MAC that pass a device, and remembers when they came and what they began with: enough to tell afterwards
which came through, which twice and which not at all. It costs nothing until it is asked: the kernel filters, stamps and keeps.

Source: packet(7), socket(7), linux/filter.h.
"""

import ctypes
import hashlib
import socket
import struct
import time
from contextlib import suppress

from xenet.model.hidden import Frame

BEGINNING = 128
"""Bytes of a frame that are kept."""
_TAG, _VLAN = 4, b"\x81\x00"
"""Bytes of a VLAN's tag, and how it begins (IEEE 802.1Q)."""
_ETH_P_ALL = 3
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BUFFER = 8 << 20
"""Bytes of frames that may wait: about 4,000 of them."""
_LOAD_WORD, _LOAD_HALF, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x28, 0x15, 0x06
_STATISTICS = struct.Struct("@II")
_TIME = struct.Struct("=qq")


class Ear:
    """Of a device in the network namespace of the thread that makes it."""

    def __init__(self, device: str, mac: str) -> None:
        """Raises OSError."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        try:
            self._prepare(device, bytes.fromhex(mac.replace(":", "")))
        except OSError:
            self._socket.close()
            raise

    def _prepare(self, device: str, mac: bytes) -> None:
        with suppress(PermissionError):  # rootless: what net.core.rmem_max allows is there already
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        program = ctypes.create_string_buffer(_only_to(mac))
        pointer = struct.pack("@HP", len(program) // 8, ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
        self._socket.bind((device, _ETH_P_ALL))

    def close(self) -> tuple[tuple[Frame, ...], bool]:
        """What it has heard, in its order, and whether that is all; then it hears no more. The kernel begins to stamp frames a moment after it
        is asked to, and gives those before the time at which they are read."""
        with self._socket:
            self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # that the device has gone down since: told before all that was heard
            now = time.time_ns()
            frames = tuple(Frame(frame.time if frame.time < now else 0, frame.digest) for frame in iter(self._next, None))
            _, dropped = _STATISTICS.unpack(self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size))
            return frames, not dropped

    def _next(self) -> Frame | None:
        try:
            data, notes, _, _ = self._socket.recvmsg(BEGINNING + _TAG, socket.CMSG_SPACE(_TIME.size))
        except OSError:  # no more, or the device goes away at this moment
            return None
        return _frame(_untagged(data)[:BEGINNING], notes)


def _untagged(data: bytes) -> bytes:
    """A tag is a part of what Open vSwitch sends in userspace, and of nothing else that is heard."""
    return data[:12] + data[12 + _TAG :] if data[12:14] == _VLAN else data


def _frame(data: bytes, notes: list[tuple[int, int, bytes]]) -> Frame:
    seconds, nanoseconds = next((_TIME.unpack(note) for _, kind, note in notes if kind == _SO_TIMESTAMPNS), (0, 0))
    digest = int.from_bytes(hashlib.blake2b(data, digest_size=7).digest(), "big")
    return Frame(seconds * 1_000_000_000 + nanoseconds, digest)


def _only_to(mac: bytes) -> bytes:
    """The filter's program: the destination is this MAC, then the beginning, else nothing."""
    high, low = struct.unpack("!IH", mac)
    program = (
        (_LOAD_WORD, 0, 0, 0),
        (_JUMP_IF_EQUAL, 0, 3, high),
        (_LOAD_HALF, 0, 0, 4),
        (_JUMP_IF_EQUAL, 0, 1, low),
        (_RETURN, 0, 0, BEGINNING + _TAG),
        (_RETURN, 0, 0, 0),
    )
    return b"".join(struct.pack("=HBBI", *line) for line in program)
