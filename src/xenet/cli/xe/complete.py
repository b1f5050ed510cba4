"""What may come next on a command line: `xe complete -- WORD...`, which the shells' completion calls.

The last word is the one being typed; each candidate is that whole word completed. The server is asked for the uuids of objects
only, and in silence: where it does not answer at once there are no candidates.
"""

from collections.abc import Iterator, Mapping, Sequence

from xenet.cli.xe.catalog import commands, field_names
from xenet.cli.xe.command import Arg, Command
from xenet.cli.xe.fields import Table
from xenet.cli.xe.grammar import SWITCHES, Misuse, Params, parse
from xenet.cli.xe.tables import tables

PATIENCE = 2.0
"""Seconds that somebody who presses Tab waits for the server."""
FLAGS = ("--minimal", "--force", "--multiple", "--all", "--nossl", "--progress")


def candidates(words: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Completions of the last word, sorted."""
    *before, current = words or [""]
    if before and before[-1] in SWITCHES:
        return []
    try:
        line = parse(before, environ.get("XE_EXTRA_ARGS", ""))
    except Misuse:
        return []
    known = commands()
    if line.command not in known:
        found: Iterator[str] = iter([*known, *FLAGS])
    elif line.command == "help":
        found = iter(known)
    elif "=" in current:
        name, _, typed = current.partition("=")
        found = _values(known[line.command], name, typed, line.connection, environ)
    else:
        found = _parameters(known[line.command], line.params)
    return sorted(word for word in set(found) if word.startswith(current))


def _parameters(command: Command, given: Params) -> Iterator[str]:
    for arg in command.args:
        if arg.kind == "map":
            yield f"{arg.name}:"
        elif arg.name not in given:
            yield f"{arg.name}="
    if command.selector:
        yield f"{command.selector}="
    yield from _fields(command)
    yield from FLAGS


def _fields(command: Command) -> Iterator[str]:
    """The fields that a list filters by, or param-set sets."""
    table = _table(command)
    if table is None:
        return
    setting = command.name.endswith("-param-set")
    if not (command.rest or command.selector) or command.name.endswith("-param-add"):
        return
    for column in table.columns:
        if column.settable or not setting:
            yield f"{column.name}{':' if column.is_map else '='}"


def _table(command: Command) -> Table | None:
    return command.table or next((table for table in tables() if table.name == command.selector), None)


def _values(command: Command, name: str, typed: str, connection: Params, environ: Mapping[str, str]) -> Iterator[str]:
    """Values of `name=`; in a comma separated list the last one is completed."""
    arg = next((arg for arg in command.args if arg.name == name), None)
    listing = name == "params" or (arg is not None and arg.kind.startswith("refs"))
    done = typed.rpartition(",")[0] + "," if listing and "," in typed else ""
    return (f"{name}={done}{value}" for value in _choices(command, name, arg, connection, environ))


def _choices(command: Command, name: str, arg: Arg | None, connection: Params, environ: Mapping[str, str]) -> list[str]:
    kind, _, cls = arg.kind.partition(" ") if arg else ("", "", "")
    if "|" in kind:
        return [value.lower() for value in kind.split("|")]
    if kind == "bool":
        return ["true", "false"]
    if kind == "class":
        return [table.name for table in tables()]
    table = _table(command)
    if kind == "field" and table is not None:
        return field_names(table)
    if cls:
        return _asked(cls, ("uuid",), connection, environ)
    if name in ("vm", "host", "on"):
        return _asked("VM" if name == "vm" else "host", ("uuid", "name_label"), connection, environ)
    return _asked(table.api, ("uuid",), connection, environ) if name == "uuid" and table is not None else []


def _asked(cls: str, fields: Sequence[str], connection: Params, environ: Mapping[str, str]) -> list[str]:
    """These fields of all objects of a class; nothing when the server does not tell."""
    from xenet.cli.xe.connect import server_of
    from xenet.client import Client, Unreachable
    from xenet.model.errors import Failure

    server = server_of(connection, environ)
    try:
        with Client.connect(server.address, timeout=PATIENCE).login(server.user, server.password or "") as client:
            records = client.call(f"{cls}.get_all_records").values()
    except (Failure, Unreachable, ValueError, Misuse):
        return []
    return [str(record[field]) for record in records for field in fields if " " not in str(record[field])]
