"""The commands that every class has: -list, -param-list, -param-get, -param-set, -param-add, -param-remove, -param-clear.

XenServer's quirk, kept: --all prints all records whatever the filters say (so vm-list --all shows templates too).
Changed on purpose: a name in params= that is no field is an error, not an empty answer; names of fields that XenServer has and
xenet has not are passed over. param-set reads all its values before it sets the first.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from xenet.cli.xe.context import NULL, Context
from xenet.cli.xe.fields import EXPENSIVE, HIDDEN, Column, Table
from xenet.cli.xe.fields_absent import ABSENT
from xenet.cli.xe.filters import column_of, filter_pairs, select
from xenet.cli.xe.grammar import Misuse, boolean, integer, listed, one_of, size
from xenet.cli.xe.output import Line, label
from xenet.cli.xe.records import Names, Row, fetch, fetch_by_uuid, has, show, value_of
from xenet.model.errors import Failure

Message = tuple[str, tuple[Any, ...]]
"""A message without its class, such as set_MTU, and what follows the record's reference."""


class Entry(NamedTuple):
    """What a map shall have, whatever it has under this key."""

    field: str
    key: str
    value: str


def list_records(ctx: Context, table: Table) -> None:
    names = Names(ctx.call)
    columns = chosen_columns(table, ctx.params.get("params"))
    pairs = filter_pairs(ctx.params, ["params"])
    rows = fetch(ctx.call, table) if ctx.params.flag("all") else select(ctx.call, table, pairs, names)
    print_rows(ctx, rows, columns[:1] if ctx.out.minimal else columns, names)


def chosen_columns(table: Table, wanted: str) -> list[Column]:
    """The columns of a list in the table's order, whatever the order of params=. Raises Misuse."""
    visible = [column for column in table.columns if HIDDEN not in column.flags]
    if wanted == "all":
        return visible
    chosen = listed(wanted) if wanted else list(table.defaults)
    if wanted:
        for name in chosen:
            if name not in ABSENT.get(table.api, ()):
                column_of(table, name)
    return [column for column in visible if column.name in chosen]


def print_rows(ctx: Context, rows: Sequence[Row], columns: Sequence[Column], names: Names) -> None:
    names.load(rows, [column for column in columns if EXPENSIVE not in column.flags])
    ctx.out.records([_lines(row, columns, names, costly=False) for row in rows])


def _lines(row: Row, columns: Iterable[Column], names: Names, *, costly: bool) -> list[Line]:
    return [(label(column), show(row, column, names, costly=costly)) for column in columns if has(row, column)]


def param_list(ctx: Context, table: Table) -> None:
    row, names = _row(ctx, table), Names(ctx.call)
    columns = [column for column in table.columns if HIDDEN not in column.flags]
    names.load([row], columns)
    ctx.out.records([_lines(row, columns, names, costly=True)])


def param_get(ctx: Context, table: Table) -> None:
    name = ctx.params.require("param-name")
    row, column = _row(ctx, table), column_of(table, name)
    names = Names(ctx.call)
    if "param-key" not in ctx.params:
        ctx.out.values([show(row, column, names)])
        return
    key, value = ctx.params.get("param-key"), value_of(row, column, names)
    if not isinstance(value, dict):
        raise Misuse(f"Field '{name}' is not a map")
    if key not in value:
        raise Misuse(f"Key {key} not found in map")
    ctx.out.values([value[key]])


def param_set(ctx: Context, table: Table) -> None:
    ref = ctx.ref(table.api, ctx.params.require("uuid"))
    for change in [_setting(ctx, table, name, value) for name, value in _pairs(ctx)]:
        if isinstance(change, Entry):
            _enter(ctx, table, ref, change)
        else:
            _send(ctx, table, ref, [change])


def param_add(ctx: Context, table: Table) -> None:
    uuid, column = ctx.params.require("uuid"), _growing(ctx, table)
    messages: list[Message]
    if column.is_set:
        messages = [(f"add_{column.field}", (_parsed(ctx, column, ctx.params.require("param-key")),))]
    else:
        messages = [(f"add_to_{column.field}", pair) for pair in _pairs(ctx)]
        if not messages:
            raise Misuse("No key=value to add")
    _send(ctx, table, ctx.ref(table.api, uuid), messages)


