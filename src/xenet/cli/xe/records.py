"""Records of the server, what their references lead to, and what a column of theirs shows.

A list costs one call for its class and one for each class that its columns refer to, however many records there are; a
few references are looked up one by one. References are opaque here: a uuid is read from the record, never cut out of a reference.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from xenet.cli.xe.fields import COMMAS, EXPENSIVE, LOWER, NAMED, OPERATIONS, Column, Table
from xenet.client import named
from xenet.model.errors import Failure

Call = Callable[..., Any]
Record = Mapping[str, Any]
Value = str | list[str] | dict[str, str]

NULL = "OpaqueRef:NULL"
NOT_IN_DATABASE = "<not in database>"
INVALID = "<invalid reference>"
COSTLY = "<expensive field>"
FEW = 4
"""Up to this many references of a class are looked up one by one."""
_UNKNOWN = frozenset(["HANDLE_INVALID", "MESSAGE_METHOD_UNKNOWN", "MESSAGE_REMOVED"])
_DIGITS = re.compile(r"(\d+)")


class Row(NamedTuple):
    """A record of a class of `xe`."""

    table: Table
    ref: str
    record: Record


class Names:
    """The records that references lead to, loaded ahead with few calls."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._known: dict[str, dict[str, Record]] = {}

    def load(self, rows: Iterable[Row], columns: Sequence[Column]) -> None:
        """Fetch what these columns of these rows refer to."""
        rows = list(rows)
        for cls in dict.fromkeys(column.target for column in columns if column.target):
            fields = [column.field for column in columns if column.target == cls]
            self._fetch(cls, {ref for row in rows for field in fields for ref in _references(row.record.get(field))})

    def find(self, cls: str, ref: str) -> Record | None:
        if ref not in self._known.get(cls, {}):
            self._fetch(cls, {ref})
        return self._known[cls].get(ref)

    def _fetch(self, cls: str, refs: set[str]) -> None:
        known = self._known.setdefault(cls, {NULL: {}})
        missing = [ref for ref in refs if ref not in known]
        if len(missing) > FEW:
            known.update(all_records(self.call, cls))
            return
        for ref in missing:
            record = find_record(self.call, cls, ref)
            if record is not None:
                known[ref] = record


def all_records(call: Call, cls: str) -> dict[str, Record]:
    """Every record of a class by reference; none where the server does not have the class. Raises Failure."""
    try:
        return dict(call(f"{cls}.get_all_records"))
    except Failure as failure:
        if failure.code in _UNKNOWN:
            return {}
        raise


def find_record(call: Call, cls: str, ref: str) -> Record | None:
    """A record, or None where there is none (any more). Raises Failure for other refusals."""
    try:
        record: Record = call(f"{cls}.get_record", ref)
    except Failure as failure:
        if failure.code in _UNKNOWN:
            return None
        raise
    return record


def fetch(call: Call, table: Table) -> list[Row]:
    """All records of a class, in an order made for people. Raises Failure."""
    records: Mapping[str, Record] = call(f"{table.api}.get_all_records")
    return sorted((Row(table, ref, record) for ref, record in records.items()), key=natural_order)


def fetch_by_uuid(call: Call, table: Table, uuid: str) -> Row:
    """The record with this uuid. Raises Failure (UUID_INVALID)."""
    ref = str(call(f"{table.api}.get_by_uuid", uuid))
    return Row(table, ref, call(f"{table.api}.get_record", ref))


def natural_order(row: Row) -> tuple[list[tuple[bool, int, str]], str]:
    """By name or device with eth2 before eth10, then by uuid."""
    name = str(row.record.get("name_label") or row.record.get("device") or "")
    parts = [(part.isdecimal(), int(part) if part.isdecimal() else 0, part.lower()) for part in _DIGITS.split(name) if part]
    return parts, str(row.record.get("uuid", ""))


def has(row: Row, column: Column) -> bool:
    """Whether the server's record has what the column shows; older servers lack some fields."""
    return column.field.endswith("()") or column.field in row.record


def show(row: Row, column: Column, names: Names, *, costly: bool = True) -> str:
    """The text of a column. With `costly` false, what costs a call for each record is not asked for."""
    if EXPENSIVE in column.flags and not costly:
        return COSTLY
    return text(value_of(row, column, names), column)


def text(value: Value, column: Column) -> str:
    """A value as XenServer prints it."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, list):
        return (", " if COMMAS in column.flags else "; ").join(value)
    return value.lower() if LOWER in column.flags else value


def value_of(row: Row, column: Column, names: Names) -> Value:
    """A column's text, or the texts of its elements, with references replaced by what they lead to."""
    raw = row.record.get(column.field)
    if column.field.endswith("()"):
        try:
            raw = names.call(f"{row.table.api}.{column.field.removesuffix('()')}", row.ref)
        except Failure:
            return INVALID
    if OPERATIONS in column.flags and isinstance(raw, Mapping):
        raw = list(raw.values())
    if NAMED in column.flags and isinstance(raw, list):
        raw = [named(word, names.call) for word in raw]
    return _value(raw, column, names)


def _value(raw: Any, column: Column, names: Names) -> Value:
    if isinstance(raw, Mapping):
        return {str(key): _text_of(item, column, names) for key, item in raw.items()}
    if isinstance(raw, list):
        return [_text_of(item, column, names) for item in raw]
    if not column.target:
        return _plain(raw)
    record = names.find(column.target, raw) if raw else None
    if not record or column.show not in record:
        return NOT_IN_DATABASE
    return _value(record[column.show], column._replace(target=""), names)


def _text_of(item: Any, column: Column, names: Names) -> str:
    return text(_value(item, column, names), column)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _references(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value,) if value else ()
    return value.values() if isinstance(value, Mapping) else value or ()
