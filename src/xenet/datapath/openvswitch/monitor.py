"""Word of flows that others delete or change: an OpenFlow connection to each bridge of ours, on which ovs-vswitchd tells what happens to
flows (NXST_FLOW_MONITOR of OpenFlow 1.0 with Nicira's extensions). What xenet itself has changed is heard up to a barrier, and passed over.

Source: openflow/nicira-ext.h, openflow/openflow-1.0.h, openflow/openflow-common.h; ovs-fields(7) for NXM_OF_IN_PORT.
"""

import select
import socket
import time
from collections.abc import Callable, Iterator, Set
from contextlib import suppress
from pathlib import Path
from struct import Struct

from xenet.datapath.openvswitch.control import connect
from xenet.datapath.openvswitch.flows import COOKIE

_VERSION, _HELLO, _ECHO_REQUEST, _ECHO_REPLY, _STATS_REQUEST, _STATS_REPLY, _BARRIER_REQUEST, _BARRIER_REPLY = 1, 0, 2, 3, 16, 17, 18, 19
_HEADER = Struct("!BBHI")
_VENDOR_STATS, _NICIRA, _FLOW_MONITOR = 0xFFFF, 0x2320, 2
_STATS = Struct("!HHII4x")
_REQUEST = Struct("!IHHHB5x")
_DELETIONS, _CHANGES, _NO_PORT, _ALL_TABLES = 4, 8, 0xFFFF, 0xFF
_UPDATE = Struct("!HHHHHHHBxQ")
_DELETED, _MODIFIED = 1, 2
_IN_PORT = Struct("!IH")
_NXM_OF_IN_PORT = 0x00000002
LEARNING = -1
"""In the place of a port's number: a bridge's own flow, by which it is a learning switch."""
_PATIENCE_S = 1.0
"""Seconds that a barrier may take."""


class Line:
    """One connection."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self.socket.settimeout(_PATIENCE_S)
            connect(self.socket, path)
            asked = _REQUEST.pack(1, _DELETIONS | _CHANGES, _NO_PORT, 0, _ALL_TABLES)
            self._send(_HELLO)
            self._send(_STATS_REQUEST, _STATS.pack(_VENDOR_STATS, 0, _NICIRA, _FLOW_MONITOR) + asked)
            self.socket.setblocking(False)
        except OSError:
            self.socket.close()
            raise
        self._data = b""

    def _send(self, kind: int, body: bytes = b"", number: int = 0) -> None:
        self.socket.sendall(_HEADER.pack(_VERSION, kind, _HEADER.size + len(body), number) + body)

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """The type and the body of all that has come. Raises OSError where the other side is gone."""
        with suppress(BlockingIOError):
            while part := self.socket.recv(1 << 16):
                self._data += part
            raise ConnectionResetError
        while len(self._data) >= _HEADER.size:
            _, kind, size, number = _HEADER.unpack_from(self._data)
            if len(self._data) < max(size, _HEADER.size):
                return
            body, self._data = self._data[_HEADER.size : size], self._data[max(size, _HEADER.size) :]
            if kind == _ECHO_REQUEST:
                self._send(_ECHO_REPLY, body, number)
            yield kind, body

    def ask_barrier(self) -> None:
        self._send(_BARRIER_REQUEST)


class FlowMonitor:
    """`management` says where a bridge answers OpenFlow."""

    def __init__(self, management: Callable[[str], Path]) -> None:
        self._management = management
        self._lines: dict[str, Line] = {}
        self._news: set[tuple[str, int]] = set()
        """What was heard and not taken yet."""
        self._epoll = select.epoll()

    def fileno(self) -> int:
        """Readable when `take` has something to do."""
        return self._epoll.fileno()

    def close(self) -> None:
        self.follow(frozenset())
        self._epoll.close()

    def follow(self, bridges: Set[str]) -> None:
        """Listen to these. One that does not answer is tried again the next time."""
        for bridge in self._lines.keys() - bridges:
            self._drop(bridge)
        for bridge in bridges - self._lines.keys():
            with suppress(OSError):
                line = self._lines[bridge] = Line(self._management(bridge))
                self._epoll.register(line.socket.fileno(), select.EPOLLIN)

    def _drop(self, bridge: str) -> None:
        line = self._lines.pop(bridge)
        with suppress(OSError):
            self._epoll.unregister(line.socket.fileno())
        line.socket.close()

    def take(self) -> set[tuple[str, int]]:
        """Bridges and numbers of their ports of which flows of ours were deleted or changed, or LEARNING."""
        found, self._news = self._news, set()
        for bridge, line in list(self._lines.items()):
            try:
                found |= {(bridge, number) for kind, body in line.messages() for number in _ports(kind, body)}
            except OSError:
                self._drop(bridge)
        return found

    def pass_over(self, bridge: str, ports: Set[int]) -> None:
        """What has been done to flows of these ports until now is known."""
        if line := self._lines.get(bridge):
            try:
                self._news |= {(bridge, number) for number in _hear_out(line) - ports}
            except OSError:
                self._drop(bridge)


def _hear_out(line: Line) -> set[int]:
    """The ports of which all was about that was said before the answer to a barrier. Raises OSError."""
    line.ask_barrier()
    until, found, over = time.monotonic() + _PATIENCE_S, set[int](), False
    while not over:
        for kind, body in line.messages():
            over = over or kind == _BARRIER_REPLY
            found |= set(_ports(kind, body))
        if not over:
            _wait(line, until)
    return found


def _wait(line: Line, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    poll = select.poll()
    poll.register(line.socket, select.POLLIN)
    poll.poll(left * 1000)


def _ports(kind: int, body: bytes) -> Iterator[int]:
    """The ports that flows of ours, deleted or changed, were for, and LEARNING. A change can take our mark off."""
    if kind != _STATS_REPLY or _STATS.unpack_from(body)[::2] != (_VENDOR_STATS, _NICIRA):
        return
    at = _STATS.size
    while at + _UPDATE.size <= len(body):
        size, event, _, priority, _, _, match_size, _, cookie = _UPDATE.unpack_from(body, at)
        if event == _MODIFIED or (event == _DELETED and (cookie == COOKIE or not match_size)):
            yield from [LEARNING] if not priority and not match_size else ()
            yield from _in_port(body[at + _UPDATE.size : at + _UPDATE.size + match_size])
        at += max(size, 8)


def _in_port(match: bytes) -> Iterator[int]:
    """Every flow of ours begins with it."""
    if len(match) >= _IN_PORT.size:
        header, number = _IN_PORT.unpack_from(match)
        if header == _NXM_OF_IN_PORT:
            yield number
