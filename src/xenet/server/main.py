"""Starting the server: its store, its listeners, and its orderly end."""

import asyncio
import itertools
import logging
import resource
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from xenet.server import passwords
from xenet.server.bound import end_bound_task
from xenet.server.builtin import Published
from xenet.server.core import Core, foretold
from xenet.server.dispatch import Dispatcher
from xenet.server.doors import Doors
from xenet.server.events import Events
from xenet.server.hosts import Hosts
from xenet.server.http import make_app
from xenet.server.listeners import Listeners
from xenet.server.load import Limits
from xenet.server.sessions import PENALTY, Sessions
from xenet.server.tls import server_context
from xenet.store.base import Store
from xenet.store.memory import MemoryStore
from xenet.store.sqlite import SqliteStore

log = logging.getLogger("xenet.server")
TICK = 1.0
"""Seconds between looks at operations whose time is over."""
EVERYWHERE = ("0.0.0.0", "::")
"""Listening there says nothing of where one is found."""
SWEEP = 60
"""Ticks between looks at sessions and tasks whose time is over."""


class Settings(msgspec.Struct, frozen=True):
    """What a server is started with."""

    state: Path
    host: str
    port: int
    store: str = "sqlite"
    tls: bool = False
    password: str = ""
    www: Path | None = None
    penalty: float = PENALTY
    limits: Limits = Limits()
    log_calls: bool = False
    """Each call in the log, at level info."""
    seed: str = ""
    """Makes refs, uuids and MACs the same at every start; empty: by chance."""


class Server:
    """All that runs in the server's event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store: Store = MemoryStore() if settings.store == "memory" else SqliteStore(settings.state / "xenet.db")
        self.hosts = Hosts(self.store)
        self.core = Core(self.store, self.hosts.ask)
        if settings.seed:
            self.core.chance = foretold(settings.seed, self.store.snapshot().revision)
        self.hosts.core = self.core
        self.sessions = Sessions(self.store, lambda: datetime.now(UTC), settings.penalty, settings.limits)
        self.events = Events(self.store)
        missed = partial(end_bound_task, self.core, self.sessions)
        self.dispatcher = Dispatcher(self.core, self.sessions, self.events, log_calls=settings.log_calls)
        app = make_app(self.dispatcher, www=settings.www, missed=missed)
        self.listeners = Listeners(app, server_context(settings.state, [settings.host]) if settings.tls else None)
        self.doors = Doors(self.listeners, tls=settings.tls)
        self.new_password: str | None = None
        """Root's password, where this start made it by chance."""
        self.port = 0

    async def start(self) -> None:
        """Raises OSError where an address or a socket cannot be had, StoreError."""
        self.new_password = passwords.ensure_root(self.store, self.settings.password or None)
        self.core.start()
        await self.listeners.open_unix(self.settings.state / "xapi")
        self.port = await self.listeners.open_tcp(self.settings.host, self.settings.port, tls=self.settings.tls)
        own = "" if self.settings.host in EVERYWHERE else self.settings.host
        self.dispatcher.published = Published("https" if self.settings.tls else "http", own, self.port)
        self.doors.listen(self.settings.state / "doors")
        self.hosts.port = self.port
        await self.hosts.listen(self.settings.state / "link")

    @property
    def url(self) -> str:
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"{'https' if self.settings.tls else 'http'}://{host}:{self.port}/"

    async def tick(self) -> None:
        """Watch the clock for operations, for ever; now and then for sessions and tasks."""
        for second in itertools.count(1):
            await asyncio.sleep(TICK)
            self.core.expire()
            if second % SWEEP == 0:
                self.sessions.sweep()
                self.core.sweep()

    async def close(self) -> None:
        self.sessions.close()
        self.doors.close()
        await self.listeners.close()
        await self.hosts.close()
        self.store.close()


def allow_files() -> None:
    """As many open files as this user may have: a thousand waiting clients are a thousand sockets, and most systems begin with 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if most == resource.RLIM_INFINITY else min(most, 65_536), most))


async def serve(settings: Settings, ready: Callable[[Server], None]) -> None:
    """Run until SIGTERM or SIGINT; `ready` is called when the server answers."""
    allow_files()
    server = Server(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ticking = asyncio.create_task(server.tick())
    try:
        await server.start()
        ready(server)
        await stop.wait()
    finally:
        ticking.cancel()
        await server.close()
