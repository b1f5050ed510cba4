"""The HTTP side of the API, as one ASGI application: bodies to calls, values and refusals to answers.

POST /jsonrpc is JSON-RPC, POST on any other path XML-RPC (npm's client posts to /xmlrpc), GET serves the files of a
web page where there is one. Content types stand bare: npm's client compares them letter by letter, so a
charset makes it fall back to another protocol. Refusals are HTTP 200, only a body that is no call gets 500,
as XenServer does. Nothing here knows sessions, classes or messages: that is `dispatch`'s.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from email.utils import formatdate
from html import escape
from pathlib import Path
from typing import Any

import msgspec

from xenet.model.errors import Failure, internal
from xenet.server.static import find_file, media_type
from xenet.wire import jsonrpc, xmlrpc
from xenet.wire.text import Malformed

log = logging.getLogger(__name__)

BODY_LIMIT = 16 * 2**20
"""Bytes of a request's body."""
BARE = frozenset({"system.listMethods"})
"""Answered in XML-RPC without Status and Value, as in XenServer."""
LONG_POLLS = frozenset({"event.from", "event.next", "event_from", "event_next"})
"""What only waits: cancelled when its client goes away. Every other call is carried to its end, as in XenServer."""


class Origin(msgspec.Struct, frozen=True):
    """Where a call came from. `local` is the Unix socket, whose reader is root; `address` is empty there."""

    local: bool
    address: str = ""


class Reply(msgspec.Struct, frozen=True):
    status: int
    media: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Codec(msgspec.Struct, frozen=True):
    """A protocol: how a body is read and, for the call that was in it, the answer written."""

    media: bytes
    decode: Callable[[bytes], Any]
    success: Callable[[Any, Any], bytes]
    failure: Callable[[Any, Sequence[str]], bytes]
    fault: Callable[[Any, int, str], bytes]


XML = Codec(
    b"text/xml",
    xmlrpc.decode_call,
    lambda call, value: xmlrpc.encode_bare(value) if call.method in BARE else xmlrpc.encode_success(value),
    lambda call, description: xmlrpc.encode_failure(description),
    lambda call, code, text: xmlrpc.encode_fault(code, text),
)
JSON = Codec(
    b"application/json",
    jsonrpc.decode_call,
    jsonrpc.encode_success,
    jsonrpc.encode_failure,
    lambda call, code, text: jsonrpc.encode_failure(call, [text]),
)


class Gone(Exception):
    """Nobody is left to answer: the client went away, or the server is about to."""


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Dispatch = Callable[[str, list[Any], Origin], Awaitable[Any]]
"""Method, parameters and origin in, a plain value out. Raises Failure for a refusal, xmlrpc.Fault where XenServer sends a fault."""


Missed = Callable[[str, str], Awaitable[None]]
"""Hears the path and query of a GET that found nothing."""


async def _ignore(path: str, query: str) -> None:
    pass


def make_app(dispatch: Dispatch, *, www: Path | None = None, body_limit: int = BODY_LIMIT, missed: Missed = _ignore) -> ASGIApp:
    """The application. `www` is the folder that GET serves; `body_limit` is in bytes, above it comes 413.

    Which socket a call came by is read in the scope's state: `local` true marks the Unix socket's (see `listeners`).
    """
    root = www.resolve() if www else None

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            reply = await _answer(scope, receive, dispatch, body_limit) if scope["method"] == "POST" else await _other(scope, root, missed)
        except Gone:
            return
        await send({"type": "http.response.start", "status": reply.status, "headers": _headers(reply)})
        await send({"type": "http.response.body", "body": reply.body if scope["method"] != "HEAD" else b""})

    return app


def _headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", reply.media), (b"content-length", b"%d" % len(reply.body)), _ANY_ORIGIN, _date.header(), *reply.headers]


async def _other(scope: MutableMapping[str, Any], root: Path | None, missed: Missed) -> Reply:
    match scope["method"]:
        case "OPTIONS":
            return _OPTIONS
        case "GET" | "HEAD":
            reply = await asyncio.to_thread(_file, root, scope["path"])
            if reply.status == 404:
                await missed(scope["path"], scope["query_string"].decode("latin-1"))
            return reply
        case _:
            return Reply(405, b"text/html", _page("Method Not Allowed", ""), ((b"allow", b"GET, HEAD, OPTIONS, POST"),))


async def _answer(scope: MutableMapping[str, Any], receive: Receive, dispatch: Dispatch, limit: int) -> Reply:
    message = await receive()
    body = await _whole_body(message, scope, receive, limit) if message.get("more_body") else message.get("body", b"")
    if body is None or len(body) > limit:
        return _TOO_LARGE
    codec = JSON if scope["path"].startswith("/jsonrpc") else XML
    try:
        call = codec.decode(body)
    except Malformed as fault:
        why = str(fault)[:200]  # it may quote what was sent
        log.info("refused a body that is no call: %s", why)
        return Reply(500, b"text/html", _page("Internal Server Error", why))
    client = scope["client"]
    origin = Origin(scope.get("state", _NOT_LOCAL).get("local", False), client[0] if client else "")
    work = dispatch(call.method, call.params, origin)
    if call.method in LONG_POLLS:
        work = _while_connected(work, receive)
    return Reply(200, codec.media, await _encoded(codec, call, work))


async def _whole_body(message: Message, scope: MutableMapping[str, Any], receive: Receive, limit: int) -> bytes | None:
    """A body that comes in pieces; None where it is larger than the limit, known by its declared length before all of it is read."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if int(declared) > limit:
        return None
    body: bytes = message["body"]
    while message.get("more_body") and len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise Gone
    return body


async def _encoded(codec: Codec, call: Any, work: Awaitable[Any]) -> bytes:
    try:
        return codec.success(call, await work)
    except Failure as failure:
        return codec.failure(call, failure.description)
    except xmlrpc.Fault as fault:
        return codec.fault(call, fault.code, fault.text)
    except Gone:
        raise
    except asyncio.CancelledError:  # the server stops, and this call outlived its grace
        log.warning("%s was cut off", call.method)
        raise Gone from None
    except Exception as error:
        log.exception("%s failed unexpectedly", call.method)
        return codec.failure(call, internal(f"{type(error).__name__}: {error}").description)


async def _while_connected(work: Awaitable[Any], receive: Receive) -> Any:
    """What `work` gives, unless the client leaves first: then it is cancelled, and Gone is raised after its clean-up."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.wait({task, gone})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _file(root: Path | None, path: str) -> Reply:
    found = find_file(root, path) if root else None
    if found is None:
        return Reply(404, b"text/html", _page("Not Found", ""))
    return Reply(200, media_type(found), found.read_bytes())


def _page(title: str, text: str) -> bytes:
    return f"<html><body><h1>{title}</h1>{escape(text)}</body></html>".encode()


_NOT_LOCAL: dict[str, bool] = {}
_TOO_LARGE = Reply(413, b"text/html", _page("Content Too Large", ""), ((b"connection", b"close"),))
_OPTIONS = Reply(
    200,
    b"text/plain",
    b"",
    (
        (b"access-control-allow-methods", b"GET, HEAD, OPTIONS, POST"),
        (b"access-control-allow-headers", b"Content-Type, X-Requested-With"),
        (b"access-control-max-age", b"86400"),
    ),
)


class _Date:
    """The Date header, made anew once a second."""

    second = 0
    made = (b"date", b"")

    def header(self) -> tuple[bytes, bytes]:
        if (second := int(time.time())) != self.second:
            self.second, self.made = second, (b"date", formatdate(second, usegmt=True).encode())
        return self.made


_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_date = _Date()
