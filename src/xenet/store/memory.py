"""A store that a restart forgets, and what every store does around its writing: order, log, watchers."""

import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from xenet.model.change import Change
from xenet.model.state import PoolState
from xenet.store.base import LogEntry, Watcher, log_of

KEEP = 10_000
"""Log entries that are kept at least."""
SLACK = KEEP // 4
"""How many more may gather before the log is cut, so that most commits cut nothing."""

logger = logging.getLogger(__name__)


class BoundedLog:
    """The last entries, oldest first. Every commit after revision `floor` is there in full."""

    def __init__(self, floor: int, entries: Sequence[LogEntry] = ()) -> None:
        self.floor = floor
        self.entries: list[LogEntry] = []
        self.extend(entries)

    def extend(self, entries: Sequence[LogEntry]) -> None:
        self.entries += entries
        if len(self.entries) > KEEP + SLACK:
            self.floor = self.entries[-KEEP - 1].revision
            self.entries = self._after(self.floor)

    def since(self, revision: int) -> list[LogEntry] | None:
        return None if revision < self.floor else self._after(revision)

    def _after(self, revision: int) -> list[LogEntry]:
        return self.entries[bisect_right(self.entries, revision, key=lambda entry: entry.revision) :]


class MemoryStore:
    """The state in memory alone. A store on disk overrides `_write`."""

    def __init__(self, state: PoolState | None = None, log: BoundedLog | None = None) -> None:
        self._state = state or PoolState()
        self._log = log or BoundedLog(self._state.revision)
        self._watchers: list[Watcher] = []
        self._untold: deque[tuple[PoolState, Change, list[LogEntry]]] = deque()

    def snapshot(self) -> PoolState:
        return self._state

    def commit(self, change: Change) -> PoolState:
        if not change.edits:
            return self._state
        before = self._state
        after = change.apply(before)
        entries = log_of(change, before, after)
        self._write(change, after, entries)
        self._state = after
        self._log.extend(entries)
        self._tell(after, change, entries)
        return after

    def _write(self, change: Change, after: PoolState, entries: Sequence[LogEntry]) -> None:
        """Make a commit durable, or raise and leave everything as it was. In memory there is nothing to do."""

    def log_since(self, revision: int) -> list[LogEntry] | None:
        return None if revision > self._state.revision else self._log.since(revision)

    def watch(self, callback: Watcher) -> None:
        self._watchers.append(callback)

    def close(self) -> None:
        self._watchers.clear()

    def _tell(self, state: PoolState, change: Change, entries: list[LogEntry]) -> None:
        """Tell the watchers. One that commits in turn must not make the others hear of its commit before this one: that one waits its turn."""
        self._untold.append((state, change, entries))
        if len(self._untold) > 1:
            return
        while self._untold:
            for watcher in tuple(self._watchers):
                _call(watcher, *self._untold[0])
            self._untold.popleft()


def _call(watcher: Watcher, state: PoolState, change: Change, entries: list[LogEntry]) -> None:
    try:
        watcher(state, change, entries)
    except Exception:
        # The commit stands: whoever made it must not take a watcher's failure for its own.
        logger.exception("a watcher failed at revision %d", state.revision)
