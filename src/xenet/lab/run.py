"""Where a lab keeps its things, and which labs there are.

One directory holds all of a lab: $XENET_RUN/NAME, else /run/xenet/labs/NAME for root, else under $XDG_RUNTIME_DIR or
~/.cache for everyone else (root in a user namespace is everyone else). So nothing of a lab can be elsewhere, and what
a crashed one left is found by looking here:

    maker            held by the process that is making, or owns, the lab (see guests/held.py)
    lab.json         what was asked for
    datapath         what its agents were started with
    ready            the server's ready line: the lab is up
    kept             the lab shall stand without its maker
    namespaces/NAME  hosts, switches and machines
    processes/NAME   the server and the agents: pid, output and log
    server, HOST     the state directories of the server and of each agent, its guests in HOST/guests and HOST/machines
"""

import os
import re
from pathlib import Path

import msgspec

from xenet.guests import held, namespace
from xenet.guests.namespace import Namespace
from xenet.lab.topology import Lab

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")


class LabError(Exception):
    """What was asked of a lab cannot be done; the text says why, in one line."""


class Misnamed(LabError):
    """A name that nothing here has, or that nothing can have."""


def base() -> Path:
    """The directory of all labs of this user."""
    if given := os.environ.get("XENET_RUN"):
        return Path(given)
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run/xenet/labs")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime, "xenet", "labs")
    return Path.home() / ".cache" / "xenet" / "labs"


class Run(msgspec.Struct, frozen=True):
    """The directory of one lab."""

    directory: Path

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def maker(self) -> Path:
        return self.directory / "maker"

    @property
    def ready(self) -> Path:
        return self.directory / "ready"

    @property
    def kept(self) -> Path:
        return self.directory / "kept"

    @property
    def datapath(self) -> Path:
        return self.directory / "datapath"

    @property
    def server(self) -> Path:
        return self.directory / "server"

    @property
    def socket(self) -> Path:
        """The server's local socket, where root needs no password."""
        return self.server / "xapi"

    def process(self, name: str) -> Path:
        return self.directory / "processes" / name

    def guests(self, host: str) -> Path:
        return self.directory / host / "guests"

    def machines(self, host: str) -> Path:
        return self.directory / host / "machines"

    def place(self, name: str) -> Path:
        """The directory of a host's, switch's or machine's namespace."""
        return self.directory / "namespaces" / name

    def namespace(self, name: str) -> Namespace:
        """Raises LabError when it is gone."""
        found = namespace.find(self.place(name))
        if found is None:
            raise LabError(f"{name} of lab {self.name} is gone: `xenet lab down --name {self.name}` clears up")
        return found

    def save(self, lab: Lab) -> None:
        (self.directory / "lab.json").write_bytes(msgspec.json.encode(lab))

    def lab(self) -> Lab:
        """What was asked for. Raises Misnamed when there is no such lab."""
        try:
            return msgspec.json.decode((self.directory / "lab.json").read_bytes(), type=Lab)
        except FileNotFoundError:
            raise Misnamed(f"no lab {self.name} here; `xenet lab up --name {self.name}` makes one") from None

    def is_owned(self) -> bool:
        """Whether a process is making it or goes with it."""
        return held.is_held(self.maker)


def find_run(name: str) -> Run:
    """The lab of this name, there or not. Raises Misnamed for what is no name."""
    if not NAME.fullmatch(name):
        raise Misnamed(f"{name!r} is no name for a lab: letters, digits, dots, hyphens and underscores")
    return Run(base() / name)


def all_runs() -> list[Run]:
    """Every lab of this user, whole or in pieces."""
    directory = base()
    return [Run(folder) for folder in sorted(directory.iterdir()) if folder.is_dir()] if directory.is_dir() else []
