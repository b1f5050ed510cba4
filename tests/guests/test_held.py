"""The file that says which process lives."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.world import until
from xenet.guests import held


def _sleeper(lock: int, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sh", "-c", "echo $$; exec sleep 60", *arguments], stdout=lock, stdin=subprocess.DEVNULL)


def test_the_holder_is_the_process_that_inherited_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "init"
    assert held.holder(path) is None
    lock = held.take(path)
    process = _sleeper(lock)
    os.close(lock)
    try:
        assert held.holder(path) == process.pid
        with pytest.raises(held.Held):
            held.take(path)
        assert held.holder(path) == process.pid, "a refused take leaves the file as it was"
    finally:
        process.kill()
        process.wait()
    assert held.holder(path) is None, "the pid still stands in the file, but nobody holds it"
    assert path.read_text().strip() == str(process.pid)


def test_looking_takes_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "init"
    path.touch()
    looker = subprocess.Popen(
        [sys.executable, "-c", f"from pathlib import Path\nfrom xenet.guests import held\nwhile True: held.is_held(Path({str(path)!r}))"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            os.close(held.take(path))
    finally:
        looker.kill()
        looker.wait()


def test_end_terminates_then_kills_and_reaps() -> None:
    stubborn = subprocess.Popen(
        [sys.executable, "-c", "import signal,time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)"],
        stdout=subprocess.PIPE,
    )
    meek = subprocess.Popen(["sleep", "60"])
    assert stubborn.stdout is not None
    with stubborn.stdout as out:
        out.readline()

    def living() -> list[int]:
        return [pid for pid in (stubborn.pid, meek.pid) if Path(f"/proc/{pid}").exists()]

    held.end(living, grace_s=0.2)
    assert living() == [], "ended and reaped"
    # They were reaped by `end`, so nothing is known of how they ended; Popen then says 0.
    assert (stubborn.wait(), meek.wait()) == (0, 0)


def test_what_forks_on_its_way_out_is_ended_too(tmp_path: Path) -> None:
    """A process that starts another one when it is told to stop."""
    mark = f"xenet-test-{os.getpid()}"
    script = f"trap 'sh -c \"read _\" {mark} <>{tmp_path}/fifo & exit' TERM; echo ready; read _ <>{tmp_path}/fifo"
    os.mkfifo(tmp_path / "fifo")
    parent = subprocess.Popen(["/bin/sh", "-c", script, mark], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as out:
        out.readline()

    def marked() -> list[int]:
        return [
            int(p.name)
            for p in Path("/proc").iterdir()
            if p.name.isdigit() and mark.encode() in _cmdline(p).split(b"\0") and int(p.name) != os.getpid()
        ]

    assert marked() == [parent.pid]
    held.end(marked, grace_s=0.5)
    assert marked() == []
    parent.wait()


def test_a_look_that_missed_a_child_is_not_the_last_one() -> None:
    """The list of all processes was made before the parent forked, and its own entry read after it had ended."""
    child = subprocess.Popen(["sleep", "60"])
    looks = iter([[], [child.pid], [child.pid]])
    try:
        held.end(lambda: next(looks, []), grace_s=5)
        assert not Path(f"/proc/{child.pid}").exists()
    finally:
        child.kill()
        child.wait()


def _cmdline(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_reap_lets_go_of_ended_children_of_ours_alone() -> None:
    """What has ended stays a zombie until its own parent lets go of it."""
    with subprocess.Popen(["sh", "-c", "sleep 0 & echo $!; exec sleep 60"], stdout=subprocess.PIPE, text=True) as ours:
        try:
            assert ours.stdout
            others = int(ours.stdout.readline())
            until(lambda: state_of(others) == "Z")
            for pid in (1, others, ours.pid):
                held.reap(pid)
            assert state_of(others) == "Z"
            assert ours.poll() is None
            os.kill(ours.pid, signal.SIGKILL)
            until(lambda: state_of(ours.pid) == "Z")
            held.reap(ours.pid)
            assert state_of(ours.pid) == ""
            held.reap(ours.pid)
        finally:
            ours.kill()


def state_of(pid: int) -> str:
    """As in proc(5), Z for a zombie; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
