"""The hot path's own rtnetlink: attributes, sockets that carry out several requests a send, dumps, notifications.

pyroute2 reaches less than half of the kernel's own rate at making and listing links; this, with the messages of `links`, reaches
nearly all of it, and the tests hold both against pyroute2's decoder. Source: linux/netlink.h, linux/rtnetlink.h. Numbers are in the
machine's byte order, as netlink wants them.
"""

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from struct import Struct
from types import TracebackType
from typing import NamedTuple

ERROR, DONE = 2, 3
REQUEST, ACK, DUMP_INTR, DUMP = 0x1, 0x4, 0x10, 0x300
REPLACE, EXCL, CREATE, ACK_TLVS = 0x100, 0x200, 0x400, 0x200
NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NEWQDISC, DELQDISC, GETQDISC = 36, 37, 38
NEWTFILTER, DELTFILTER, GETTFILTER = 44, 45, 46
LINK_NEWS, TC_NEWS, IPV4_ADDR_NEWS, IPV4_ROUTE_NEWS, IPV6_ADDR_NEWS, IPV6_ROUTE_NEWS = 1, 4, 5, 7, 9, 11
"""Notification groups (RTNLGRP_*)."""

_SOL_NETLINK, _ADD_MEMBERSHIP, _CAP_ACK, _EXT_ACK, _STRICT = 270, 1, 10, 11, 12
_SO_RCVBUFFORCE = 33
_MANY = 64
"""Messages a send: the answers to so many fit a socket's default buffer."""
_ANSWER = 2048
"""Bytes of receive buffer that an answer may take."""
_HEADER = Struct("=IHHII")
_TLV = Struct("=HH")
_U32 = Struct("=I")
_I32 = Struct("=i")


class NetlinkError(OSError):
    """The kernel's refusal: errno, and its extended text where it gave one."""


class Overrun(Exception):
    """Notifications were lost: what is known must be read anew."""


class Request(NamedTuple):
    """A message without its header: the socket numbers it."""

    kind: int
    flags: int
    body: bytes


def attr(kind: int, data: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = 4 + len(data)
    return _TLV.pack(size, kind) + data + b"\0" * (-size % 4)


def u32(kind: int, value: int) -> bytes:
    return attr(kind, _U32.pack(value))


def text(kind: int, value: str) -> bytes:
    return attr(kind, value.encode() + b"\0")


def as_text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def as_u32(data: bytes) -> int:
    """The number in the first four bytes, 0 where there are none."""
    return int(_U32.unpack_from(data)[0]) if data else 0


def attributes(message: bytes, start: int) -> dict[int, bytes]:
    """The attributes of a message from this offset on, flags taken off their types; of one that comes twice the last."""
    found: dict[int, bytes] = {}
    unpack, end = _TLV.unpack_from, len(message) - 3
    while start < end:
        size, kind = unpack(message, start)
        if size < 4:
            raise ValueError(f"attribute of {size} bytes at {start}")
        found[kind & 0x3FFF] = message[start + 4 : start + size]
        start += (size + 3) & ~3
    return found


def encode(request: Request, flags: int, seq: int) -> bytes:
    """The whole message; flags come on top of the request's own."""
    return _HEADER.pack(16 + len(request.body), request.kind, REQUEST | flags | request.flags, seq, 0) + request.body


def messages(datagram: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence number, whole message) of each message in what one recv gave."""
    pos, end = 0, len(datagram)
    while pos + 16 <= end:
        size, kind, flags, seq, _ = _HEADER.unpack_from(datagram, pos)
        yield kind, flags, seq, datagram[pos : pos + size]
        pos += (size + 3) & ~3


class Socket:
    """A netlink socket in the network namespace of the thread that makes it."""

    def __init__(self, news: Iterable[int] = (), buffer: int = 0, protocol: int = socket.NETLINK_ROUTE) -> None:
        """news: the groups to be notified of; buffer: bytes of receive buffer (as many as the kernel allows), 0 for its default."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        for option in (_CAP_ACK, _EXT_ACK, _STRICT):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        if buffer:
            self._enlarge(buffer)
        self._socket.bind((0, 0))
        for group in news:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        self._numbers = count(1)

    def _enlarge(self, size: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
        except PermissionError:  # rootless: net.core.rmem_max is the limit
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "Socket":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def do(self, requests: Sequence[Request]) -> list[NetlinkError | None]:
        """Carry out all, several a send; the outcome of each, in their order. One that fails does not stop those behind it."""
        return [outcome for start in range(0, len(requests), _MANY) for outcome in self._do(requests[start : start + _MANY])]

    def do_at_once(self, requests: Sequence[Request]) -> list[NetlinkError | None]:
        """The same in one send, however many: the kernel carries out all of them, even if the caller is killed meanwhile."""
        if len(requests) > _MANY:
            self._enlarge(len(requests) * _ANSWER)
        return self._do(requests)

    def _do(self, requests: Sequence[Request]) -> list[NetlinkError | None]:
        first = self._send(ACK, requests)
        outcomes: dict[int, NetlinkError | None] = {}
        while len(outcomes) < len(requests):
            for kind, flags, seq, message in messages(self._socket.recv(65536)):
                if kind == ERROR and seq >= first:
                    outcomes[seq - first] = _outcome(flags, message, 36)
        return [outcomes[i] for i in range(len(requests))]

    def _send(self, flags: int, requests: Sequence[Request]) -> int:
        numbers = [next(self._numbers) for _ in requests]
        self._socket.send(b"".join(encode(request, flags, seq) for request, seq in zip(requests, numbers, strict=True)))
        return numbers[0]

    def run(self, request: Request) -> None:
        """Carry out one. Raises NetlinkError."""
        if error := self._do([request])[0]:
            raise error

    def get(self, request: Request) -> bytes | None:
        """The message that answers, None where there is no such device. Raises NetlinkError for other refusals."""
        first = self._send(ACK, [request])
        found = None
        while True:
            for kind, flags, seq, message in messages(self._socket.recv(65536)):
                if seq != first:
                    continue
                if kind != ERROR:
                    found = message
                    continue
                error = _outcome(flags, message, 36)
                if error and error.errno != errno.ENODEV:
                    raise error
                return found

    def dump(self, request: Request) -> list[bytes]:
        """All messages of a dump, asked for again where the kernel says that it changed meanwhile. Raises NetlinkError."""
        found, whole = self._dump(request)
        for _ in range(4):
            if whole:
                break
            found, whole = self._dump(request)
        return found

    def _dump(self, request: Request) -> tuple[list[bytes], bool]:
        first = self._send(DUMP, [request])
        found: list[bytes] = []
        whole = True
        while True:
            for kind, flags, seq, message in messages(self._socket.recv(65536)):
                if seq != first:
                    continue
                whole = whole and not flags & DUMP_INTR
                if kind not in (DONE, ERROR):
                    found.append(message)
                elif error := _outcome(flags, message, 20 if kind == DONE else 36):
                    raise error
                else:
                    return found, whole

    def news(self) -> Iterator[tuple[int, bytes]]:
        """(type, message) of every notification that waits; never blocks. Raises Overrun when the kernel had to drop some."""
        receive = self._socket.recv
        while True:
            try:
                datagram = receive(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise Overrun from None
                raise
            for kind, _, _, message in messages(datagram):
                yield kind, message


def _outcome(flags: int, message: bytes, tlvs: int) -> NetlinkError | None:
    code = -_I32.unpack_from(message, 16)[0]
    if not code:
        return None
    extended = attributes(message, tlvs).get(1, b"") if flags & ACK_TLVS else b""
    return NetlinkError(code, as_text(extended) or os.strerror(code))