def param_remove(ctx: Context, table: Table) -> None:
    key, column = ctx.params.require("param-key"), _growing(ctx, table)
    row = _row(ctx, table)
    if key not in value_of(row, column, Names(ctx.call)):
        raise Misuse(f"Key {key} is not in {'the set' if column.is_set else 'map'}")
    _send(ctx, table, row.ref, [_removal(ctx, column, key)])


def param_clear(ctx: Context, table: Table) -> None:
    column = column_of(table, ctx.params.require("param-name"))
    row = _row(ctx, table)
    if not column.writable:
        raise Misuse(f"Field '{column.name}' is read-only.")
    if column.is_map or (column.is_set and not column.setter):
        messages = [_removal(ctx, column, key) for key in value_of(row, column, Names(ctx.call))]
    else:
        messages = [_replacement(ctx, column, "")]
    _send(ctx, table, row.ref, messages)


def _row(ctx: Context, table: Table) -> Row:
    return fetch_by_uuid(ctx.call, table, ctx.params.require("uuid"))


def _pairs(ctx: Context) -> list[tuple[str, str]]:
    return filter_pairs(ctx.params, ["uuid", "param-name", "param-key"])


def _send(ctx: Context, table: Table, ref: str, messages: Iterable[Message]) -> None:
    for name, args in messages:
        ctx.call(f"{table.api}.{name}", ref, *args)


def _enter(ctx: Context, table: Table, ref: str, new: Entry) -> None:
    """As XenServer's xe, by two messages: one that sets the whole map would undo what others do to its other keys meanwhile.
    Where the second is refused the old value is put back, or said if that is refused as well."""
    old = ctx.call(f"{table.api}.get_{new.field}", ref).get(new.key)
    ctx.call(f"{table.api}.remove_from_{new.field}", ref, new.key)
    try:
        ctx.call(f"{table.api}.add_to_{new.field}", ref, new.key, new.value)
    except Failure:
        if old is not None:
            _put_back(ctx, table, ref, new._replace(value=old))
        raise


def _put_back(ctx: Context, table: Table, ref: str, old: Entry) -> None:
    try:
        ctx.call(f"{table.api}.add_to_{old.field}", ref, old.key, old.value)
    except Failure:
        ctx.stderr.write(f"{old.key} was {old.value}, which is refused by now as well: it is not set any more\n")


def _growing(ctx: Context, table: Table) -> Column:
    """The set or map that param-add and param-remove change. Raises Misuse."""
    column = column_of(table, ctx.params.require("param-name"))
    if not (column.is_set or column.is_map):
        raise Misuse(f"Field '{column.name}' is neither a set nor a map")
    if not column.writable:
        raise Misuse(f"Field '{column.name}' is read-only.")
    return column


def _removal(ctx: Context, column: Column, key: str) -> Message:
    return (f"remove_from_{column.field}", (key,)) if column.is_map else (f"remove_{column.field}", (_parsed(ctx, column, key),))


def _setting(ctx: Context, table: Table, name: str, value: str) -> Message | Entry:
    """What sets `field` or `map:key` to a value. Raises Misuse."""
    field, colon, key = name.partition(":")
    column = column_of(table, field)
    if column.is_map != bool(colon):
        raise Misuse(f"Field '{field}' is a map: set {field}:KEY=VALUE" if column.is_map else f"Field '{field}' is not a map")
    if not column.settable:
        raise Misuse("Cannot param-set on set fields" if column.is_set else f"Field '{field}' is read-only.")
    if column.is_map:
        return (column.setter, (key, value)) if column.setter else Entry(column.field, key, value)
    return _replacement(ctx, column, value)


def _replacement(ctx: Context, column: Column, value: str) -> Message:
    new = [_parsed(ctx, column, item) for item in listed(value)] if column.is_set else _parsed(ctx, column, value)
    return column.setter or f"set_{column.field}", (new,)


def _parsed(ctx: Context, column: Column, value: str) -> Any:
    match column.kind:
        case "string":
            return value
        case "int":
            return integer(column.name, value)
        case "bytes":
            return size(column.name, value)
        case "bool":
            return boolean(column.name, value)
        case "ref":
            return ctx.ref(column.target, value) if value else NULL
        case values:
            return one_of(values.split("|"), value)
