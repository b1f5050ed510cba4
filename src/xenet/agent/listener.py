"""One socket that hears what guests say of their addresses on the host's devices of their VIFs, and nothing else: the kernel's filter lets only
ARP and neighbour discovery through that comes in by one of these devices.

It is one for all, not bound to any device. Bound to a device each, they would cost the host 5 to 20 ms a device when the agent ends or is killed
(packet_release, synchronize_net). What it costs is the filter's first lines for each frame that comes in anywhere on the host; it is not there
before the first device. An ETH_P_ALL socket hears a device before its bridge or ovs-vswitchd takes the frame; one of ETH_P_ARP would hear it
of a bridge's port never.
Source: packet(7), linux/filter.h, linux/if_packet.h, net/core/dev.c (__netif_receive_skb_core).
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from xenet.plan.claims import BEGINNING

MOST = 1000
"""Devices that the filter has room for. The kernel allows 20 KiB for it and for the one before it together, where nobody has allowed more
(net.core.optmem_max), of which a device takes 8 bytes."""
_ETH_P_ALL, _SOL_PACKET, _IGNORE_OUTGOING, _SO_ATTACH_FILTER = 3, 263, 23, 26
_BUFFER = 1 << 18
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE, _JUMP, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x28, 0x30, 0x05, 0x15, 0x06
_GROUP = 200
"""Devices that share a line to jump to: a conditional jump reaches 255 lines."""
_EXTENSIONS = 0xFFFFF000
_PACKET_TYPE, _IFINDEX, _TAGGED = _EXTENSIONS + 4, _EXTENSIONS + 8, _EXTENSIONS + 48
_ARP, _IPV6, _ICMPV6 = 0x0806, 0x86DD, 58
Line = tuple[int, int, int, int]


class Listener:
    """Of the network namespace of the thread that first calls `heed`."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._indexes: frozenset[int] = frozenset()

    def heed(self, indexes: Iterable[int]) -> None:
        """Hear these devices, by their ifindex, and no others. Raises OSError."""
        wanted = frozenset(sorted(indexes)[:MOST])
        if wanted == self._indexes:
            return
        if self._socket is None:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            with suppress(OSError):  # before Linux 4.20 the filter alone sorts them out
                self._socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        self._attach(sorted(wanted))
        self._indexes = wanted

    def _attach(self, indexes: Sequence[int]) -> None:
        assert self._socket
        program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in _program(indexes)))
        pointer = struct.pack("@HP", len(program) // 8, ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)

    def fileno(self) -> int:
        """-1 before there is anything to hear."""
        return self._socket.fileno() if self._socket else -1

    def heard(self, most: int) -> Iterator[tuple[str, bytes]]:
        """Device and beginning of frames that wait, so many at most."""
        for _ in range(most if self._socket else 0):
            assert self._socket
            try:
                frame, source = self._socket.recvfrom(BEGINNING)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in (errno.ENETDOWN, errno.ENODEV):  # of the device that the frame came by: it is gone
                    raise
                continue
            yield source[0], frame

    def close(self) -> None:
        if self._socket:
            self._socket.close()


def _program(indexes: Sequence[int]) -> Iterator[Line]:
    """Most frames are done with at the third line. A tag is no part of the frame here, and what is tagged is of another network."""
    yield from _KIND
    yield _LOAD_WORD, 0, 0, _PACKET_TYPE
    yield _JUMP_IF_EQUAL, 0, 1, socket.PACKET_OUTGOING
    yield _RETURN, 0, 0, 0
    yield _LOAD_WORD, 0, 0, _TAGGED
    yield _JUMP_IF_EQUAL, 1, 0, 0
    yield _RETURN, 0, 0, 0
    yield _LOAD_WORD, 0, 0, _IFINDEX
    for first in range(0, len(indexes), _GROUP):
        group = indexes[first : first + _GROUP]
        yield from ((_JUMP_IF_EQUAL, len(group) - number, 0, index) for number, index in enumerate(group))
        yield _JUMP, 0, 0, 1
        yield _RETURN, 0, 0, BEGINNING
    yield _RETURN, 0, 0, 0


_KIND: tuple[Line, ...] = (
    (_LOAD_HALF, 0, 0, 12),
    (_JUMP_IF_EQUAL, 8, 0, _ARP),
    (_JUMP_IF_EQUAL, 0, 6, _IPV6),
    (_LOAD_BYTE, 0, 0, 20),
    (_JUMP_IF_EQUAL, 0, 4, _ICMPV6),
    (_LOAD_BYTE, 0, 0, 54),
    (_JUMP_IF_EQUAL, 3, 0, 133),
    (_JUMP_IF_EQUAL, 2, 0, 135),
    (_JUMP_IF_EQUAL, 1, 0, 136),
    (_RETURN, 0, 0, 0),
)
"""Beyond it come ARP, and of neighbour discovery router solicitations, neighbour solicitations and advertisements."""
