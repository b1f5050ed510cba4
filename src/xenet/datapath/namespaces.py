"""Guests' network namespaces: the one place of the datapath that enters another namespace, for the time it takes to open a socket; and
one that nobody else is in, to try something out."""

import ctypes
import os
import resource
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from xenet.datapath.base import SocketIn
from xenet.datapath.netlink import Socket

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _enter(netns: int) -> None:
    if _libc.setns(netns, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


def _return(home: int) -> None:
    try:
        _enter(home)
    except OSError as error:
        raise RuntimeError(f"caught in a guest's network namespace: {error}") from error


def netlink_in(netns: int) -> Socket:
    """A rtnetlink socket in the network namespace of this descriptor. Raises what `opened_in` raises."""
    return opened_in(netns, Socket)


def packets_in(netns: int) -> tuple[socket.socket, Socket]:
    """A socket there that sends frames as they are and hears none, and a rtnetlink socket. Raises what `opened_in` raises."""
    return opened_in(netns, lambda: (socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0), Socket()))


def opened_in(netns: int, opening: Callable[[], T]) -> T:
    """What is opened in the network namespace of this descriptor; the calling thread is back in its own afterwards.

    Raises OSError; RuntimeError when the way back is barred: nothing may be done then, it would be done to the guest.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(netns)
        try:
            return opening()
        finally:
            _return(home)
    finally:
        os.close(home)


def in_scratch(function: Callable[[], T]) -> T:
    """Run a function in a new network namespace, by a thread of its own; nothing of it is left. Raises OSError and what the function raises."""

    def run() -> T:
        if _libc.unshare(_CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, f"unshare: {os.strerror(code)}")
        return function()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


class Guests:
    """What one batch opens of guests: a descriptor and a socket each, once, closed with the batch."""

    def __init__(self, netns_of: SocketIn) -> None:
        self._netns_of = netns_of
        self._netns: dict[str, int | None] = {}
        self._sockets: dict[str, Socket] = {}
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4

    def netns(self, vm: str) -> int | None:
        """The guest's namespace, None when it does not run."""
        if vm not in self._netns:
            self._netns[vm] = self._netns_of(vm)
        return self._netns[vm]

    def socket(self, vm: str) -> Socket | None:
        """A socket in the guest's namespace, None when it does not run. Raises OSError."""
        found = self._sockets.get(vm)
        if found is None and (netns := self.netns(vm)) is not None:
            found = self._sockets[vm] = netlink_in(netns)
        return found

    def trim(self) -> None:
        """Close all when they take a good part of the descriptors that a process may have; what is asked for again opens again."""
        if len(self._netns) + len(self._sockets) > self._most:
            self.close()

    def close(self) -> None:
        for opened in self._sockets.values():
            opened.close()
        for netns in self._netns.values():
            if netns is not None:
                os.close(netns)
        self._sockets.clear()
        self._netns.clear()

    def __enter__(self) -> "Guests":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
