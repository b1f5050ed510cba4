"""A toy dispatch behind the real listeners, in a thread of its own with uvloop, for clients that block."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from xenet.model.errors import Failure
from xenet.server.http import Origin, make_app
from xenet.server.listeners import Listeners
from xenet.server.tls import server_context
from xenet.wire.xmlrpc import Fault

SESSION = "OpaqueRef:5e551011"
RECORD = {
    "name_label": "",
    "MTU": 1500,
    "managed": True,
    "io_read_kbs": 0.5,
    "created": datetime(2026, 1, 1, tzinfo=UTC),
    "tags": (),
    "other_config": {"a<b": "c&d"},
    "gateway": None,
}


class Toy:
    """Answers a handful of messages; counts how its waiting calls ended."""

    def __init__(self) -> None:
        self.origins: list[Origin] = []
        self.started = threading.Event()
        self.cancelled = threading.Event()
        self.finished = threading.Event()

    async def dispatch(self, method: str, params: list[Any], origin: Origin) -> Any:
        self.origins.append(origin)
        return await getattr(self, method.replace(".", "_"), self.unknown)(*params)

    async def unknown(self, *params: Any) -> Any:
        raise Failure("MESSAGE_METHOD_UNKNOWN", "it")

    async def system_listMethods(self) -> Any:
        return ["network.get_record", "system.listMethods"]

    async def session_login_with_password(self, user: str, *rest: str) -> Any:
        if user != "root":
            raise Failure("SESSION_AUTHENTICATION_FAILED", user, "wrong")
        return SESSION

    async def session_logout(self, session: str) -> Any:
        return None

    async def network_get_record(self, session: str, ref: str) -> Any:
        return RECORD

    async def network_create(self, session: str, record: Any) -> Any:
        return record

    async def pool_bug(self, session: str) -> Any:
        raise LookupError("<oops>")

    async def pool_unencodable(self, session: str) -> Any:
        return object()

    async def Async_network_get_record(self, session: str) -> Any:
        raise Fault(1, "no asynchronous form")

    async def event_from(self, session: str, wait: str) -> Any:
        self.started.set()
        try:
            await asyncio.sleep(float(wait))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return {"token": "t"}

    async def VM_migrate(self, session: str) -> Any:
        self.started.set()
        await asyncio.sleep(0.3)
        self.finished.set()


class Service:
    """The addresses of a running toy."""

    def __init__(self, toy: Toy, port: int, tls_port: int, path: Path, run: Callable[[Any], Any], listeners: Listeners) -> None:
        self.toy = toy
        self.port = port
        self.tls_port = tls_port
        self.path = path
        self.run = run
        """Runs a coroutine in the server's loop and waits for it."""
        self.listeners = listeners


@contextmanager
def serve(folder: Path, www: Path | None = None, body_limit: int = 100_000) -> Iterator[Service]:
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    toy = Toy()
    listeners = Listeners(make_app(toy.dispatch, www=www, body_limit=body_limit), server_context(folder))
    try:
        port = run(listeners.open_tcp("127.0.0.1", 0))
        tls_port = run(listeners.open_tcp("127.0.0.1", 0, tls=True))
        path = folder / "api"
        run(listeners.open_unix(path))
        yield Service(toy, port, tls_port, path, run, listeners)
    finally:
        run(listeners.close(grace=0))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
