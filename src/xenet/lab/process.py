"""The lab's long-running processes: each has a folder with its pid (a held file), its output and its log."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from xenet.guests import held
from xenet.lab.run import LabError

PID, OUTPUT, LOG = "pid", "output", "log"
BECOME = 'echo $$ >&0; exec "$@" </dev/null'
"""Standard input is the held file, whose lock the program keeps through a second descriptor that it does not know of."""


def start(folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start it in a session of its own, its output and log in the folder. Raises LabError when it runs already."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = held.take(folder / PID)
    except held.Held:
        raise LabError(f"{folder.name} runs already") from None
    try:
        with (folder / OUTPUT).open("wb") as output, (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", BECOME, folder.name, *command],
                stdin=lock,
                stdout=output,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,
                env={**os.environ, **environment},
            )
    finally:
        os.close(lock)
    process.returncode = 0  # Given away: it outlives us, and its end shows in the lock.


def is_running(folder: Path) -> bool:
    return held.is_held(folder / PID)


def stop(folder: Path, grace_s: float = 5.0) -> None:
    """SIGTERM, after the grace SIGKILL; returns when it is gone. Idempotent."""
    stop_all([folder], grace_s)


def stop_all(folders: Sequence[Path], grace_s: float = 5.0) -> None:
    """The same for many, all at once."""
    held.end(lambda: [pid for folder in folders for pid in _family(folder)], grace_s)
    for folder in folders:
        held.let_go(folder / PID)


def _family(folder: Path) -> list[int]:
    """The process and what it started in its session. A child may hold the lock on: then the kernel keeps the number of the session taken, too."""
    leader = held.holder(folder / PID)
    if leader is None:
        return []
    return [pid for name in os.listdir("/proc") if name.isdigit() and _session(pid := int(name)) == leader]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def first_line(folder: Path, timeout_s: float) -> str:
    """What the process says when it is ready. Raises LabError with its last words when it ends or says nothing for so long."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        running = is_running(folder)
        line, end, _ = (folder / OUTPUT).read_text().partition("\n")
        if end:
            return line
        if not running:
            raise LabError(f"{folder.name} ended: {last_words(folder)}")
        time.sleep(0.02)
    raise LabError(f"{folder.name} is not ready after {timeout_s:.0f} s: {last_words(folder)}")


def last_words(folder: Path) -> str:
    """The last line of its log."""
    log = folder / LOG
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"
