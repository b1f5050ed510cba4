"""A file that says which process lives: the process's id stands in it, and the process holds its lock.

The lock (an open file description lock, fcntl(2)) belongs to an open file that the process inherited, so the
kernel gives it back when the process ends, however it ends. Hence a pid read from a locked file is that
process's and never a later one's that happens to have the same number: no start times to compare, nothing to
clean before it is safe to look. To look takes no lock (F_OFD_GETLK), so it is never in a starter's way.
"""

import fcntl
import os
import select
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

STARTING_S = 10.0
"""How long a locked file may stand empty: the time from a process's birth to its first written line."""
FLOCK = "hhqqi"
"""struct flock: type, whence, start, length (0: to the end of the file), pid."""


class Held(Exception):
    """The file is locked: its process lives."""


def take(path: Path) -> int:
    """Lock the file, made or emptied; the descriptor is handed to the process that shall hold it. Raises Held."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _whole_file())
    except BlockingIOError:
        os.close(fd)
        raise Held(str(path)) from None
    os.ftruncate(fd, 0)
    return fd


def launch(
    argv: Sequence[str],
    lock: int,
    *,
    stdin: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    cwd: str | Path = "/",
    env: Mapping[str, str] | None = None,
) -> int:
    """Start the process that holds the lock from now on, as its standard output, in a session of its own; its pid. It must write that there
    itself, as a line. Raises OSError."""
    process = subprocess.Popen(argv, stdin=stdin, stdout=lock, stderr=stderr, pass_fds=pass_fds, start_new_session=True, cwd=cwd, env=env or {})
    process.returncode = 0  # Given away: its end shows in the lock, and Popen would poll every guest ever started at each new process.
    return process.pid


def holder(path: Path) -> int | None:
    """The pid of the process that holds the file; None when none does, or when there is no such file."""
    deadline = time.monotonic() + STARTING_S
    while is_held(path):
        text = _read(path)
        if text.endswith("\n"):
            return int(text)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.001)
    return None


def let_go(path: Path) -> None:
    """Reap the process that the file names if it was a child of ours and has ended: nobody else waits for it."""
    if not is_held(path) and (text := _read(path)).endswith("\n"):
        reap(int(text))


def is_held(path: Path) -> bool:
    """Whether a process holds the file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _whole_file())
    finally:
        os.close(fd)
    (kind, *_) = struct.unpack(FLOCK, answer)
    return bool(kind != fcntl.F_UNLCK)


def _whole_file() -> bytes:
    return struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def end(find: Callable[[], Iterable[int]], grace_s: float = 1.0) -> None:
    """End the processes that `find` names: SIGTERM, after `grace_s` seconds SIGKILL; returns when it names none any more.

    `find` is asked again after every signal, since processes fork; and once more when it names none, since it may have looked
    for the children first and for the parent last, which forked and ended in between. What it names is pinned
    (pidfd_open(2)) and asked for once more before it is signalled, so that no other process with the same number is ever hit.
    """
    deadline = time.monotonic() + grace_s
    while pids := set(find()) or set(find()):
        pinned = _pinned(pids)
        try:
            still = set(find())
            late = time.monotonic() >= deadline
            for pid, fd in pinned.items():
                if pid in still:
                    _signal(fd, signal.SIGKILL if late else signal.SIGTERM)
            _wait_for(pinned, max(deadline - time.monotonic(), 0.05))
        finally:
            for fd in pinned.values():
                os.close(fd)


def _pinned(pids: Iterable[int]) -> dict[int, int]:
    pinned = {}
    for pid in pids:
        try:
            pinned[pid] = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
    return pinned


def _signal(pidfd: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def _wait_for(pinned: dict[int, int], seconds: float) -> None:
    """Until all have ended, at most so long. Children of our own are reaped: a pid that nobody waits for stays taken."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    for fd in pinned.values():
        poll.register(fd, select.POLLIN)
    left = {fd: pid for pid, fd in pinned.items()}
    while left and (wait := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(wait * 1000):
            poll.unregister(fd)
            reap(left.pop(fd))


def reap(pid: int) -> None:
    """Let go of an ended process if it is a child of ours."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
