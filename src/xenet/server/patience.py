"""uvicorn's HTTP protocol with an end to its patience: who connects and says nothing, sends byte by byte, reads no answer or has gone
without a word is cut off, and costs a socket until then and nothing else."""

import asyncio
import socket
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

WITHIN = 60.0
"""Seconds from a connection, or from a request's first byte, to the end of the request."""
HEAD_LIMIT = 64 * 1024
"""Bytes of a request's URL and headers."""
MOST = 8000
"""Connections at once; more are closed as they come."""
_IDLE, _EVERY, _TIMES = 60, 15, 4
"""TCP keep-alive (tcp(7)): seconds of silence before the other end is asked, seconds between questions, questions."""
_UNREAD = 120_000
"""Milliseconds for which an answer may stay unacknowledged (tcp(7), TCP_USER_TIMEOUT): a reader who does not read."""


class HeadTooLarge(Exception):
    """httptools turns it into a parser's error, and uvicorn that into status 400."""


class PatientProtocol(HttpToolsProtocol):
    """One connection."""

    within: ClassVar[float] = WITHIN

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
            return
        _keep_watch(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        self._wait()

    def on_message_complete(self) -> None:
        self._rest()
        super().on_message_complete()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > HEAD_LIMIT:
            raise HeadTooLarge

    def _wait(self) -> None:
        self._rest()
        self._deadline = self.loop.call_later(self.within, self.transport.abort)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _keep_watch(transport: asyncio.Transport) -> None:
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, _IDLE), (socket.TCP_KEEPINTVL, _EVERY), (socket.TCP_KEEPCNT, _TIMES)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD)
