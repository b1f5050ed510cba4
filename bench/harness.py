"""What every benchmark shares: the row that it yields, and how to measure on a machine that others use too.

Two rules make figures comparable. What is compared is measured in the same run, in turns (`paired`), so that a
slow minute slows both; and beside the figures stands how long the machine itself stood still (`stalls`).
"""

import statistics
import time
from collections.abc import Callable, Sequence

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One figure. `ok` says whether it keeps its bound; None where there is none to keep."""

    name: str
    value: float
    unit: str
    bound: str = ""
    ok: bool | None = None
    note: str = ""


def at_most(name: str, value: float, limit: float, unit: str = "times", note: str = "") -> Row:
    """A row that is ok up to `limit`."""
    return Row(name, value, unit, f"<= {limit:g}", value <= limit, note)


def at_least(name: str, value: float, limit: float, unit: str = "times", note: str = "") -> Row:
    """A row that is ok from `limit` on."""
    return Row(name, value, unit, f">= {limit:g}", value >= limit, note)


def seconds(call: Callable[[], object]) -> float:
    """The wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def paired(a: Callable[[], object], b: Callable[[], object], rounds: int) -> list[float]:
    """How many times as long as `b` does `a` take? One ratio a round, A and B in turns (A B A B ...) after a round that warms up."""
    a(), b()
    return [seconds(a) / seconds(b) for _ in range(rounds)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that at least `percent` of a hundred of them do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


def stalls(duration: float = 0.5) -> float:
    """The longest gap, in seconds, between two rounds of a loop that does nothing else for `duration` seconds: the machine's own doing."""
    longest, last = 0.0, time.perf_counter()
    end = last + duration
    while last < end:
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest
