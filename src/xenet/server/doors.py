"""The doors that hosts open for the API: listening sockets on their management addresses, handed over by their agents."""

import asyncio
import json
import logging
import socket
from pathlib import Path

from xenet.server.listeners import Listeners

log = logging.getLogger("xenet.server")
MESSAGE_LIMIT = 4096


class Doors:
    """Takes in sockets at a Unix socket of its own; each host has one door at a time."""

    def __init__(self, listeners: Listeners, *, tls: bool) -> None:
        self._listeners = listeners
        self._tls = tls
        self._server: socket.socket | None = None
        self._open: dict[str, asyncio.AbstractServer] = {}
        self._taking: set[asyncio.Task[None]] = set()

    def listen(self, path: Path) -> None:
        """Wait for agents at a socket that only this user may open."""
        path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._server.bind(str(path))
        path.chmod(0o600)
        self._server.listen()
        asyncio.get_running_loop().add_reader(self._server.fileno(), self._accept)

    def close(self) -> None:
        """No more doors are taken in; the listeners close those that are open."""
        if self._server is not None:
            asyncio.get_running_loop().remove_reader(self._server.fileno())
            self._server.close()
        for task in self._taking:
            task.cancel()

    def _accept(self) -> None:
        assert self._server is not None
        way, _ = self._server.accept()
        task = asyncio.create_task(self._take(way))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _take(self, way: socket.socket) -> None:
        """The message was sent before the connection was closed, so it is there or about to be."""
        try:
            with way:
                way.settimeout(1.0)
                body, fds, _, _ = await asyncio.to_thread(socket.recv_fds, way, MESSAGE_LIMIT, 1)
            await self._change(str(json.loads(body)["host"]), [socket.socket(fileno=fd) for fd in fds])
        except (ValueError, KeyError, OSError) as error:
            log.warning("a door that cannot be opened: %s", error)

    async def _change(self, host: str, doors: list[socket.socket]) -> None:
        """The new one opens before the old one closes."""
        before = self._open.pop(host, None)
        for door in doors:
            door.setblocking(False)
            self._open[host] = await self._listeners.open_socket(door, tls=self._tls)
        if before is not None:
            before.close()
