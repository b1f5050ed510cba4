"""Large answers and many who wait: get_all_records of 10,000 VIFs, and one change told to 1,000 clients in event.from, each against bare
applications on the same sockets in the same process: one that answers as many bytes, one that lets its waiters go.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from bench.harness import Row, at_most, median, paired, percentile
from xenet.client import Client
from xenet.model.change import Draft
from xenet.model.network import Network
from xenet.model.vif import VIF
from xenet.server.http import ASGIApp, Receive, Send
from xenet.server.listeners import Listeners
from xenet.server.main import Server, Settings, allow_files
from xenet.verbs.query import stored_text

VIFS, ROUNDS = 10_000, 8
WAITERS, FANS = 1_000, 5
SMALL = 1_200
LARGE_BOUND, FAN_BOUND = 12.0, 5.0
"""A bare answer of many megabytes is a copy; ours are made of 10,000 records, and a waiter's of a commit, a look and an encoding."""


class Bare:
    """The applications to compare with: `/N` is answered with N bytes at once, `/wait/N` when somebody opens the gate by `/open`."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        *what, size = scope["path"].strip("/").split("/")
        if what == ["wait"]:
            await self.gate.wait()
        if size == "open":
            self.gate.set()
            self.gate = asyncio.Event()
        body = b"x" * (int(size) if size.isdecimal() else 1)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


async def _serve(folder: str) -> None:
    """A server with the VIFs and without hosts, and the bare one: their ports on one line; ends with its standard input."""
    allow_files()
    server = Server(Settings(Path(folder), "127.0.0.1", 0, store="memory", password="bench"))
    await server.start()
    _fill(server)
    bare: ASGIApp = Bare()
    print(server.port, await Listeners(bare).open_tcp("127.0.0.1", 0), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.close()


def _fill(server: Server) -> None:
    draft = Draft(server.store.snapshot())
    network = draft.put(Network(uuid="net", other_config={}))
    for number in range(VIFS):
        mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        qos: dict[str, Any] = {"qos_algorithm_type": "", "qos_algorithm_params": {}}
        uuid = f"00000000-0000-4000-8000-{number:012d}"
        draft.put(VIF(uuid=uuid, device=str(number), network=network.ref, VM=network.ref, MAC=mac, MTU=1500, other_config={}, **qos))
    server.store.commit(draft.change())


@contextmanager
def _served() -> Iterator[tuple[int, int, str]]:
    """The server's port, the bare one's, and the server's socket."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.crowd", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            assert server.stdin
            try:
                port, bare = (int(word) for word in server.stdout.readline().split())
                yield port, bare, str(Path(folder) / "xapi")
            finally:
                server.stdin.close()


async def _ask(port: int, path: str, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    writer.write(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body))
    head = await reader.readuntil(b"\r\n\r\n")
    answer = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
    writer.close()
    return answer


def _call(session: str, method: str, *params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": [session, *params]}).encode()


async def _crowd(port: int, path: str, body: bytes, let_go: Any) -> float:
    """Seconds from the moment that `let_go` begins until all have their answer."""
    waiting = [asyncio.create_task(_ask(port, path, body)) for _ in range(WAITERS)]
    await asyncio.sleep(1.5)
    start = time.perf_counter()
    await let_go()
    await asyncio.gather(*waiting)
    return time.perf_counter() - start


async def _told(port: int, session: str, network: str) -> float:
    """One change, told to all who wait."""
    token = json.loads(await _ask(port, "/jsonrpc", _call(session, "event.from", ["network"], "", 0.0)))["result"]["token"]
    name = _call(session, "network.set_name_label", network, stored_text(time.time()))
    return await _crowd(port, "/jsonrpc", _call(session, "event.from", ["network"], token, 60.0), lambda: _ask(port, "/jsonrpc", name))


async def _let_go(bare: int) -> float:
    return await _crowd(bare, f"/wait/{SMALL}", b"", lambda: _ask(bare, "/open", b""))


def run() -> Iterator[Row]:
    allow_files()
    with _served() as (port, bare, socket_path), Client.connect(socket_path).login() as client:
        session = client.session
        yield from _large(port, bare, session)
        yield from _small(client)
        network = client.call("network.create", {"name_label": "told of", "other_config": {}, "bridge": "brtold"})
        times = [(uvloop.run(_told(port, session, network)), uvloop.run(_let_go(bare))) for _ in range(FANS)]
        ratio = median([ours / theirs for ours, theirs in times])
        yield at_most(f"one change told to {WAITERS:,} waiters, against a gate that opens for as many", ratio, FAN_BOUND, note=f"{FANS} rounds")
        yield Row(f"the last of {WAITERS:,} waiters has heard", median([ours for ours, _ in times]) * 1e3, "ms", note="from the change's call on")


def _large(port: int, bare: int, session: str) -> Iterator[Row]:
    for name, path, body in (
        ("JSON-RPC", "/jsonrpc", _call(session, "VIF.get_all_records")),
        ("XML-RPC", "/", _xml(session).encode()),
    ):
        size = len(uvloop.run(_ask(port, path, body)))
        ratios = paired(partial(_wait_for, port, path, body), partial(_wait_for, bare, f"/{size}", b""), ROUNDS)
        note = f"{size / 1e6:.1f} MB, {ROUNDS} rounds"
        yield at_most(f"get_all_records of {VIFS:,} VIFs by {name}, against as many bare bytes", median(ratios), LARGE_BOUND, note=note)


def _wait_for(port: int, path: str, body: bytes) -> None:
    uvloop.run(_ask(port, path, body))


def _xml(session: str) -> str:
    return f"<methodCall><methodName>VIF.get_all_records</methodName><params><param><value>{session}</value></param></params></methodCall>"


def _small(client: Client) -> Iterator[Row]:
    took = []
    for _ in range(2_000):
        start = time.perf_counter()
        client.call("event.get_current_id")
        took.append(time.perf_counter() - start)
    yield Row("small calls over one kept connection", 1 / median(took), "calls/s", note="by the median; the client is in Python, too")
    yield Row("latency of a small call, 95th percentile", percentile(took, 95) * 1e3, "ms")


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
