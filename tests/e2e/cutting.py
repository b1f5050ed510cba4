"""Cables cut and mended between two steps of a move: the process that comes to the step stands still meanwhile (tests/e2e/dying.py)."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, product
from pathlib import Path
from typing import Any

from tests.e2e.test_kill import DYING, restart
from tests.e2e.world import Pool, until
from tests.e2e.yard import Yard

LONG = bool(os.environ.get("XENET_LONG"))
_NUMBERS = count(1)
_LAST = 400


def cuttings(sampled: tuple[int, int]) -> Iterable[tuple[int, bool]]:
    """When the cable is cut, and whether it is mended within the move: two of them, and in the long run all."""
    return product(range(1, _LAST), (True, False)) if LONG else zip(sampled, (True, False), strict=True)


def stand_still_on_demand(pool: Pool) -> None:
    """The server and the agents of a pool are started anew as such that `during` can halt."""
    for name in ("server", *pool.hosts):
        pool.stop(name)
        restart(pool, name, sys.executable, str(DYING), str(_mark(pool, name)), "still")


def _mark(pool: Pool, name: str) -> Path:
    return pool.folder / f"{name}.mark"


def during(pool: Pool, name: str, acts: Mapping[int, Callable[[], Any]], call: Callable[[], Any]) -> int:
    """The call, and what is done while this process stands still at those of its moments; how many of them it came to. Raises what the call
    raises."""
    mark, run, reached = _mark(pool, name), f"run{next(_NUMBERS)}", 0
    here, before = mark.with_suffix(f".{run}"), mark.with_suffix(".new")
    before.write_text(f"{run} {' '.join(map(str, acts))}")
    before.rename(mark)  # nobody reads half of it
    try:
        with ThreadPoolExecutor(1) as thread:
            called = thread.submit(call)
            while reached < len(acts) and _is_reached(here, called):
                acts[sorted(acts)[reached]]()
                here.unlink()
                reached += 1
            called.result(90)
    finally:
        mark.unlink()
    return reached


def _is_reached(here: Path, called: "Future[Any]") -> bool:
    """What the process still does after the answer counts, too."""
    end = 0.0
    while not here.exists():
        if called.done():
            end = end or time.monotonic() + 0.3
            if time.monotonic() > end:
                return False
        time.sleep(0.003)
    return True


def cut(site: Yard, host: str) -> None:
    site.switch.ip("link", "set", host, "down")


def mend(site: Yard, host: str) -> None:
    site.switch.ip("link", "set", host, "up")
    until(lambda: "LOWER_UP" in site.hosts[host].ip("link", "show", "eth0"))
