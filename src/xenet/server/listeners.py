"""The sockets on which the API is served, and uvicorn's HTTP protocol on top of them.

uvicorn's own Server is left out: it installs signal handlers, ends the process on a failure, and wakes up ten times
a second for each listener, while a pool in a lab listens on every host's address. Its protocol class does all
that is needed. Sockets are made here or brought by the caller, who may have bound them in another namespace.
"""

import asyncio
import errno
import os
import socket
import ssl
import stat
from contextlib import suppress
from pathlib import Path

from uvicorn.config import Config
from uvicorn.server import ServerState

from xenet.server.http import ASGIApp
from xenet.server.patience import PatientProtocol

KEEP_ALIVE = 300
"""Seconds for which an idle connection stays open: npm's client polls events every minute and reuses its connections."""
BACKLOG = 1024
GRACE = 5.0
"""Seconds that calls in progress have to end when the server stops."""
_LAST = 1.0
"""Seconds for calls to notice that their client was cut off."""


class Listeners:
    """All sockets of one application. `tls` is what its TLS sockets present; use it within one event loop."""

    def __init__(self, app: ASGIApp, tls: ssl.SSLContext | None = None) -> None:
        self._config = Config(
            app,
            interface="asgi3",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # or anybody could claim another address
            server_header=False,
            date_header=False,  # uvicorn's comes from the Server that is left out; the application sends its own
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._config.load()
        self._tls = tls
        self._state = ServerState()
        self._servers: list[asyncio.AbstractServer] = []
        self._paths: dict[Path, int] = {}

    async def open_tcp(self, host: str, port: int, tls: bool = False) -> int:
        """Listen on the first address that `host` stands for; gives the port (of the system's choice where `port` is 0). Raises OSError."""
        loop = asyncio.get_running_loop()
        family, kind, protocol, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it (tcp(7))
            sock.bind(address)
            await self.open_socket(sock, tls=tls)
        except OSError as error:
            sock.close()
            raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error
        except BaseException:
            sock.close()
            raise
        return int(sock.getsockname()[1])

    async def open_unix(self, path: Path) -> None:
        """Listen on a Unix socket that only root may use. A socket that no server listens on is replaced; a live server's
        raises OSError (EADDRINUSE), a file that is no socket FileExistsError."""
        _check_free(path)
        sock = _bind_unix(path)
        try:
            self._paths[path] = path.stat().st_ino
            await self.open_socket(sock, local=True)
        except BaseException:
            sock.close()
            raise

    async def open_socket(self, sock: socket.socket, *, tls: bool = False, local: bool = False) -> asyncio.AbstractServer:
        """Listen on a bound stream socket, which is now ours; `local` marks its calls as root's own. Close what is given
        back to end this listener alone."""
        if tls and self._tls is None:
            raise ValueError("no certificate was given for TLS")
        loop = asyncio.get_running_loop()
        context = self._tls if tls else None
        make = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server

        def protocol() -> asyncio.Protocol:
            return PatientProtocol(self._config, self._state, {"local": local}, _loop=loop)

        server = await make(protocol, sock=sock, ssl=context, backlog=BACKLOG)
        self._servers.append(server)
        return server

    async def close(self, grace: float = GRACE) -> None:
        """Take no more connections, let calls in progress end within `grace` seconds, then cut the rest off.

        Wake those who wait for events first, or they take all of the grace.
        """
        for server in self._servers:
            server.close()
        self._unlink()
        for connection in list(self._state.connections):
            connection.shutdown()
        await self._finish(grace)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await self._finish(_LAST)
        for task in self._state.tasks:
            task.cancel()
        await self._finish(_LAST)

    async def _finish(self, seconds: float) -> None:
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=seconds)

    def _unlink(self) -> None:
        for path, inode in self._paths.items():
            with suppress(FileNotFoundError):
                if path.stat().st_ino == inode:  # a server that came after us may have put its own there
                    path.unlink()


def _check_free(path: Path) -> None:
    """Raises OSError where something other than a dead server's socket has the path."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "not a socket", str(path))
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
    raise OSError(errno.EADDRINUSE, "another server listens here", str(path))


def _bind_unix(path: Path) -> socket.socket:
    """A listening socket under another name first, so that `path` is never without one that answers, and never open to others:
    Linux gives the file the socket's own mode."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(str(draft))
        sock.listen(BACKLOG)
        draft.rename(path)
    except BaseException:
        sock.close()
        draft.unlink(missing_ok=True)
        raise
    return sock
