"""`xenet plan`, `drift` and `check`: what explains a pool to its users. They ask its server, as any client would, and change nothing."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from xenet.client import Client

Row = dict[str, str]
Connect = Callable[[], AbstractContextManager["Client"]]
DRIFT_COLUMNS = ("host", "class", "name", "field", "wanted", "observed")
"""Of the table; uuids are in the JSON."""


def fail(text: str, status: int = 1) -> NoReturn:
    click.echo(f"xenet: {text}", err=True)
    sys.exit(status)


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which server is asked; the command gets a function that connects and logs in. What a user can mend is one
    line and exit status 1, or 2 where the command is wrong."""

    @click.option("-s", "--server", metavar="URL", help="The server's URL; the user and password are XENET_USER and XENET_PASSWORD.")
    @click.option("--socket", metavar="PATH", help="The server's local socket (DIR/xapi of its --state).")
    @click.option("--name", metavar="LAB", help="The server of this lab.")
    @wraps(command)
    def run(*args: Any, name: str | None, socket: str | None, server: str | None, **options: Any) -> Any:
        from xenet.client import Unreachable
        from xenet.lab.run import LabError, Misnamed
        from xenet.model.errors import Failure
        from xenet.store.base import StoreError

        if sum(given is not None for given in (name, socket, server, options.get("state"))) > 1:
            raise click.UsageError("--name, --socket, --server and --state exclude one another")
        try:
            return command(*args, connect=lambda: _connected(name, socket, server), **options)
        except Failure as error:
            fail(" ".join(error.description))
        except (Misnamed, ValueError) as error:
            fail(str(error), 2)
        except (LabError, StoreError, Unreachable) as error:
            fail(str(error))

    return run


@contextmanager
def _connected(name: str | None, socket: str | None, server: str | None) -> "Iterator[Client]":
    """A session. A refusal is printed while it lasts, since the references in it are looked up."""
    from xenet.client import named
    from xenet.model.errors import Failure

    with _connect(name, socket, server) as client:
        try:
            yield client
        except Failure as error:
            fail(named(" ".join(error.description), client.call))


def _connect(name: str | None, socket: str | None, server: str | None) -> "Client":
    """The server that the options name, else that of XENET_SOCKET or XENET_URL, as `xe` finds it."""
    from xenet.client import Client

    address = server or socket or (_lab_socket(name) if name else "") or os.environ.get("XENET_SOCKET") or os.environ.get("XENET_URL")
    if not address:
        raise click.UsageError("which server? Give --name LAB, --socket PATH or --server URL, or set XENET_SOCKET")
    local = "://" not in address  # where root needs no password
    return Client.connect(address).login(os.environ.get("XENET_USER", "root"), "" if local else os.environ.get("XENET_PASSWORD", ""))


def _lab_socket(name: str) -> str:
    from xenet.lab.run import find_run

    run = find_run(name)
    run.lab()  # says so when there is no such lab
    return str(run.socket)


def _ask_hosts(client: "Client", message: str, missing: list[str]) -> Iterator[Row]:
    """The answers of all hosts in the order of their names; those that cannot answer are added to `missing`."""
    from xenet.model.errors import Failure

    names = {ref: record["name_label"] for ref, record in client.call("host.get_all_records").items()}
    for ref in sorted(names, key=lambda ref: (names[ref], ref)):
        try:
            yield from client.call(message, ref)
        except Failure as error:
            if error.code not in ("HOST_OFFLINE", "CANNOT_CONTACT_HOST"):
                raise
            missing.append(f"{names[ref]}: its agent is not there to answer ({error.code})")


def _say_missing(missing: Iterable[str]) -> None:
    """What a host that cannot answer would do is not known, so the answer is not whole."""
    for line in missing:
        click.echo(f"xenet: {line}", err=True)
    sys.exit(1 if missing else 0)


@click.command()
@asking
def plan(connect: Connect) -> None:
    """Show what the hosts' agents would do now: each step as the equivalent command, its reason, and what it is for.

    An agent mends what it can at once, so what is left for long could not be done, and the plan says why. With
    nothing to do there is no output.

    Example: xenet plan --name lab
    """
    missing: list[str] = []
    with connect() as client:
        host = ""
        for row in _ask_hosts(client, "host.get_plan", missing):
            if row["host"] != host:
                host = row["host"]
                click.echo(f"# {host}")
            click.echo(f"{row['command']}    # {row['reason']}: {row['object']}")
            if row["failure"]:
                click.echo(f"    # when last tried: {row['failure']}")
    _say_missing(missing)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, with uuids.")
@asking
def drift(as_json: bool, connect: Connect) -> None:
    """Show where the hosts are not as the pool wants them, object by object. As wanted: no output (with --json an empty list).

    Example: xenet drift --json
    """
    import json

    missing: list[str] = []
    with connect() as client:
        rows = list(_ask_hosts(client, "host.get_drift", missing))
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        _show_drift(rows)
    _say_missing(missing)


def _show_drift(rows: Iterable[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*DRIFT_COLUMNS)
    for row in rows:
        table.add_row(*(Text(row[name]) for name in DRIFT_COLUMNS))
    Console().print(table)


@click.command()
@click.option("--state", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Read the database of this `serve --state` instead.")
@asking
def check(state: Path | None, connect: Connect) -> None:
    """Show every invariant that the pool's database breaks, each with a command that mends it, where there is a plain one.
    Exit status 1 when there are any.

    With --state the file is read, which needs no running server and changes nothing.

    Example: xenet check --state /var/lib/xenet
    """
    violations = _read_violations(state) if state else _ask_violations(connect)
    for row in violations:
        click.echo(f"{row['text']}    # mend: {row['repair']}" if row["repair"] else row["text"])
    sys.exit(1 if violations else 0)


def _ask_violations(connect: Connect) -> list[Row]:
    with connect() as client:
        found: list[Row] = client.call("pool.get_violations")
        return found


def _read_violations(state: Path) -> list[Row]:
    from xenet.store.copy import read_state
    from xenet.verbs.inspect import check as check_state

    return check_state(read_state(state / "xenet.db"))


COMMANDS = (plan, drift, check)
