"""Choosing records: the field=value filters of lists, and the vm= and host= selectors of commands.

Filters compare the text that `xe` prints: `field=value`, `map:key=value`, `set:contains=value`; all must hold.

Changed on purpose: XenServer takes a selector command without any selector for "the only VM that there is", and acts on it.
Here a command wants to be told (`--multiple` alone means all of them).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xenet.cli.xe.fields import ANY_CASE, Column, Table
from xenet.cli.xe.fields_absent import ABSENT
from xenet.cli.xe.grammar import NEVER_FILTERS, Misuse, Params
from xenet.cli.xe.records import Call, Names, Row, fetch, fetch_by_uuid, show, value_of
from xenet.model.errors import Failure

Pair = tuple[str, str]
CONTAINS = "contains"


class Filter(NamedTuple):
    """One condition; `key` is empty, a map's key, or `contains`."""

    column: Column
    key: str
    value: str

    def holds(self, row: Row, names: Names) -> bool:
        if self.key:
            value = value_of(row, self.column, names)
            if isinstance(value, dict):
                return value.get(self.key) == self.value
            return isinstance(value, list) and self.value in value
        shown = show(row, self.column, names)
        return shown.lower() == self.value.lower() if ANY_CASE in self.column.flags else shown == self.value


def filters_of(table: Table, pairs: Iterable[Pair]) -> list[Filter]:
    """Raises Misuse for a name that is no field of the class."""
    return [_filter(table, name, value) for name, value in pairs]


def _filter(table: Table, name: str, value: str) -> Filter:
    field, colon, key = name.partition(":")
    column = column_of(table, field)
    if colon and not (column.is_map or (column.is_set and key == CONTAINS)):
        raise Misuse(f"Unknown field '{name}'")
    return Filter(column, key, value)


def column_of(table: Table, name: str) -> Column:
    """The column with this name. Raises Misuse."""
    column = table.find(name)
    if column is None:
        absent = name in ABSENT.get(table.api, ())
        raise Misuse(f"Field '{name}' of XenServer is not in xenet's records" if absent else f"Unknown field '{name}'")
    return column


def filter_pairs(params: Params, but: Iterable[str] = ()) -> list[Pair]:
    """The parameters that are filters: not those of every command, nor `but`, where `name:` stands for all name:key."""
    names = NEVER_FILTERS | set(but)
    return [(name, value) for name, value in params.pairs if name not in names and f"{name.partition(':')[0]}:" not in {*names, "database:"}]


def select(call: Call, table: Table, pairs: Sequence[Pair], names: Names) -> list[Row]:
    """The records for which all filters hold, the class's own ones included. Raises Misuse, Failure."""
    filters = filters_of(table, [*table.filters.items(), *pairs])
    rows = _candidates(call, table, dict(pairs).get("uuid"))
    names.load(rows, [one.column for one in filters])
    return [row for row in rows if all(one.holds(row, names) for one in filters)]


def _candidates(call: Call, table: Table, uuid: str | None) -> list[Row]:
    if uuid is None:
        return fetch(call, table)
    try:
        return [fetch_by_uuid(call, table, uuid)]
    except Failure as failure:
        if failure.code == "UUID_INVALID":
            return []
        raise


def select_vms(call: Call, table: Table, params: Params, own: Iterable[str]) -> list[Row]:
    """The VMs that vm=<uuid or name-label> and filters name; no template, no control domain. Raises Misuse, Failure."""
    pairs = filter_pairs(params, [*own, "vm"])
    names = Names(call)
    rows = select(call, table, [*pairs, ("is-control-domain", "false")], names)
    return _chosen(rows, "vm", ("uuid", "name_label"), params, bool(pairs))


def select_hosts(call: Call, table: Table, params: Params, own: Iterable[str]) -> list[Row]:
    """The hosts that host=<uuid, hostname or name-label> and filters name. Raises Misuse, Failure."""
    pairs = filter_pairs(params, [*own, "host"])
    rows = select(call, table, pairs, Names(call))
    return _chosen(rows, "host", ("uuid", "hostname", "name_label"), params, bool(pairs))


def _chosen(rows: list[Row], selector: str, fields: Sequence[str], params: Params, filtered: bool) -> list[Row]:
    what = {"vm": "VM"}.get(selector, selector)
    if selector in params:
        wanted = params.get(selector)
        rows = [row for row in rows if wanted in [row.record.get(field) for field in fields]]
    elif not filtered and not params.flag("multiple"):
        raise Misuse(f"Name the {what}: {selector}=<{' or '.join(fields).replace('_', '-')}>, any {selector} field=value, or --multiple for all")
    if not rows:
        raise Misuse(f"No matching {what}s found")
    if len(rows) > 1 and not params.flag("multiple"):
        raise Misuse(f"Multiple matches ({len(rows)} {what}s); --multiple is needed to act on all of them")
    return rows
