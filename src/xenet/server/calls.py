"""What was called: the messages that are not there, counted, so that a user's issue names the gap; and a log of all, on demand."""

import logging
import re
import time
from collections.abc import Awaitable
from datetime import datetime
from typing import Any

import msgspec

from xenet.model.errors import Failure
from xenet.server.http import Origin
from xenet.verbs.empty import EMPTY_CLASSES
from xenet.verbs.unimplemented import UNIMPLEMENTED
from xenet.wire.text import format_datetime

log = logging.getLogger("xenet.calls")
_NAME = re.compile(r"[\w.]{1,100}", re.ASCII)
MOST = 1000
"""Names that are kept: anybody may call anything."""


class Seen(msgspec.Struct):
    """How often a message that is not there was called, and when."""

    count: int
    first: datetime
    last: datetime


class Unknown:
    """The messages that were asked for in vain since the server's start."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}

    def note(self, method: str, now: datetime) -> None:
        name = method.removeprefix("Async.")
        if seen := self._seen.get(name):
            seen.count, seen.last = seen.count + 1, now
        elif len(self._seen) < MOST and _NAME.fullmatch(name):
            self._seen[name] = Seen(1, now, now)

    def rows(self) -> list[dict[str, str]]:
        """The most wanted first."""
        found = sorted(self._seen.items(), key=lambda item: (-item[1].count, item[0]))
        return [
            {"message": name, "count": str(seen.count), "first": format_datetime(seen.first), "last": format_datetime(seen.last), "reason": why(name)}
            for name, seen in found
        ]


def why(name: str) -> str:
    cls, _, message = name.partition(".")
    nothing = "no objects of this class here" if cls in EMPTY_CLASSES else "no such message here"
    return UNIMPLEMENTED.get(cls, {}).get(message, nothing)


async def logged(work: Awaitable[Any], method: str, origin: Origin) -> Any:
    """A call's result; the log has its message, how it ended and how long it took, but no parameter: they may be secrets."""
    began, ended = time.perf_counter(), "ok"
    try:
        return await work
    except Failure as failure:
        ended = failure.code
        raise
    except BaseException as error:
        ended = type(error).__name__
        raise
    finally:
        log.info("%s %s %s %.1f ms", origin.address or "local", _in_one_line(method), ended, (time.perf_counter() - began) * 1e3)


def _in_one_line(method: str) -> str:
    """The client may have sent any text: what is no name is quoted, and cut off."""
    return method if _NAME.fullmatch(method) else ascii(method[:100])
