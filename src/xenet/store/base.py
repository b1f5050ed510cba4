"""What a store is: the one place where the pool's state moves on, a commit at a time, and the log of what each commit touched.

A store keeps the current PoolState in memory, so reading costs no I/O; a commit is durable when it returns.
All calls come from one thread at a time (the server's event loop).
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal, Protocol

import msgspec

from xenet.model.change import Change
from xenet.model.classes import HIDDEN, STORED
from xenet.model.declare import fields_of
from xenet.model.state import PoolState
from xenet.model.types import NULL, Record, Ref

Op = Literal["add", "mod", "del"]


class LogEntry(msgspec.Struct, frozen=True):
    """The commit to `revision` did this to a record: what `event.from` tells its clients."""

    revision: int
    cls: str
    ref: Ref
    op: Op


Watcher = Callable[[PoolState, Change, list[LogEntry]], None]


class StoreError(Exception):
    """The store cannot be opened, read or written. The text names the file and says what to do."""


class Store(Protocol):
    """Where the pool's state is kept."""

    def snapshot(self) -> PoolState:
        """The current state, from memory."""

    def commit(self, change: Change) -> PoolState:
        """Make the change durable and return the state after it; a change without edits commits nothing.

        Raises model.change.Conflict when the state is not what the change was decided on, and StoreError when it
        cannot be written; then nothing has changed.
        """

    def log_since(self, revision: int) -> list[LogEntry] | None:
        """What the commits after `revision` did, oldest first. None when the bounded log does not reach back so far or no commit was that one."""

    def watch(self, callback: Watcher) -> None:
        """Call back after each commit, in the order of the commits, with the state after it, the change and its log entries."""

    def close(self) -> None:
        """Give the store back. Nothing is lost without it."""


def log_of(change: Change, before: PoolState, after: PoolState) -> list[LogEntry]:
    """The log entries of a commit: its net effect on each record, then the records whose computed back-references it changed.

    A record appears once; a hidden class never does. So creating a VIF is an `add` of the VIF and a `mod` of its network and its VM.
    """
    entries: dict[tuple[str, Ref], Op] = {}
    touched = {(edit.cls, edit.ref): STORED[edit.cls] for edit in change.edits}
    for (name, ref), cls in touched.items():
        op = _net(before.find(cls, ref), after.find(cls, ref))
        if op is not None and cls not in HIDDEN:
            entries[name, ref] = op
    for (_, ref), cls in touched.items():
        for target in _back_references(cls, before.find(cls, ref), after.find(cls, ref)):
            if after.find(STORED[target[0]], target[1]) is not None:
                entries.setdefault(target, "mod")
    return [LogEntry(after.revision, name, ref, op) for (name, ref), op in entries.items()]


def _net(old: Record | None, new: Record | None) -> Op | None:
    if old is None:
        return None if new is None else "add"
    if new is None:
        return "del"
    return "mod"  # Equal too: event.inject touches an object without changing it.


def _back_references(cls: type[Record], old: Record | None, new: Record | None) -> Iterator[tuple[str, Ref]]:
    """The records (class, ref) that gained or lost a computed back-reference when `old` became `new`."""
    for field, target in _seen_from(cls.xenapi):
        gone, come = (NULL if record is None else getattr(record, field) for record in (old, new))
        if gone != come:
            yield from ((target, ref) for ref in (gone, come) if ref != NULL)


@cache
def _seen_from(name: str) -> tuple[tuple[str, str], ...]:
    """The reference fields of a class of which another class shows the reverse, with that other class."""
    backs = ((cls.xenapi, field.back) for cls in STORED.values() for field in fields_of(cls).values() if field.back)
    return tuple((back.field, target) for target, back in backs if back.cls == name)
