"""JSON-RPC 1.0 and 2.0: each call is answered in the version that it was written in.

Refusals have the integer code 1, XenServer's own: its npm client demands an integer there and a list in `data`.
Integers are numbers, dates text without dashes, and null appears nowhere but in version 1's `error` and
`result`, where its specification wants it. Batches and notifications are refused, as by XenServer.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, NoReturn

import msgspec

from xenet.wire.text import MOST_LEVELS, Malformed, refuse_many
from xenet.wire.values import plain

FAILURE_CODE = 1


class JSONCall(NamedTuple):
    """A call as it came. `id` is given back as it is, 0 and "" too."""

    method: str
    params: list[Any]
    id: str | int | float
    version: Literal[1, 2]


class _Request(msgspec.Struct):
    method: str
    params: list[Any] = []
    id: str | int | float | None = None
    jsonrpc: Literal["1.0", "2.0"] = "1.0"


_DECODER = msgspec.json.Decoder(_Request)
_ENCODE = msgspec.json.Encoder().encode


def decode_call(body: bytes) -> JSONCall:
    """The call that `body` holds. Raises Malformed for anything else, a batch or a notification among it."""
    refuse_many(body, b"[{,")
    try:
        request = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        request = _decode_odd_text(body, str(error))
    if not request.method:
        raise Malformed("method is empty")
    if _levels(request.params) > MOST_LEVELS:
        raise Malformed("values too deeply within each other")
    if request.id is None:
        raise Malformed("a call without id cannot be answered")
    return JSONCall(request.method, request.params, request.id, 2 if request.jsonrpc == "2.0" else 1)


def _levels(params: list[Any]) -> int:
    """How many arrays and structs stand within each other at the most, level by level; it stops at one too many."""
    levels, inner = 0, params
    while (inner := [value for value in inner if isinstance(value, list | dict)]) and levels <= MOST_LEVELS:
        levels += 1
        inner = [value for outer in inner for value in (outer.values() if isinstance(outer, dict) else outer)]
    return levels


def _decode_odd_text(body: bytes, fault: str) -> _Request:
    """Text that is not UTF-8 (bytes, or lone surrogates) is a bad value, not a bad body: keep it, so that `values.decode` refuses it by its field.
    Not so the method and the id, which are in the answer."""
    try:
        loose = json.loads(body.decode("utf-8", "surrogateescape"), parse_constant=_refuse)
        request = msgspec.convert(loose, _Request)
        f"{request.method}{request.id}".encode()
        return request
    except (ValueError, RecursionError):
        raise Malformed(f"not a JSON-RPC call: {fault}") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def encode_success(call: JSONCall, value: Any) -> bytes:
    """The result. Raises TypeError for a value that the XenAPI has no type for."""
    if call.version == 2:
        return _ENCODE({"jsonrpc": "2.0", "result": plain(value), "id": call.id})
    return _ENCODE({"result": plain(value), "error": None, "id": call.id})


def encode_failure(call: JSONCall, description: Sequence[str]) -> bytes:
    """The refusal: in version 2 an object of code, message and data, in version 1 the list itself."""
    if call.version == 2:
        error = {"code": FAILURE_CODE, "message": description[0], "data": list(description[1:])}
        return _ENCODE({"jsonrpc": "2.0", "error": error, "id": call.id})
    return _ENCODE({"result": None, "error": list(description), "id": call.id})
