"""Network namespaces for tests: make one, run code in it, be sure that it is gone afterwards.

A `Namespace` is a thread that has left the process's network namespace for a new one of its own, and stays. `ns(function, *args)`
runs the function on that thread, so every socket it opens and every command it starts lives in the namespace, while objects, results
and exceptions pass as in any call. There is no name and no mount: when the thread ends and the descriptor is closed the kernel
takes the namespace and its devices away, whatever happened to the test.
"""

import ctypes
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _leave() -> int:
    if _libc.unshare(CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"unshare(CLONE_NEWNET): {os.strerror(code)}")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """A network namespace with a thread in it; lo is up. `fd` refers to it for setns and IFLA_NET_NS_FD."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        try:
            self.fd = self(_leave)
        except OSError:
            self._thread.shutdown()
            raise
        self.ip("link", "set", "lo", "up")

    def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run in the namespace and wait for the result."""
        return self._thread.submit(function, *args, **kwargs).result()

    def command(self, *argv: str) -> str:
        """Run a command in the namespace; its output. Raises AssertionError with its error text when it fails."""
        done = self(subprocess.run, argv, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr.strip()}"
        return done.stdout

    def ip(self, *argv: str) -> str:
        return self.command("ip", *argv)

    def dup(self) -> int:
        """A descriptor of the namespace for someone who will close it."""
        return os.dup(self.fd)

    def close(self) -> None:
        self._thread.shutdown()
        os.close(self.fd)


@contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """So many namespaces, gone at the end of the block."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(Namespace())
            stack.callback(made[-1].close)
        yield made


def cable(a: Namespace, name_a: str, b: Namespace, name_b: str) -> None:
    """A veth pair from one namespace to another, both ends up."""
    a.ip("link", "add", name_a, "type", "veth", "peer", "name", name_b, "netns", f"/proc/{os.getpid()}/fd/{b.fd}")
    a.ip("link", "set", name_a, "up")
    b.ip("link", "set", name_b, "up")


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _is_reply(packet: bytes) -> bool:
    return packet[20] == 0 and packet[24:26] == b"\x7e\x47"


def _echo(target: str, wait: float) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(0.1)
        end, number = time.monotonic() + wait, 0
        while time.monotonic() < end:
            number += 1
            body = struct.pack("!BBHHH", 8, 0, 0, 0x7E47, number) + b"xenet-ping"
            try:
                sock.connect((target, 0))
                sock.send(body[:2] + struct.pack("!H", _checksum(body)) + body[4:])
                if _is_reply(sock.recv(2048)):
                    return True
            except OSError:  # no answer yet, or no route or neighbour yet
                time.sleep(0.02)
    return False


def ping(source: Callable[..., bool], target: str, wait: float = 5.0) -> bool:
    """Whether an echo request from this namespace (what runs a function there) is answered within so many seconds (asked again every 0.1 s)."""
    return source(_echo, target, wait)
