"""Running a command of the catalog: reading its arguments, sending its message, printing its result."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from xenet.cli.xe.command import Arg, Command
from xenet.cli.xe.context import NULL, Context
from xenet.cli.xe.fields import Table
from xenet.cli.xe.filters import select_hosts, select_vms
from xenet.cli.xe.grammar import NEVER_FILTERS, MissingParameter, Misuse, Params, boolean, integer, listed, one_of, size
from xenet.cli.xe.records import Row
from xenet.cli.xe.tables import find_table
from xenet.model.errors import Failure


class Reported(Exception):
    """Some of several objects failed; each refusal has been printed."""


def execute(ctx: Context, command: Command) -> None:
    """Run a command whose required parameters are there. Raises Misuse, Failure, Reported."""
    if command.table is not None:
        _function(command)(ctx, command.table)
    elif command.selector:
        _on_selected(ctx, command)
    elif command.run:
        _function(command)(ctx, arguments(ctx, command))
    else:
        values = arguments(ctx, command)
        _print_result(ctx, command.result, ctx.call(command.send, *values.values()))


def _function(command: Command) -> Callable[..., None]:
    module, _, name = command.run.partition(".")
    function: Callable[..., None] = getattr(import_module(f"xenet.cli.xe.{module}"), name)
    return function


def arguments(ctx: Context, command: Command) -> dict[str, Any]:
    """The values of a command's arguments by name, in their order. Raises Misuse, Failure (UUID_INVALID)."""
    return {arg.name: _value(ctx, arg) for arg in command.args}


def unknown_parameters(params: Params, command: Command) -> list[str]:
    """The parameters that mean nothing to the command; XenServer's `xe` passes over them without a word."""
    if command.rest or command.selector:
        return []
    known = {arg.name.lower() if arg.any_case else arg.name for arg in command.args} | NEVER_FILTERS
    maps = {arg.name for arg in command.args if arg.kind == "map"} | {"database"}
    any_case = {arg.name.lower() for arg in command.args if arg.any_case}
    return [
        name
        for name, _ in params.pairs
        if name not in known and name.lower() not in any_case and not (":" in name and name.partition(":")[0] in maps)
    ]


def require(params: Params, command: Command) -> None:
    """Raises MissingParameter."""
    for arg in command.args:
        if arg.default is None and _given(params, arg) is None:
            raise MissingParameter(arg.name)


def _given(params: Params, arg: Arg) -> str | None:
    if arg.any_case:
        return next((value for name, value in reversed(params.pairs) if name.lower() == arg.name.lower()), None)
    return params.get(arg.name) if arg.name in params else None


def _value(ctx: Context, arg: Arg) -> Any:
    if arg.kind == "map":
        return ctx.params.map(arg.name)
    given = _given(ctx.params, arg)
    return _parsed(ctx, arg, (arg.default or "") if given is None else given)


def _parsed(ctx: Context, arg: Arg, text: str) -> Any:
    kind, _, cls = arg.kind.partition(" ")
    match kind:
        case "int":
            return integer(arg.name, text)
        case "bytes":
            return size(arg.name, text)
        case "bool":
            return boolean(arg.name, text)
        case "ref":
            return ctx.ref(cls, text) if text else NULL
        case "refs":
            return [ctx.ref(cls, uuid) for uuid in listed(text)]
        case _ if "|" in kind:
            return _choice(arg, text or arg.default or "")
    return text


def _choice(arg: Arg, text: str) -> str:
    try:
        return one_of(arg.kind.split("|"), text)
    except Misuse as misuse:
        raise Misuse(arg.wrong.format(text)) if arg.wrong else misuse from None


def _on_selected(ctx: Context, command: Command) -> None:
    """Run a command on the VMs or hosts that were chosen: on each of them, even when one before it is refused."""
    values = arguments(ctx, command)
    act = _function(command) if command.run else _send_for(command)
    _on_each(ctx, selected(ctx, command), lambda row: act(ctx, row, values))


def _send_for(command: Command) -> Callable[..., None]:
    def send(ctx: Context, row: Row, values: dict[str, Any]) -> None:
        _print_result(ctx, command.result, ctx.call(command.send, row.ref, *values.values()))

    return send


def selected(ctx: Context, command: Command) -> list[Row]:
    """The records that the selector of a command chooses. Raises Misuse, Failure."""
    own = [f"{arg.name}:" if arg.kind == "map" else arg.name for arg in command.args]
    choose = select_vms if command.selector == "vm" else select_hosts
    return choose(ctx.call, _table(command.selector), ctx.params, own)


def _table(name: str) -> Table:
    table = find_table(name)
    if table is None:
        raise Misuse(f"Unknown class '{name}'")
    return table


def _on_each(ctx: Context, rows: list[Row], act: Callable[[Row], None]) -> None:
    if len(rows) == 1:
        act(rows[0])
        return
    refused = 0
    for row in rows:
        try:
            act(row)
        except Failure as failure:
            from xenet.cli.xe.errors import describe

            refused += 1
            ctx.stderr.write(f"{row.record.get('name_label') or row.record['uuid']}:\n{describe(failure, ctx.call)}")
    if refused:
        raise Reported(f"{refused} of {len(rows)} failed")


def _print_result(ctx: Context, result: str, value: Any) -> None:
    if not result:
        return
    items = value if isinstance(value, list) else [value]
    if result != "text":
        items = [_uuid_of(ctx, result, ref) for ref in items]
    ctx.out.values([str(item).lower() if isinstance(item, bool) else str(item) for item in items])


def _uuid_of(ctx: Context, result: str, ref: str) -> str:
    """`result` is CLASS, or CLASS.FIELD>CLASS for the uuid of what a field of the new object refers to."""
    source, _, target = result.partition(">")
    if not target:
        return ctx.uuid(source, ref)
    cls, _, field = source.partition(".")
    return ctx.uuid(target, ctx.call(f"{cls}.get_{field}", ref))
