"""PoolState: all records at one revision, immutable.

Records live in persistent maps, so the next state costs only what changed. Back-references and look-ups
by name are indexes kept beside the records by `with_record`; nothing stores them twice.
"""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, cast

import msgspec
from immutables import Map

from xenet.model.classes import STORED
from xenet.model.declare import reference_fields
from xenet.model.errors import handle_invalid
from xenet.model.types import NULL, BackRef, Record, Ref

R = TypeVar("R", bound=Record)
Table = Map[Ref, Record]
Index = Map[tuple[str, str, str], Map[Ref, None]]
_EMPTY_TABLE: Table = Map()
_EMPTY_SET: Map[Ref, None] = Map()
LOOKUPS: dict[str, tuple[str, ...]] = {
    "network": ("bridge", "mirror_to"),
    "operation": ("objects", "keeps"),
    "PIF": ("device",),
    "VIF": ("mirror_to",),
}
"""Fields, besides references and name_label, whose values are indexed."""


class PoolState(msgspec.Struct, frozen=True):
    """The pool at one revision. Reading it never fails half-way: it does not change."""

    revision: int = 0
    tables: Map[str, Table] = Map()
    index: Index = Map()

    # --- reading -----------------------------------------------------------------------------------

    def find(self, cls: type[R], ref: Ref) -> R | None:
        return cast("R | None", self.tables.get(cls.xenapi, _EMPTY_TABLE).get(ref))

    def get(self, cls: type[R], ref: Ref) -> R:
        """The record behind a reference. Raises HANDLE_INVALID [class, ref]."""
        record = self.find(cls, ref)
        if record is None:
            raise handle_invalid(cls.xenapi, ref)
        return record

    def all(self, cls: type[R]) -> Iterator[R]:
        return cast("Iterator[R]", iter(self.tables.get(cls.xenapi, _EMPTY_TABLE).values()))

    def count(self, cls: type[Record]) -> int:
        return len(self.tables.get(cls.xenapi, _EMPTY_TABLE))

    def refs_where(self, cls: str, field: str, value: str) -> list[Ref]:
        """References of the records whose indexed field has this value, in a stable order."""
        return sorted(self.index.get((cls, field, value), _EMPTY_SET))

    def where(self, cls: type[R], field: str, value: str) -> list[R]:
        """The records whose indexed field (a reference, name_label, a field of LOOKUPS) has this value."""
        return [self.get(cls, ref) for ref in self.refs_where(cls.xenapi, field, value)]

    def back(self, ref: Ref, back: BackRef) -> list[Ref]:
        """A computed back-reference, such as network.VIFs."""
        return self.refs_where(back.cls, back.field, ref)

    # --- the next state ----------------------------------------------------------------------------

    def with_record(self, cls: str, ref: Ref, record: Record | None) -> "PoolState":
        """The state in which `ref` is `record` (None: is gone), with its indexes; the revision stays."""
        table = self.tables.get(cls, _EMPTY_TABLE)
        old = table.get(ref)
        if record is old:
            return self
        changed = table.set(ref, record) if record is not None else table.delete(ref)
        index = _reindex(self.index, STORED[cls], ref, old, record)
        return PoolState(self.revision, self.tables.set(cls, changed), index)

    def at(self, revision: int) -> "PoolState":
        return PoolState(revision, self.tables, self.index)


def state_of(revision: int, records: Iterable[Record]) -> PoolState:
    """The state that these records make up. Far quicker than putting them in one by one."""
    tables: dict[str, dict[Ref, Record]] = {}
    index: dict[tuple[str, str, str], dict[Ref, None]] = {}
    for record in records:
        cls, ref = type(record), record.ref
        tables.setdefault(cls.xenapi, {})[ref] = record
        for field in _INDEXED[cls.xenapi]:
            for value in _keys(cls, field, record):
                index.setdefault((cls.xenapi, field, value), {})[ref] = None
    return PoolState(revision, Map({name: Map(table) for name, table in tables.items()}), Map({key: Map(refs) for key, refs in index.items()}))


def indexed_fields(cls: type[Record]) -> tuple[str, ...]:
    """The fields of a class that `refs_where` can look up."""
    named = ("name_label",) if "name_label" in cls.__struct_fields__ else ()
    return (*reference_fields(cls), *named, *LOOKUPS.get(cls.xenapi, ()))


_INDEXED: dict[str, tuple[str, ...]] = {name: indexed_fields(cls) for name, cls in STORED.items()}


def _keys(cls: type[Record], field: str, record: Record | None) -> tuple[str, ...]:
    if record is None:
        return ()
    value: Any = getattr(record, field)
    if isinstance(value, tuple):
        return tuple(dict.fromkeys(value))
    return (value,) if value != NULL else ()


def _reindex(index: Index, cls: type[Record], ref: Ref, old: Record | None, new: Record | None) -> Index:
    for field in _INDEXED[cls.xenapi]:
        gone, come = _keys(cls, field, old), _keys(cls, field, new)
        if gone == come:
            continue
        for value in gone:
            index = _discard(index, (cls.xenapi, field, value), ref)
        for value in come:
            key = (cls.xenapi, field, value)
            index = index.set(key, index.get(key, _EMPTY_SET).set(ref, None))
    return index


def _discard(index: Index, key: tuple[str, str, str], ref: Ref) -> Index:
    left = index[key].delete(ref)
    return index.set(key, left) if left else index.delete(key)
