"""The form of a record in SQLite, from its declaration: a table a class, a column a stored field.

Strings, references, enums, numbers and booleans stand as such and a time as ISO 8601, so that
`sqlite3 state.db 'select device, MAC from PIF'` is pleasant; sets, maps and structs are JSON.
"""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

import msgspec

from xenet.model.change import with_edits
from xenet.model.classes import STORED
from xenet.model.declare import Field, Kind, stored_fields
from xenet.model.hidden import Edit
from xenet.model.task import EPOCH
from xenet.model.types import NULL, PREFIX, Record

SQL_TYPES: dict[Kind, str] = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL"}
AS_SUCH = frozenset({"string", "enum", "ref", "int", "float"})
ZERO: dict[Kind, Any] = {"string": "", "ref": NULL, "int": 0, "bool": False, "float": 0.0, "datetime": EPOCH, "set": (), "map": {}}
"""What a column that an older database lacks says of a field without a declared default; an enum: its first value."""
DISTINCT = 1024
"""Decoded JSON texts that a column remembers: most records of a class have the same few, and then share them."""

Codec = Callable[[Any], Any]


class Column(msgspec.Struct, frozen=True):
    """A stored field as a column; `encode` and `decode` turn its values into SQLite's and back, None where they are the same."""

    name: str
    declaration: str
    encode: Codec | None
    decode: Codec | None


@cache
def columns_of(cls: type[Record]) -> dict[str, Column]:
    """The columns of a class's table by name, uuid (the primary key) first."""
    types = {info.name: info.type for info in msgspec.structs.fields(cls)}
    return {name: _column(field, types[name]) for name, field in stored_fields(cls).items()}


def _column(field: Field, annotation: Any) -> Column:
    kind = field.type.kind
    encode, decode = _codec(kind, annotation)
    sql_type = SQL_TYPES.get(kind, "TEXT")
    if field.name == "uuid":
        return Column("uuid", '"uuid" TEXT NOT NULL PRIMARY KEY', encode, decode)
    # A default lets a column be added to an older table, and an older xenet write into a newer one.
    default = _zero(field) if field.required else field.default
    shown = literal(default if encode is None else encode(default))
    return Column(field.name, f'"{field.name}" {sql_type} NOT NULL DEFAULT {shown}', encode, decode)


def _zero(field: Field) -> Any:
    return field.type.values[0] if field.type.kind == "enum" else ZERO[field.type.kind]


def _codec(kind: Kind, annotation: Any) -> tuple[Codec | None, Codec | None]:
    if kind in AS_SUCH:
        return None, None
    if kind == "bool":
        return int, bool
    if kind == "datetime":
        return msgspec.to_builtins, lru_cache(DISTINCT)(lambda text: msgspec.convert(text, annotation))
    from_json = msgspec.json.Decoder(annotation).decode
    return lambda value: msgspec.json.encode(value).decode(), lru_cache(DISTINCT)(lambda text: with_edits(from_json(text)))


def _encoded(column: Column, value: Any) -> Any:
    return value if column.encode is None else column.encode(value)


def literal(value: str | float) -> str:
    """A value as SQL writes it."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def create(cls: type[Record]) -> str:
    return f'CREATE TABLE "{cls.xenapi}" ({", ".join(column.declaration for column in columns_of(cls).values())}) STRICT'


def select(cls: type[Record]) -> str:
    return f'SELECT {_names(columns_of(cls))} FROM "{cls.xenapi}"'


def write(edit: Edit) -> tuple[str, list[Any]]:
    """The statement, with its parameters, that does to one row what the edit says. It must find exactly one row."""
    uuid = edit.ref.removeprefix(PREFIX)
    if edit.after is None:
        return f'DELETE FROM "{edit.cls}" WHERE "uuid" = ?', [uuid]
    columns = columns_of(STORED[edit.cls])
    values = [_encoded(columns[name], value) for name, value in edit.after.items()]
    if edit.before is None:
        return f'INSERT INTO "{edit.cls}" ({_names(edit.after)}) VALUES ({", ".join("?" * len(values))})', values
    changed = ", ".join(f'"{name}" = ?' for name in edit.after)
    return f'UPDATE "{edit.cls}" SET {changed} WHERE "uuid" = ?', [*values, uuid]


def _names(names: Mapping[str, Any]) -> str:
    return ", ".join(f'"{name}"' for name in names)
