"""`xe`: from a command line to an exit status.

0 done; 1 refused, failed or not understood, with the reason on standard error (XenServer's `xe` knows no other status).
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from xenet.cli.xe.grammar import CommandLine, MissingParameter, Misuse, Params, parse

if TYPE_CHECKING:
    from xenet.cli.xe.command import Command
    from xenet.cli.xe.connect import Server

INTERRUPTED = 130
"""128 + SIGINT, as a shell counts."""


def main() -> int:
    """The entry point of the program."""
    try:
        return run(sys.argv[1:], os.environ, sys.stdin, sys.stdout, sys.stderr)
    except BrokenPipeError:
        # Whoever read the output has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def run(arguments: Sequence[str], environ: Mapping[str, str], stdin: TextIO, stdout: TextIO, stderr: TextIO) -> int:
    """Run one command line; returns the exit status."""
    if arguments[:2] == ["complete", "--"]:
        from xenet.cli.xe.complete import candidates

        stdout.write("".join(f"{word}\n" for word in candidates(arguments[2:], environ)))
        return 0
    try:
        line = parse(arguments, environ.get("XE_EXTRA_ARGS", ""), _rc(environ))
        _dispatch(line, environ, stdin, stdout, stderr)
        stdout.flush()
    except UnknownCommand as unknown:
        stderr.write(f"Unknown command: {unknown}\nFor usage run: 'xe help'\n")
        return 1
    except Misuse as misuse:
        stderr.write(f"Error: {misuse}\n")
        return 1
    except Refused:
        return 1
    return 0


def _dispatch(line: CommandLine, environ: Mapping[str, str], stdin: TextIO, stdout: TextIO, stderr: TextIO) -> None:
    if line.command in ("", "help") or "help" in line.params:
        _help(line, stdout)
        return
    try:
        _run_command(line, environ, stdin, stdout, stderr)
    except MissingParameter as missing:
        stderr.write(f"Required parameter not found: {missing}\nFor usage run: 'xe help {line.command}'\n")
        raise Refused from missing


class UnknownCommand(Misuse):
    """There is no such command."""


class Refused(Exception):
    """Nothing was done, or not all of it, and the reason has been printed."""


def _rc(environ: Mapping[str, str]) -> str:
    """The text of ~/.xe; nothing where it cannot be read."""
    try:
        with open(f"{environ.get('HOME', '')}/.xe", encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return ""


def _help(line: CommandLine, stdout: TextIO) -> None:
    from xenet.cli.xe.help import show

    words = line.words if line.command in ("", "help") else (line.command,)
    stdout.write(show(words, every=line.params.flag("all"), minimal=line.params.flag("minimal")))


def find_command(name: str) -> "Command":
    """Raises UnknownCommand."""
    from xenet.cli.xe.catalog import commands

    command = commands().get(name)
    if command is None:
        raise UnknownCommand(name)
    return command


def _run_command(line: CommandLine, environ: Mapping[str, str], stdin: TextIO, stdout: TextIO, stderr: TextIO) -> None:
    from xenet.cli.xe.connect import server_of
    from xenet.cli.xe.context import Context
    from xenet.cli.xe.execute import execute, require, unknown_parameters
    from xenet.cli.xe.output import Printer

    if line.words:
        raise Misuse(f"'{line.words[0]}' is neither name=value nor --name")
    command = find_command(line.command)
    require(line.params, command)
    for name in unknown_parameters(line.params, command):
        stderr.write(f"Warning: {command.name} has no parameter '{name}'; it means nothing here\n")
    server = server_of(line.connection, environ)
    with _session(server, _password(server, stdin), command.local, line.connection, stderr) as call:
        execute(Context(line.params, call, Printer(stdout, minimal=line.params.flag("minimal")), stdin, stderr), command)


def _password(server: "Server", stdin: TextIO) -> str:
    """The password that was given, or typed by somebody who can be asked. Over the local socket none is needed."""
    from xenet.cli.xe.connect import ask_password

    if server.password is not None:
        return server.password
    return ask_password(server) if not server.is_local and stdin.isatty() else ""


@contextmanager
def _session(server: "Server", password: str, local: bool, connection: Params, stderr: TextIO) -> Iterator[Callable[..., Any]]:
    """A session's call; refusals are printed while it lasts, since their references are looked up in it. Raises Refused."""
    from xenet.cli.xe.connect import open_session
    from xenet.cli.xe.errors import describe
    from xenet.cli.xe.execute import Reported
    from xenet.client import Unreachable
    from xenet.model.errors import Failure

    try:
        with open_session(server, password, local=local) as client:
            call = _traced(client.call, stderr) if connection.flag("debug") else client.call
            if connection.flag("--progress"):
                from xenet.cli.xe.progress import with_progress

                call = with_progress(call, stderr)
            try:
                yield call
            except Failure as failure:
                stderr.write(describe(failure, call))
                raise Refused from failure
    except Failure as failure:
        stderr.write(describe(failure))
        raise Refused from failure
    except Reported as several:
        stderr.write(f"{several}\n")
        raise Refused from several
    except Unreachable as error:
        hint = "; name a server with -s, XENET_URL or XENET_SOCKET" if server.is_local else ""
        stderr.write(f"Error: {error}{hint}\n")
        raise Refused from error


def _traced(call: Callable[..., Any], stderr: TextIO) -> Callable[..., Any]:
    """--debug: each message and what it took, on standard error; its parameters may be secrets and are not shown."""
    from time import perf_counter

    def traced(method: str, *params: Any) -> Any:
        start = perf_counter()
        try:
            return call(method, *params)
        finally:
            stderr.write(f"{method} {(perf_counter() - start) * 1e3:.1f} ms\n")

    return traced
