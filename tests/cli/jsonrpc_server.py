"""A JSON-RPC server for tests: it answers from a function, over TCP or a Unix socket, and keeps what it was asked."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from xenet.model.errors import Failure

Answer = Callable[[str, list[Any]], Any]


@dataclass
class Recorder:
    """What a test server was asked: calls as (method, params), the number of connections, the reads that a request took."""

    address: str
    calls: list[tuple[str, list[Any]]] = field(default_factory=list)
    connections: int = 0
    framing: str = "length"
    """How answers end: length, chunked, close, or any raw text to send instead of an answer."""


def _reply(answer: Answer, request: dict[str, Any]) -> bytes:
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
    try:
        body["result"] = answer(request["method"], request["params"])
    except Failure as failure:
        body["error"] = {"code": 1, "message": failure.code, "data": list(failure.params)}
    return json.dumps(body).encode()


def _framed(body: bytes, framing: str) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    match framing:
        case "length":
            return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        case "chunked":
            halves = body[:7], body[7:]
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(h), h) for h in halves) + b"0\r\n\r\n"
        case "close":
            return head + b"Connection: close\r\n\r\n" + body
        case raw:
            return raw.encode()


def _converse(connection: socket.socket, answer: Answer, recorder: Recorder) -> None:
    with connection, connection.makefile("rb") as stream:
        while stream.readline().startswith(b"POST /jsonrpc"):
            length = 0
            while (line := stream.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            request = json.loads(stream.read(length))
            recorder.calls.append((request["method"], request["params"]))
            connection.sendall(_framed(_reply(answer, request), recorder.framing))
            if recorder.framing not in ("length", "chunked"):
                return


@contextmanager
def serving(answer: Answer, unix_path: str = "") -> Iterator[Recorder]:
    """A server on a free port of 127.0.0.1, or on a Unix socket; gone when the block ends."""
    listener = socket.socket(socket.AF_UNIX if unix_path else socket.AF_INET)
    listener.bind(unix_path or ("127.0.0.1", 0))
    listener.listen()
    recorder = Recorder(unix_path or f"http://127.0.0.1:{listener.getsockname()[1]}")
    threads = [threading.Thread(target=_accept, args=(listener, answer, recorder), daemon=True)]
    threads[0].start()
    try:
        yield recorder
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        threads[0].join(10)


def _accept(listener: socket.socket, answer: Answer, recorder: Recorder) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        recorder.connections += 1
        threading.Thread(target=_converse, args=(connection, answer, recorder), daemon=True).start()
