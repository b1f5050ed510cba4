"""QMP, QEMU's monitor protocol: a JSON object a line over a Unix socket. One connection for each errand: an agent that was killed leaves
none half-done, and QEMU takes one client at a time. Synchronous, with a bound, as all that is asked of guests is; PyPI's qemu.qmp is made
for asyncio. Source: QEMU's docs/interop/qmp-spec.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from xenet.guests.base import GuestError

WITHIN = 3.0
"""Seconds in which QEMU answers: its main loop may be busy with a copy."""


@contextmanager
def short(path: Path) -> Iterator[str]:
    """The same file by a path that fits a socket's address, which has 107 bytes (unix(7)). Raises OSError."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connected(path: Path, within: float = WITHIN) -> socket.socket:
    """Raises OSError."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(within)
        with short(path) as name:
            sock.connect(name)
    except OSError:
        sock.close()
        raise
    return sock


class QMP:
    """A connection that is ready for commands; for use in a `with`."""

    def __init__(self, path: Path) -> None:
        """Raises GuestError."""
        self._buffer = b""
        self._events: list[dict[str, Any]] = []
        try:
            self._socket = connected(path)
        except OSError as error:
            raise GuestError(f"QEMU's monitor cannot be reached: {error.strerror or error}") from error
        try:
            self._next(time.monotonic() + WITHIN)
            self.run("qmp_capabilities")
        except GuestError:
            self._socket.close()
            raise

    def run(self, command: str, fd: int | None = None, **arguments: Any) -> Any:
        """What the command returns; `fd` goes with it. Names with hyphens are written with underscores. Raises GuestError."""
        asked = {"execute": command, "arguments": {name.replace("_", "-"): value for name, value in arguments.items()}}
        try:
            socket.send_fds(self._socket, [json.dumps(asked).encode() + b"\n"], [] if fd is None else [fd])
        except OSError as error:
            raise GuestError(f"QEMU is gone: {error}") from error
        until = time.monotonic() + WITHIN
        while True:
            said = self._next(until)
            if "error" in said:
                raise GuestError(f"QEMU: {said['error']['desc']}")
            if "return" in said:
                return said["return"]
            self._events.append(said)

    def wait_for(self, event: str, within: float, **data: str) -> bool:
        """Whether such an event comes within so many seconds, or has come on this connection."""
        until = time.monotonic() + within
        with suppress(GuestError):
            while True:
                for said in self._events:
                    if said.get("event") == event and data.items() <= said.get("data", {}).items():
                        return True
                self._events = [self._next(until)]
        return False

    def _next(self, until: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            try:
                self._socket.settimeout(max(until - time.monotonic(), 0.001))
                data = self._socket.recv(65536)
            except OSError as error:
                raise GuestError("QEMU does not answer") from error
            if not data:
                raise GuestError("QEMU has ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def __enter__(self) -> "QMP":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()
