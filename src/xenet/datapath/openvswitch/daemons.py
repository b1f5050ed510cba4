"""An Open vSwitch of a host's own: ovsdb-server and ovs-vswitchd with all their files in one folder, in the network namespace of the caller.

They outlive the agent that started them, as frames must flow on; who comes next finds them by their pid files, on which each holds a lock for
as long as it lives. So a number in a file is never taken for a process that it does not name any more.
"""

import fcntl
import os
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from xenet.datapath.openvswitch.programs import NoOpenVSwitch, find_programs
from xenet.guests import held

START_S, GRACE_S = 30.0, 5.0
"""Seconds that a program has to start (much: a machine may be slow, and nobody waits for nothing), and a daemon to end before it is killed."""
FIRST = ("nice", "-n", "-10")
"""As ovs-ctl(8) starts them: on a host whose processors are busy with guests, the frames of all wait for these two. Where that is not allowed,
nice(1) says so and starts them all the same."""
_FLOCK = struct.Struct("hhqqi4x")
_FIRST_ROW = '["Open_vSwitch", {"op": "insert", "table": "Open_vSwitch", "row": {"other_config": ["map", [%s]]}}]'
_TSO = '["userspace-tso-enable", "true"]'
"""Without it a guest's TCP moves nothing through the userspace datapath; it counts only when it is there as ovs-vswitchd starts."""


WAIT = "flow-restore-wait"
"""ovs-vswitchd starts with an empty table of flows, in which no guest is locked (ovs-vswitchd.conf.db(5))."""


class Daemons:
    """The two, in a folder. Thread's network namespace: the one that they shall serve."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "db.sock"
        self.control = folder / "vswitchd.ctl"
        self._server, self._switch = folder / "ovsdb-server.pid", folder / "ovs-vswitchd.pid"

    def ensure(self) -> bool:
        """Start what does not run; whether anything had to be. Raises NoOpenVSwitch."""
        missing = [pidfile for pidfile in (self._server, self._switch) if holder(pidfile) is None]
        if self._server in missing:
            self._start_server()
        if self._switch in missing:
            self._start_switch()
        return bool(missing)

    def _start_server(self) -> None:
        programs, database = find_programs(), self.folder / "conf.db"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not database.exists():
            part = database.with_suffix(".part")
            part.unlink(missing_ok=True)
            self._run(programs.ovsdb_tool, "create", str(part), str(programs.schema))
            self._run(programs.ovsdb_tool, "transact", str(part), _FIRST_ROW % _TSO)
            part.rename(database)
        self._daemon(programs.ovsdb_server, str(database), f"--remote=punix:{self.socket}", f"--unixctl={self.folder / 'ovsdb-server.ctl'}")

    def _start_switch(self) -> None:
        """It passes no frame until somebody has put the locks in again and taken this word back."""
        self._run(find_programs().vsctl, f"--db=unix:{self.socket}", "--no-wait", "set", "Open_vSwitch", ".", f"other_config:{WAIT}=true")
        self._daemon(find_programs().vswitchd, f"unix:{self.socket}", f"--unixctl={self.control}")

    def _daemon(self, program: str, *arguments: str) -> None:
        name = Path(program).name
        log = (f"--log-file={self.folder / name}.log", "-vconsole:off", "-vsyslog:off", "-vfile:warn")
        self._run(*FIRST, program, *arguments, f"--pidfile={self.folder / name}.pid", "--no-chdir", "--detach", *log)

    def _run(self, *command: str) -> None:
        """Raises NoOpenVSwitch with what it said."""
        environment = {**os.environ, **self.environment()}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_S, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise NoOpenVSwitch(f"{_name_of(command)} does not start: see {self.folder}") from None
        if done.returncode:
            raise NoOpenVSwitch(f"{_name_of(command)}: {' '.join(done.stderr.split())}")

    def environment(self) -> dict[str, str]:
        """In which Open vSwitch's programs are at home here: they find their libraries, and this database and its bridges. Raises NoOpenVSwitch."""
        folders = dict.fromkeys(("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"), str(self.folder))
        return {**find_programs().environment, **folders}

    def stop(self) -> None:
        """End both, and take their files away. Idempotent."""
        for pidfile in (self._switch, self._server):
            held.end(lambda pidfile=pidfile: [pid] if (pid := holder(pidfile)) else [], GRACE_S)  # type: ignore[misc]
        if self.folder.is_dir():
            for file in self.folder.iterdir():
                file.unlink(missing_ok=True)
            self.folder.rmdir()


def _name_of(command: Sequence[str]) -> str:
    return Path(command[len(FIRST) if command[: len(FIRST)] == FIRST else 0]).name


def holder(pidfile: Path) -> int | None:
    """The process that lives under this pid file, by its lock."""
    try:
        fd = os.open(pidfile, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)))
        return None if kind == fcntl.F_UNLCK else int(pid)
    finally:
        os.close(fd)
