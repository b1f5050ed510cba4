"""What both wires share: how a date is written, which characters no answer may hold, and when a body is refused."""

import re
from datetime import UTC, datetime

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot carry, not even escaped (section 2.2): controls, lone surrogates, U+FFFE and U+FFFF."""


MOST_PARTS = 200_000
"""Tags and attributes of an XML call, or brackets and commas of a JSON call. A body of 16 MiB could hold millions, and keep the server from
everybody else for seconds; the largest calls of real clients have hundreds."""


MOST_LEVELS = 64
"""Arrays and structs within each other. The XenAPI needs five."""


class Malformed(ValueError):
    """A body that is no call at all: the client gets HTTP 500, since there is nothing to answer in its own protocol."""


def refuse_many(body: bytes, marks: bytes) -> None:
    """Counts before anything is built of it. Raises Malformed if `body` has more of these bytes than MOST_PARTS, in texts or between them."""
    if len(body) > MOST_PARTS and sum(body.count(mark) for mark in marks) > MOST_PARTS:
        raise Malformed("too many values")


def clean(text: str) -> str:
    """The text with U+FFFD in place of what XML cannot carry.

    Answers are cleaned, not refused: one odd byte in a device's alias must not take a whole get_all_records away.
    """
    return FORBIDDEN.sub("\ufffd", text)


def format_datetime(moment: datetime) -> str:
    """`20260101T00:00:00Z`, whole seconds, UTC: the only form that every client reads (Xen Orchestra takes no dashes)."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H:%M:%SZ")


def parse_datetime(text: str) -> datetime:
    """The moment that an ISO 8601 text names; UTC where it names no zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
