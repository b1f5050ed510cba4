"""event-wait: sleep until an object has the wanted values."""

from collections.abc import Mapping
from typing import Any

from xenet.cli.xe.context import Context
from xenet.cli.xe.fields import Table
from xenet.cli.xe.filters import Filter, filter_pairs, filters_of
from xenet.cli.xe.grammar import Misuse
from xenet.cli.xe.records import Names, Row
from xenet.cli.xe.tables import tables

PATIENCE = 30.0
"""Seconds that one event.from may last; it is asked again without end."""
NOT = "/="


def event_wait(ctx: Context, values: Mapping[str, Any]) -> None:
    """Return when one object of the class fulfils every `field=value` and `field=/=value`; at once when one does already."""
    table = _table(values["class"])
    conditions = _conditions(ctx, table)
    token = ""
    while True:
        batch = ctx.call("event.from", [table.api.lower()], token, PATIENCE)
        token = batch["token"]
        names = Names(ctx.call)
        rows = [Row(table, event["ref"], event["snapshot"]) for event in batch["events"] if event.get("snapshot")]
        if any(all(one.holds(row, names) == wanted for one, wanted in conditions) for row in rows):
            return


def _conditions(ctx: Context, table: Table) -> list[tuple[Filter, bool]]:
    pairs = filter_pairs(ctx.params, ["class"])
    filters = filters_of(table, [(name, value.removeprefix(NOT)) for name, value in pairs])
    return [(one, not value.startswith(NOT)) for one, (_, value) in zip(filters, pairs, strict=True)]


def _table(name: str) -> Table:
    for table in tables():
        if name.lower() in (table.name, table.api.lower()):
            return table
    raise Misuse(f"Unknown class '{name}'")
