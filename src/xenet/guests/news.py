"""The news of QEMU guests: a second monitor of each, on which an agent does nothing but listen. Its end is the guest's end."""

import json
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from xenet.guests.qmp import connected


class _Line:
    """What comes from one guest."""

    def __init__(self, vm: str, sock: socket.socket) -> None:
        self.vm = vm
        self.socket = sock
        self._buffer = b""

    def news(self) -> tuple[list[dict[str, Any]], bool]:
        """What has come, and whether there may come more."""
        lives = True
        try:
            while data := self.socket.recv(65536):
                self._buffer += data
            lives = False
        except BlockingIOError:
            pass
        except OSError:
            lives = False
        *lines, self._buffer = self._buffer.split(b"\n")
        return [json.loads(line) for line in lines], lives


class News:
    """Of all the guests of a host."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._lines: dict[int, _Line] = {}
        self.stopped: dict[str, int] = {}
        """When each last stood still, in nanoseconds of time.time_ns, by VM uuid."""
        self.resumed: set[str] = set()
        """Those that went on since, where this was heard."""

    def fileno(self) -> int:
        return self._poll.fileno()

    def close(self) -> None:
        """Listen to none any more."""
        for line in self._lines.values():
            line.socket.close()
        self._lines.clear()
        self._poll.close()

    def listen(self, vm: str, path: Path) -> None:
        """Also where it is listened to already. What cannot be heard has ended, or is about to: then there is nothing to hear."""
        if self.hears(vm):
            return
        with suppress(OSError):
            sock = connected(path)
            sock.sendall(b'{"execute": "qmp_capabilities"}\n')
            sock.setblocking(False)
            self._lines[sock.fileno()] = _Line(vm, sock)
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def hears(self, vm: str) -> bool:
        """Whether more may be heard of it."""
        return any(line.vm == vm for line in self._lines.values())

    def refresh(self) -> set[str]:
        """The VMs of which there are news, or that have ended."""
        return {vm for fd, _ in self._poll.poll(0) for vm in self._take(fd)}

    def _take(self, fd: int) -> Iterator[str]:
        line = self._lines[fd]
        said, lives = line.news()
        for event in said:
            if event.get("event") == "RESUME":
                self.resumed.add(line.vm)
            if event.get("event") == "STOP":
                self.resumed.discard(line.vm)
                self.stopped[line.vm] = event["timestamp"]["seconds"] * 1_000_000_000 + event["timestamp"]["microseconds"] * 1000
        if not lives:
            self._poll.unregister(fd)
            self._lines.pop(fd).socket.close()
            self.resumed.discard(line.vm)
        if not lives or any("event" in event for event in said):
            yield line.vm
