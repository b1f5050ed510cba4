"""What both wires share: how a date is written, which characters no answer may hold, and the refusal of a body."""

import re
from datetime import UTC, datetime

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot carry, not even escaped (section 2.2): controls, lone surrogates, U+FFFE and U+FFFF."""


class Malformed(ValueError):
    """A body that is no call at all: the client gets HTTP 500, since there is nothing to answer in its own protocol."""


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
