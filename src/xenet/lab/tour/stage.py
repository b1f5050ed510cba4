"""What a step of the tour works with: commands that are shown as they are run, packets that are watched, claims that are ticked off."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from xenet.lab import operate
from xenet.lab.build import inside
from xenet.lab.operate import Guest
from xenet.lab.run import LabError, Run
from xenet.lab.topology import Lab

XE = (sys.executable, "-m", "xenet.cli.xe")
SETTLE_S = 0.3
"""How long to keep watching after the last packet was sent, in seconds."""
LISTENS_S = 10.0
"""How long tcpdump may take to begin, in seconds."""


class Lacking(Exception):
    """This kernel cannot show the rest of a step; the text says why, and what to do."""


class CommandFailed(Exception):
    """A command of the tour ended with another status than 0."""


class Watch:
    """Frames seen at one place; `lines` has them as text when the watch is over."""

    def __init__(self) -> None:
        self.lines: list[str] = []


class Stage:
    """A lab, a console, and the tally of what went wrong."""

    def __init__(self, run: Run, lab: Lab, console: Console, on_openvswitch: bool = False) -> None:
        self.on_openvswitch = on_openvswitch
        """Which needs nothing of the kernel but namespaces."""
        self.run = run
        self.lab = lab
        self.console = console
        self.failed: list[str] = []
        self.skipped: list[int] = []
        self._crosses = 0
        self._names: dict[str, str] = {}

    def play(self, number: int, step: Callable[["Stage"], None]) -> None:
        """Run one step; its docstring is its title. What it cannot do is a cross, what the kernel cannot is said, and the tour goes on."""
        title = " ".join((step.__doc__ or "").split())
        self.console.print(f"\n[bold]{number}. {escape(title)}[/]")
        before = self._crosses
        try:
            step(self)
        except Lacking as lack:
            self.console.print(f"  [yellow]skipped: {escape(str(lack))}[/]", soft_wrap=True)
            self.skipped.append(number)
        except (LabError, CommandFailed) as error:
            self.check(str(error), False)
        if self._crosses > before:
            self.failed.append(f"step {number}")

    def needs(self, lack: str) -> None:
        """End the step here where the kernel lacks something. Raises Lacking."""
        if lack and not self.on_openvswitch:
            raise Lacking(lack)

    def check(self, claim: str, holds: bool) -> None:
        """Say it with a tick, or with a cross."""
        self._crosses += not holds
        self.console.print(f"  {'[green]✓[/]' if holds else '[red]✗[/]'} {escape(claim)}", soft_wrap=True)

    def show(self, text: str) -> None:
        """What a command said, without the empty lines between records."""
        for line in filter(str.strip, text.splitlines()):
            self.console.print(f"    [dim]{escape(self._named(line))}[/]", soft_wrap=True)

    def xe(self, *arguments: str) -> str:
        """Run `xe`, shown with names in place of the uuids that were looked up before; what it printed. Raises CommandFailed."""
        self._prompt("", "xe", *(self._named(argument) for argument in arguments))
        return self._xe(arguments)

    def uuid(self, name: str, cls: str, selector: str) -> str:
        """The uuid of the one object that the selector finds, shown as a look-up into the shell variable `name`. Raises CommandFailed."""
        arguments = (f"{cls}-list", selector, "--minimal")
        if name not in self._names.values():
            self._prompt("", f"{name}=$(xe", *(self._named(argument) for argument in arguments[:-1]), "--minimal)")
        found = self._xe(arguments)
        if not found or "," in found:
            raise CommandFailed(f"xe {' '.join(arguments)}: not one but {found or 'none'}")
        return self.called(name, found)

    def make(self, name: str, *arguments: str) -> str:
        """Run an `xe` command that answers with a uuid, shown as an assignment to the shell variable `name`. Raises CommandFailed."""
        self._prompt("", f"{name}=$(xe", *(self._named(argument) for argument in arguments[:-1]), f"{self._named(arguments[-1])})")
        return self.called(name, self._xe(arguments))

    def called(self, name: str, uuid: str) -> str:
        """Show this uuid as the shell variable `name` from here on."""
        self._names[uuid] = name
        return uuid

    def _named(self, text: str) -> str:
        return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", lambda m: f"${self._names[m[0]]}" if m[0] in self._names else m[0], text)

    def prompt(self, *words: str) -> None:
        """A command that a reader would type, shown."""
        self._prompt("", *words)

    def _prompt(self, where: str, *words: str) -> None:
        self.console.print(f"  [bold cyan]{escape(where)}$ {escape(' '.join(words))}[/]", soft_wrap=True)

    def _xe(self, arguments: Sequence[str]) -> str:
        environment = {**os.environ, "XENET_SOCKET": str(self.run.socket)}
        done = subprocess.run([*XE, *arguments], capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            raise CommandFailed(f"xe {' '.join(arguments)}: {' '.join((done.stderr or done.stdout).split())}")
        return done.stdout.strip()

    def within(self, where: str, *command: str) -> str:
        """Run a command inside a host, machine or guest, shown with that prompt; what it printed. Raises CommandFailed."""
        self._prompt(where, *command)
        return self.quietly(where, *command)

    def quietly(self, where: str, *command: str) -> str:
        """The same, not shown."""
        done = subprocess.run(inside(self.pid(where), command), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CommandFailed(f"{where}: {' '.join(command)}: {' '.join(done.stderr.split())}")
        return done.stdout

    def pid(self, where: str) -> int:
        return operate.locate(self.run, self.lab, where).pid

    def links(self, where: str) -> dict[str, dict[str, object]]:
        """The devices there by name, as `ip -json address` has them."""
        return {link["ifname"]: link for link in operate.ip_json(self.pid(where), "address", "show")}

    def guest(self, name: str) -> Guest:
        """Raises LabError when it does not run."""
        for guest in operate.guests(self.run, self.lab):
            if guest.name == name:
                return guest
        raise LabError(f"{name} does not run")

    def ping(self, source: str, address: str, count: int = 1) -> bool:
        """Shown; whether all requests were answered."""
        self._prompt(source, "ping", "-c", str(count), address)
        return operate.ping(operate.locate(self.run, self.lab, source), address, count)

    @contextmanager
    def watch(self, where: str, *only: str) -> Iterator[Watch]:
        """Capture at HOST/DEVICE or GUEST[/N] what the filter (pcap-filter(7)) lets through, from the first line of the block on."""
        watch = Watch()
        command = operate.capture_command(self.run, where, None, only)
        capture = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            _wait_until_listening(capture)
            yield watch
            time.sleep(SETTLE_S)
        finally:
            os.killpg(capture.pid, signal.SIGINT)
            said, _ = capture.communicate()
        watch.lines = [line for line in said.splitlines() if line]


def soon(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether it becomes so within that time; what the kernel does by itself has no reply to wait for."""
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _wait_until_listening(capture: "subprocess.Popen[str]") -> None:
    """tcpdump says `listening on` when it sees every packet from then on. Raises CommandFailed."""
    if capture.stderr is None:
        raise CommandFailed("tcpdump says nothing")
    deadline = time.monotonic() + LISTENS_S
    said = ""
    while "listening on" not in said:
        ready, _, _ = select.select([capture.stderr], [], [], max(deadline - time.monotonic(), 0))
        line = os.read(capture.stderr.fileno(), 4096).decode() if ready else ""
        if not line:
            raise CommandFailed(f"tcpdump: {' '.join(said.split()) or 'it does not begin'}")
        said += line
