"""Word of ovs-vswitchd's end: a connection to its control socket, over which nothing is said and which breaks when it dies."""

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from xenet.datapath.openvswitch.timer import Timer

AGAIN_MS = 300
"""Milliseconds between looks whether it is back."""


class Watch:
    """`find` says where its control socket is now."""

    def __init__(self, find: Callable[[], Path]) -> None:
        self._find = find
        self._socket: socket.socket | None = None
        self._timer = Timer()
        self._epoll = select.epoll()
        self._epoll.register(self._timer.fd, select.EPOLLIN)
        self._connect()

    def fileno(self) -> int:
        """Readable when `look` has something to say."""
        return self._epoll.fileno()

    def close(self) -> None:
        self._drop()
        self._timer.close()
        self._epoll.close()

    @property
    def alive(self) -> bool:
        return self._socket is not None

    def lost(self) -> bool:
        """Whether it has died since the last `look`."""
        return self._socket is not None and self._is_broken(self._socket)

    def look(self) -> bool:
        """Whether another ovs-vswitchd is there than the last time."""
        self._timer.take()
        if self._socket is not None and not self._is_broken(self._socket):
            return False
        self._drop()
        return self._connect()

    def _is_broken(self, sock: socket.socket) -> bool:
        try:
            return sock.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _connect(self) -> bool:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(1.0)
            sock.connect(str(self._find()))
            sock.setblocking(False)
        except OSError:
            sock.close()
            self._timer.set(AGAIN_MS)
            return False
        self._socket = sock
        self._epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
        return True

    def _drop(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._epoll.unregister(self._socket.fileno())
            self._socket.close()
            self._socket = None
