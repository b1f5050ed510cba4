"""What codecs and HTTP cost: a small call over keep-alive, against an application on the same sockets that reads the
body and answers fixed bytes of the same length. Both are served by one other process and asked in turns.

The whole server's bound for a getter is 1.5 times that echo; 1.3 here leaves the rest to sessions and dispatch.
"""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any
from xmlrpc.client import dumps

import uvloop

from bench.harness import Row, at_most, median, paired, seconds
from xenet.server.http import ASGIApp, Origin, Receive, Send, make_app
from xenet.server.listeners import Listeners
from xenet.wire import jsonrpc, xmlrpc

BOUND = 1.3
CALLS, ROUNDS = 50, 60
RECORDS, REPEATS = 1000, 15
PARAMS = ("OpaqueRef:5d4f3a0e-7a3c-4d0c-9a52-0e5f2f7c1a11", "OpaqueRef:0b6f6f0e-1111-4c9c-8a52-2e5f2f7c1a12")
MAC = "fe:4c:0f:30:75:c6"
OWN = jsonrpc.JSONCall("VIF.get_MAC", [], 0, 2)
KINDS = {
    "XML-RPC": ("/RPC2", dumps(PARAMS, OWN.method).encode(), b"text/xml", xmlrpc.encode_success(MAC)),
    "JSON-RPC": (
        "/jsonrpc",
        json.dumps({"jsonrpc": "2.0", "method": OWN.method, "params": PARAMS, "id": OWN.id}).encode(),
        b"application/json",
        jsonrpc.encode_success(OWN, MAC),
    ),
}


async def _getter(method: str, params: list[Any], origin: Origin) -> str:
    return MAC


def _echo(media: bytes, answer: bytes) -> ASGIApp:
    headers = [(b"content-type", media), (b"content-length", b"%d" % len(answer))]

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


def echo_apps() -> list[ASGIApp]:
    """An echo of each kind."""
    return [_echo(media, answer) for _, _, media, answer in KINDS.values()]


async def _serve() -> None:
    """Ports of the API and of each kind's echo, on one line; ends with its standard input."""
    apps = [make_app(_getter), *echo_apps()]
    print(*[await Listeners(app).open_tcp("127.0.0.1", 0) for app in apps], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def served() -> Iterator[list[int]]:
    command = [sys.executable, "-m", "bench.wire"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stdin
        try:
            yield [int(port) for port in server.stdout.readline().split()]
        finally:
            server.stdin.close()


class Caller:
    """One connection; a call of it sends CALLS requests, each with one write, and reads each answer."""

    def __init__(self, port: int, path: str, body: bytes, answer: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: x/x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        self.answer = answer

    def __call__(self) -> None:
        for _ in range(CALLS):
            self.sock.sendall(self.request)
            got = b""
            while not got.endswith(self.answer):
                piece = self.sock.recv(65536)
                if not piece:
                    raise ConnectionError(f"the server broke off after {got!r}")
                got += piece


def run() -> Iterator[Row]:
    with served() as (port, *echoes):
        for echo, (name, (path, body, _, answer)) in zip(echoes, KINDS.items(), strict=True):
            ours, bare = Caller(port, path, body, answer), Caller(echo, path, body, answer)
            with ours.sock, bare.sock:
                ratio = median(paired(ours, bare, ROUNDS))
                each = median([seconds(bare) for _ in range(ROUNDS)]) / CALLS * 1e6
            yield at_most(f"a getter's call by {name}, against an echo", ratio, BOUND, note=f"median of {ROUNDS} rounds of {CALLS} calls")
            yield Row(f"an echo of {name}'s length", each, "us")
    yield from _large()


def _large() -> Iterator[Row]:
    record = {f"field_{number}": f"value {number}" for number in range(24)} | {"other_config": {"a": "b"}, "MTU": 1500, "tags": ("x",)}
    table = {f"OpaqueRef:{number:036}": record for number in range(RECORDS)}
    for name, encode in (("XML-RPC", lambda: xmlrpc.encode_success(table)), ("JSON-RPC", lambda: jsonrpc.encode_success(OWN, table))):
        encode()
        yield Row(f"{RECORDS} records of 27 fields written as {name}", median([seconds(encode) for _ in range(REPEATS)]) * 1e3, "ms")


if __name__ == "__main__":
    uvloop.run(_serve())
