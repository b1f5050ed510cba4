"""The embedded store: one SQLite file beside which one process at a time holds a lock.

A commit is one transaction (records, log, revision) in the write-ahead log, synced to the disk before it returns
(journal_mode WAL, synchronous FULL), so kill -9 or a power cut loses nothing that was acknowledged. Reading never
touches the file after the start. `form` says what the tables look like; besides them there are `log` and
`xenet` (revision and where the log begins). Classes that are not persistent (task) have no table.
"""

import fcntl
import gc
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import msgspec

from xenet.model.change import Change, edit_between
from xenet.model.classes import STORED
from xenet.model.state import PoolState, state_of
from xenet.model.types import Record
from xenet.store.base import LogEntry, StoreError
from xenet.store.form import columns_of, create, select, write
from xenet.store.memory import BoundedLog, MemoryStore

OURS = 0x786E6574
"""SQLite's application_id of our files: "xnet"."""
FORMAT = 1
"""SQLite's user_version: grows when an older xenet could no longer read the file. A new class or field is no such case."""
PERSISTENT = [cls for cls in STORED.values() if cls.persistent]
FAULTS = (sqlite3.Error, OSError, msgspec.MsgspecError, ValueError, LookupError, OverflowError)
MOVE_AWAY = "check the path and its permissions; if the file is damaged, put a copy in its place, or move it away and start with an empty pool"
MAKE_ROOM = "make room on the disk or mend its permissions, then try again"


class SqliteStore(MemoryStore):
    """The store in the file `path`, which is made (mode 0600) when it is missing. Raises StoreError."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with ExitStack() as undo, _telling(self.path, "cannot be read", MOVE_AWAY):
            undo.callback(os.close, _locked(self.path))
            self._db = undo.enter_context(closing(_connected(self.path)))
            _shape(self._db)
            state, log, self._floor = _loaded(self._db)
            super().__init__(state, log)
            self._forget()
            self._open = undo.pop_all()

    def close(self) -> None:
        super().close()
        self._open.close()

    def _write(self, change: Change, after: PoolState, entries: Sequence[LogEntry]) -> None:
        touched = {(edit.cls, edit.ref): STORED[edit.cls] for edit in change.edits}
        with _telling(self.path, "cannot be written", MAKE_ROOM), _transaction(self._db):
            for (name, ref), cls in touched.items():
                edit = edit_between(name, ref, self._state.find(cls, ref), after.find(cls, ref))
                if edit is not None and cls.persistent:
                    statement, parameters = write(edit)
                    if self._db.execute(statement, parameters).rowcount != 1:
                        raise sqlite3.IntegrityError(f"{name} {ref} is not there as it was read")
            self._advance(after.revision, entries)

    def _advance(self, revision: int, entries: Sequence[LogEntry]) -> None:
        self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", [(e.revision, e.cls, e.ref, e.op) for e in entries])
        self._db.execute("UPDATE xenet SET revision = ?", (revision,))
        if self._log.floor != self._floor:
            self._db.execute("DELETE FROM log WHERE revision <= ?", (self._log.floor,))
            self._db.execute("UPDATE xenet SET log_floor = ?", (self._log.floor,))
            self._floor = self._log.floor

    def _forget(self) -> None:
        """Log the end of what only memory held (tasks), so that a client that waits for its events learns of it."""
        last = {(entry.cls, entry.ref): entry.op for entry in self._log.entries if not STORED[entry.cls].persistent}
        revision = self._state.revision + 1
        entries = [LogEntry(revision, cls, ref, "del") for (cls, ref), op in last.items() if op != "del"]
        if entries:
            with _transaction(self._db):
                self._advance(revision, entries)
            self._state = self._state.at(revision)
            self._log.extend(entries)


def _locked(path: Path) -> int:
    """The descriptor that holds the lock on `path`. The file beside it stays: taking it away would let two hold a lock by its name."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode(errors="replace").strip()
        os.close(lock)
        raise StoreError(f"{path} is in use by another process (pid {holder or 'unknown'}): stop that one, or choose another file") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _connected(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _check_ours(db, path)
        path.chmod(0o600)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def _check_ours(db: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError before anything is written into a file that is not ours to write."""
    owner, form = _one(db, "PRAGMA application_id"), _one(db, "PRAGMA user_version")
    if owner != OURS and _one(db, "SELECT count(*) FROM sqlite_schema"):
        raise StoreError(f"{path} is a database of another program: choose another file")
    if form > FORMAT:
        raise StoreError(f"{path} was written by a newer xenet (format {form}; this one reads up to {FORMAT}): update xenet, or choose another file")


def _one(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


def _shape(db: sqlite3.Connection) -> None:
    """Add the tables and columns that the file lacks; leave alone those that this xenet does not know."""
    with _transaction(db):
        if not _has(db, "xenet"):
            db.execute("CREATE TABLE log (revision INTEGER NOT NULL, class TEXT NOT NULL, ref TEXT NOT NULL, op TEXT NOT NULL) STRICT")
            db.execute("CREATE TABLE xenet (revision INTEGER NOT NULL, log_floor INTEGER NOT NULL) STRICT")
            db.execute("INSERT INTO xenet VALUES (0, 0)")
            db.execute(f"PRAGMA application_id = {OURS}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
        for cls in PERSISTENT:
            if _has(db, cls.xenapi):
                _widen(db, cls)
            else:
                db.execute(create(cls))


def _has(db: sqlite3.Connection, table: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)).fetchone() is not None


def _widen(db: sqlite3.Connection, cls: type[Record]) -> None:
    there = {name for _, name, *_ in db.execute(f'PRAGMA table_info("{cls.xenapi}")')}
    for name, column in columns_of(cls).items():
        if name not in there:
            db.execute(f'ALTER TABLE "{cls.xenapi}" ADD COLUMN {column.declaration}')


def _loaded(db: sqlite3.Connection) -> tuple[PoolState, BoundedLog, int]:
    ((revision, floor),) = db.execute("SELECT revision, log_floor FROM xenet")
    with _uncollected():
        state = state_of(revision, (record for cls in PERSISTENT for record in _records(db, cls)))
        entries = [LogEntry(*row) for row in db.execute("SELECT revision, class, ref, op FROM log ORDER BY rowid") if row[1] in STORED]
    return state, BoundedLog(floor, entries), floor


def _records(db: sqlite3.Connection, cls: type[Record]) -> Iterator[Record]:
    columns = columns_of(cls)
    decoders = [(place, column.decode) for place, column in enumerate(columns.values()) if column.decode]
    for row in db.execute(select(cls)):
        values = list(row)
        for place, decode in decoders:
            values[place] = decode(values[place])
        yield cls(**dict(zip(columns, values, strict=True)))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking records again and again while only records are made: it doubles the time of a load."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def _telling(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Turn what a file can do to us into a StoreError that names it and says what to do."""
    try:
        yield
    except FAULTS as error:
        raise StoreError(f"{path} {what} ({error}): {remedy}") from error
