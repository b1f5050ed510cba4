"""All commands as data: what each is called, takes and sends. Help, completion and `main` read nothing else.

A command of one message is a row of `sends`; one that needs more names its function (`run`, such as `vms.start`), which is
imported only when it runs. The commands that every class has are made from the field tables.
"""

from collections.abc import Iterator

from xenet.cli.xe.command import Arg, Command
from xenet.cli.xe.fields import HIDDEN, Table
from xenet.cli.xe.sends import COMMANDS
from xenet.cli.xe.tables import tables

_REST_LIST = "<field>=<value> <map>:<key>=<value> <set>:contains=<value>"
_REST_SET = "<field>=<value> <map>:<key>=<value>"


def generated(table: Table) -> Iterator[Command]:
    """The commands of a class: those that its fields have a use for."""
    one = Arg("uuid", f"ref {table.api}")
    noun = table.api if table.api.lower() == table.name.replace("-", "_") else table.name
    name, key = Arg("param-name", "field"), Arg("param-key")
    params = Arg("params", "field", "")
    yield _made(table, "list", f"List the {noun}s for which all filters hold.", (params,), _REST_LIST)
    yield _made(table, "param-list", f"Show all fields of a {noun}.", (one,))
    yield _made(table, "param-get", f"Show one field of a {noun}, or one key of a map.", (one, name, key._replace(default="")))
    growing = any(column.writable and (column.is_set or column.is_map) for column in table.columns)
    settable = any(column.settable for column in table.columns)
    if settable:
        yield _made(table, "param-set", f"Set fields of a {noun}, or keys of its maps.", (one,), _REST_SET)
    if growing:
        yield _made(
            table,
            "param-add",
            f"Add a key to a map, or an element to a set, of a {noun}.",
            (one, name, key._replace(default="")),
            "<key>=<value>",
        )
        yield _made(table, "param-remove", f"Remove a key from a map, or an element from a set, of a {noun}.", (one, name, key))
    if settable:
        yield _made(table, "param-clear", f"Empty a field of a {noun}.", (one, name))


def _made(table: Table, action: str, summary: str, args: tuple[Arg, ...], rest: str = "") -> Command:
    function = "list_records" if action == "list" else action.replace("-", "_")
    return Command(f"{table.name}-{action}", summary, args, run=f"generic.{function}", table=table, rest=rest)


def commands() -> dict[str, Command]:
    """Every command by name."""
    made = (command for table in tables() for command in generated(table))
    return {command.name: command for command in sorted((*COMMANDS, *made))}


def field_names(table: Table) -> list[str]:
    return [column.name for column in table.columns if HIDDEN not in column.flags]
