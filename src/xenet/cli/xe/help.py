"""`xe help`: the commands, and what one of them takes, out of the catalog."""

from collections.abc import Iterable
from textwrap import fill

from xenet.cli.xe.catalog import commands, field_names
from xenet.cli.xe.command import Arg, Command
from xenet.cli.xe.grammar import Misuse

USAGE = """Usage: xe COMMAND [name=value ...] [map:key=value ...] [--minimal] [--force] [--multiple]
          [-s SERVER] [-p PORT] [-u USER] [-pw PASSWORD | -pwf FILE] [--nossl] [--debug] [--progress]

Without -s the local socket is used (XENET_SOCKET, else /var/lib/xcp/xapi), as root and without a password;
XENET_URL names another server. XE_EXTRA_ARGS and ~/.xe give further parameters.

For example:
    xe network-create name-label=green
    xe vif-list vm-name-label=vm1 params=device,MAC,network-name-label

    xe help --all       all commands
    xe help COMMAND     what a command takes
"""
_COMMON = ("network", "pif", "vif", "vm", "host")
_WIDTH = 100
_SELECTORS = {
    "vm": "Chooses VMs: vm=<uuid or name-label>, or any field of vm-list as a filter; --multiple for more than one.",
    "host": "Chooses hosts: host=<uuid, hostname or name-label>, or any field of host-list as a filter; --multiple for more than one.",
}
_SAMPLES = {
    "device": "0",
    "vlan": "100",
    "pif-introduce device": "eth1",
    "interface": "xenbr0",
    "name-label": "green",
    "param-name": "other-config",
    "param-key": "colour",
    "class": "vm",
    "host-name": "host2",
    "address": "192.0.2.1",
    "master-address": "192.0.2.1",
    "master-username": "root",
}
_RESTS = {
    "param-add": " colour=green",
    "list": " --minimal",
    "pif-reconfigure-ip": " IP=192.0.2.10 netmask=255.255.255.0",
    "pif-reconfigure-ipv6": " IPv6=2001:db8::10/64",
    "vif-configure-ipv4": " address=192.0.2.10/24",
    "vif-configure-ipv6": " address=2001:db8::10/64",
    "event-wait": " name-label=vm1 power-state=running",
}


def show(words: Iterable[str], *, every: bool, minimal: bool) -> str:
    """The text of `xe help`. Raises Misuse for a command that there is not."""
    known = commands()
    wanted = list(words)
    for name in wanted:
        if name not in known:
            raise Misuse(f"Unknown command: {name}")
    if wanted:
        return "\n".join(explain(known[name]) for name in wanted)
    names = [name for name, command in known.items() if not command.hidden]
    if minimal:
        return ",".join(names) + "\n"
    chosen = names if every else [name for name in names if name.partition("-")[0] in _COMMON and "-param-" not in name]
    title = "All commands" if every else "Common commands"
    return f"{USAGE}\n{title}:\n{_columns(chosen)}"


def explain(command: Command) -> str:
    """What a command does and takes, with an example."""
    required = [_spelled(arg) for arg in command.args if arg.default is None]
    optional = [_spelled(arg) for arg in command.args if arg.default is not None]
    lines = [f"command name    : {command.name}", f"        summary : {command.summary}"]
    lines += [f"reqd params     : {', '.join(required)}", f"optional params : {', '.join([*optional, *command.rest.split()])}"]
    return "\n".join([*lines, *_notes(command), f"        example : {example(command)}"]) + "\n"


def _notes(command: Command) -> list[str]:
    notes = []
    if command.selector:
        notes.append(f"       selector : {_SELECTORS[command.selector]}")
    if command.table is not None and (command.rest or any(arg.kind == "field" for arg in command.args)):
        names = ", ".join(field_names(command.table))
        notes.append(fill(names, _WIDTH, initial_indent="         fields : ", subsequent_indent=" " * 18, break_on_hyphens=False))
    return notes


def example(command: Command) -> str:
    """A command line that could be typed, with made-up values."""
    chosen = [f"{arg.name}={_sample(command, arg)}" for arg in command.args if arg.default is None]
    action = command.name.removeprefix(f"{command.table.name}-") if command.table else command.name
    selector = [f"{command.selector}={command.selector}1"] if command.selector else []
    return " ".join(["xe", command.name, *selector, *chosen]) + _RESTS.get(action, "") + _setting(command)


def _setting(command: Command) -> str:
    """The first thing that a -param-set command can set."""
    if command.table is None or not command.name.endswith("-param-set"):
        return ""
    column = next(column for column in command.table.columns if column.settable)
    return f" {column.name}{':KEY' if column.is_map else ''}=VALUE"


def _sample(command: Command, arg: Arg) -> str:
    choices = arg.kind.split("|")
    if len(choices) > 1:
        return "static" if "Static" in choices else choices[-1].lower()
    if arg.kind == "bytes":
        return "1GiB"
    named = _SAMPLES.get(f"{command.name} {arg.name}") or _SAMPLES.get(arg.name)
    return named or ("UUID" if arg.kind.startswith(("ref", "uuid")) else "VALUE")


def _spelled(arg: Arg) -> str:
    return f"{arg.name}:<key>=<value>" if arg.kind == "map" else arg.name


def _columns(names: list[str]) -> str:
    return fill(" ".join(names), _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False) + "\n"
