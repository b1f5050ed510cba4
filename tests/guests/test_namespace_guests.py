"""Namespaces held by an init process, and guests made of them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenet.guests.base import GuestError
from xenet.guests.namespace import Namespace, NamespaceGuests, find, hostname, spawn
from xenet.plan.view import GuestView

pytestmark = pytest.mark.kernel

VM1 = GuestView(vm="5d3cd2ab-0001-4000-8000-000000000001", domid=1, name="vm1")
VM2 = GuestView(vm="5d3cd2ab-0002-4000-8000-000000000002", domid=2, name="Büro & Lager")


@pytest.fixture
def guests(tmp_path: Path) -> Iterator[NamespaceGuests]:
    made = NamespaceGuests(tmp_path / "guests")
    yield made
    for vm in list(made.observe()):
        made.stop(vm)


def _inside(namespace: Namespace, *command: str) -> str:
    return subprocess.run(["nsenter", "-t", str(namespace.pid), "-n", "-u", *command], check=True, capture_output=True, text=True).stdout


def _found(guests: NamespaceGuests, guest: GuestView) -> Namespace:
    namespace = guests.find(guest.vm)
    assert namespace is not None
    return namespace


def test_a_guest_is_a_namespace_of_its_own_with_lo_up_and_its_name(guests: NamespaceGuests) -> None:
    guests.start(VM1)
    namespace = _found(guests, VM1)
    assert os.stat(f"/proc/{namespace.pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino
    assert _inside(namespace, "hostname") == "vm1\n"
    devices = _inside(namespace, "ip", "-br", "address").splitlines()
    assert len(devices) == 1
    assert "127.0.0.1/8" in devices[0]
    assert b"xenet:vm1" in Path(f"/proc/{namespace.pid}/cmdline").read_bytes(), "ps tells whose it is"


def test_the_init_is_detached_and_holds_nothing_of_its_maker(guests: NamespaceGuests, tmp_path: Path) -> None:
    with (tmp_path / "mine").open("w") as mine:
        os.set_inheritable(mine.fileno(), True)
        guests.start(VM1)
        namespace = _found(guests, VM1)
        open_files = {os.readlink(f.path) for f in os.scandir(f"/proc/{namespace.pid}/fd")}
    assert str(tmp_path / "mine") not in open_files
    assert all(f.startswith("pipe:") or f in {"/dev/null", str(namespace.directory / "init")} for f in open_files)
    assert os.getsid(namespace.pid) == namespace.pid
    assert Path(f"/proc/{namespace.pid}/environ").read_bytes() == b""


def test_the_maker_stays_where_it_is(guests: NamespaceGuests) -> None:
    before = os.stat("/proc/self/ns/net").st_ino, os.uname().nodename
    guests.start(VM1)
    assert (os.stat("/proc/self/ns/net").st_ino, os.uname().nodename) == before
    assert os.stat("/proc/thread-self/ns/net").st_ino == before[0]


def test_observe_says_what_was_started(guests: NamespaceGuests) -> None:
    guests.start(VM1)
    guests.start(VM2)
    assert guests.observe() == {VM1.vm: VM1, VM2.vm: VM2}
    guests.stop(VM1.vm)
    assert guests.observe() == {VM2.vm: VM2}
    assert NamespaceGuests(guests.directory).observe() == {VM2.vm: VM2}, "whoever knows the directory finds it"


def test_stop_ends_every_process_inside_and_is_idempotent(guests: NamespaceGuests) -> None:
    guests.start(VM1)
    namespace = _found(guests, VM1)
    inside = subprocess.Popen(
        ["nsenter", "-t", str(namespace.pid), "-n", "/bin/sh", "-c", "trap '' TERM; echo ready; sleep 60"], stdout=subprocess.PIPE
    )
    assert inside.stdout is not None
    with inside.stdout as out:
        out.readline()
    assert inside.pid in namespace.processes()
    guests.stop(VM1.vm)
    assert not namespace.alive()
    assert namespace.processes() == []
    assert not Path(f"/proc/{namespace.pid}").exists()
    assert not Path(f"/proc/{inside.pid}").exists(), "reaped too: it was ours"
    inside.wait()
    guests.stop(VM1.vm)
    assert list(guests.directory.iterdir()) == []


def test_a_running_guest_is_not_started_twice(guests: NamespaceGuests) -> None:
    guests.start(VM1)
    pid = _found(guests, VM1).pid
    with pytest.raises(GuestError, match="runs already"):
        guests.start(GuestView(vm=VM1.vm, domid=9, name="vm1"))
    assert guests.observe() == {VM1.vm: VM1}
    assert _found(guests, VM1).pid == pid


def test_a_guest_outlives_the_kill_of_its_maker(tmp_path: Path, guests: NamespaceGuests) -> None:
    script = (
        "import os, signal; from pathlib import Path; from xenet.plan.view import GuestView\n"
        "from xenet.guests.namespace import NamespaceGuests\n"
        f"NamespaceGuests(Path({str(guests.directory)!r})).start(GuestView(vm={VM1.vm!r}, domid=1, name='vm1'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    maker = subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert maker.returncode == -signal.SIGKILL
    assert guests.observe() == {VM1.vm: VM1}
    namespace = _found(guests, VM1)
    assert _inside(namespace, "hostname") == "vm1\n"
    guests.stop(VM1.vm)
    assert not namespace.alive()


def test_a_dead_guest_leaves_nothing_and_can_be_started_again(guests: NamespaceGuests) -> None:
    guests.start(VM1)
    dead = _found(guests, VM1)
    os.kill(dead.pid, signal.SIGKILL)
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    assert guests.find(VM1.vm) is None
    assert guests.netns(VM1.vm) is None
    assert guests.observe() == {}
    assert list(guests.directory.iterdir()) == []
    assert not Path(f"/proc/{dead.pid}").exists(), "no zombie"
    guests.start(VM1)
    assert _found(guests, VM1).pid != dead.pid
    with pytest.raises(GuestError):
        dead.fd()


def test_a_dead_guest_can_be_started_without_a_look_in_between(guests: NamespaceGuests) -> None:
    guests.start(VM1)
    os.kill(pid := _found(guests, VM1).pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED)
    guests.start(GuestView(vm=VM1.vm, domid=2, name="vm1"))
    assert guests.observe()[VM1.vm].domid == 2


def test_an_old_file_with_the_pid_of_a_living_process_is_not_taken_for_it(guests: NamespaceGuests) -> None:
    """After a reboot of the machine, run directories on disk name pids that are other processes now."""
    folder = guests.directory / VM1.vm
    folder.mkdir()
    innocent = subprocess.Popen(["sleep", "60"])
    try:
        (folder / "init").write_text(f"{innocent.pid}\n")
        assert guests.find(VM1.vm) is None
        guests.stop(VM1.vm)
        assert innocent.poll() is None
        assert not folder.exists()
    finally:
        innocent.kill()
        innocent.wait()


def test_netns_is_a_descriptor_of_the_guest(guests: NamespaceGuests) -> None:
    guests.start(VM1)
    fd = guests.netns(VM1.vm)
    assert fd is not None
    try:
        assert os.fstat(fd).st_ino == os.stat(f"/proc/{_found(guests, VM1).pid}/ns/net").st_ino
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)
    assert guests.netns("nobody") is None


def test_a_namespace_that_lives_is_not_made_again(tmp_path: Path) -> None:
    namespace = spawn(tmp_path, "sw1")
    try:
        assert find(tmp_path) == namespace
        with pytest.raises(GuestError, match="runs already"):
            spawn(tmp_path, "sw1")
    finally:
        namespace.kill()
    assert find(tmp_path) is None
    namespace.kill()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vm1", "vm1"), ("Büro & Lager", "B-ro-Lager"), ("web.example", "web.example"), ("-", "guest"), ("a" * 80, "a" * 63), ("x\0y", "x-y")],
)
def test_a_name_becomes_a_host_name(name: str, expected: str) -> None:
    assert hostname(name) == expected
