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
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

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
LONG_POLLS = frozenset({"event.from", "event.next"})
"""What only waits: cancelled when its client goes away. Every other call is carried to its end, as in XenServer."""


class Origin(msgspec.Struct, frozen=True):
    """Where a call came from. `local` is the Unix socket, whose reader is root; `address` is empty there."""

    local: bool
    address: str = ""


class Reply(NamedTuple):
    status: int
    media: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Request(NamedTuple):
    """A decoded call and how its answer is written."""

    method: str
    params: list[Any]
    media: bytes
    success: Callable[[Any], bytes]
    failure: Callable[[Sequence[str]], bytes]
    fault: Callable[[int, str], bytes]


class Gone(Exception):
    """Nobody is left to answer: the client went away, or the server is about to."""


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Dispatch = Callable[[str, list[Any], Origin], Awaitable[Any]]
"""Method, parameters and origin in, a plain value out. Raises Failure for a refusal, xmlrpc.Fault where XenServer sends a fault."""


def make_app(dispatch: Dispatch, *, www: Path | None = None, body_limit: int = BODY_LIMIT) -> ASGIApp:
    """The application. `www` is the folder that GET serves; `body_limit` is in bytes, above it comes 413.

    Which socket a call came by is read in the scope's state: `local` true marks the Unix socket's (see `listeners`).
    """
    root = www.resolve() if www else None

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        with suppress(Gone):
            reply = await _reply(scope, receive, dispatch, root, body_limit)
            await _send(reply, scope["method"] == "HEAD", send)

    return app


async def _reply(scope: MutableMapping[str, Any], receive: Receive, dispatch: Dispatch, root: Path | None, limit: int) -> Reply:
    match scope["method"]:
        case "POST":
            body = await _read_body(scope, receive, limit)
            return _TOO_LARGE if body is None else await _answer(scope, body, receive, dispatch)
        case "OPTIONS":
            return _OPTIONS
        case "GET" | "HEAD":
            return await asyncio.to_thread(_file, root, scope["path"])
        case _:
            return Reply(405, b"text/html", _page("Method Not Allowed", ""), ((b"allow", b"GET, HEAD, OPTIONS, POST"),))


async def _read_body(scope: MutableMapping[str, Any], receive: Receive, limit: int) -> bytes | None:
    """The body; None where it is larger than the limit, known by its declared length before it is read."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if int(declared) > limit:
        return None
    message = await receive()
    body: bytes = message.get("body", b"")
    while message["type"] == "http.request" and message["more_body"] and len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise Gone
    return body if len(body) <= limit else None


async def _answer(scope: MutableMapping[str, Any], body: bytes, receive: Receive, dispatch: Dispatch) -> Reply:
    try:
        request = _decode_json(body) if scope["path"].rstrip("/") == "/jsonrpc" else _decode_xml(body)
    except Malformed as fault:
        log.info("refused a body that is no call: %s", fault)
        return Reply(500, b"text/html", _page("Internal Server Error", str(fault)))
    client = scope["client"]
    origin = Origin(bool(scope.get("state", {}).get("local")), client[0] if client else "")
    return Reply(200, request.media, await _encoded(request, origin, receive, dispatch))


def _decode_xml(body: bytes) -> Request:
    call = xmlrpc.decode_call(body)
    success = xmlrpc.encode_bare if call.method in BARE else xmlrpc.encode_success
    return Request(call.method, call.params, b"text/xml", success, xmlrpc.encode_failure, xmlrpc.encode_fault)


def _decode_json(body: bytes) -> Request:
    call = jsonrpc.decode_call(body)
    success, failure = partial(jsonrpc.encode_success, call), partial(jsonrpc.encode_failure, call)
    return Request(call.method, call.params, b"application/json", success, failure, lambda _, text: failure([text]))


async def _encoded(request: Request, origin: Origin, receive: Receive, dispatch: Dispatch) -> bytes:
    work = dispatch(request.method, request.params, origin)
    try:
        return request.success(await (_while_connected(work, receive) if request.method in LONG_POLLS else work))
    except Failure as failure:
        return request.failure(failure.description)
    except xmlrpc.Fault as fault:
        return request.fault(fault.code, fault.text)
    except Gone:
        raise
    except asyncio.CancelledError:  # the server stops, and this call outlived its grace
        log.warning("%s was cut off", request.method)
        raise Gone from None
    except Exception as error:
        log.exception("%s failed unexpectedly", request.method)
        return request.failure(internal(f"{type(error).__name__}: {error}").description)


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
    """The Date header's value, made anew once a second."""

    second = 0
    text = b""

    def now(self) -> bytes:
        if (second := int(time.time())) != self.second:
            self.second, self.text = second, formatdate(second, usegmt=True).encode()
        return self.text


_date = _Date()


async def _send(reply: Reply, head: bool, send: Send) -> None:
    headers = [
        (b"content-type", reply.media),
        (b"content-length", b"%d" % len(reply.body)),
        (b"access-control-allow-origin", b"*"),
        (b"date", _date.now()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else reply.body})
