"""Guests as QEMU processes: real ones, which answer on their taps. Few boots, as each takes 10 s where it is emulated."""

import errno
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.e2e.world import until
from tests.netns import Namespace, namespaces, ping
from tests.tiny import ARGS, BOOTS_WITHIN, ECHO, MEMORY, tiny
from xenet.guests import held
from xenet.guests.base import FileMissing, GuestError
from xenet.guests.machine import CONSOLE
from xenet.guests.qemu import LOCK, QemuGuests
from xenet.plan.view import BootView, GuestView, NICView

pytestmark = pytest.mark.kernel
VM = "5d3cd2ab-0001-4000-8000-000000000001"
ADDRESS, HOST = "10.0.0.1", "10.0.0.254"


def nic(index: int, domid: int = 1) -> NICView:
    return NICView(index, f"tap{domid}.{index}", f"02:00:00:00:00:{index:02x}", f"vif {index}")


def guest(*nics: NICView, args: str = "") -> GuestView:
    made = tiny()
    boot = BootView(str(made.kernel), str(made.ramdisk), f"{ARGS} ip={ADDRESS}/24 {args}", MEMORY, 1)
    return GuestView(VM, 1, "tiny, the first", "qemu", boot, nics)


class Host:
    """A host with taps in a bridge, and its guests: all that they do happens in its namespace."""

    def __init__(self, folder: Path, namespace: Namespace) -> None:
        self.folder = folder
        self.namespace = namespace
        self.other = folder / "other"
        self.guests = namespace(QemuGuests, folder / "host", lambda: [self.other])
        self.there = namespace(QemuGuests, self.other, lambda: [folder / "host"])
        namespace.ip("link", "add", "sw", "type", "bridge", "forward_delay", "0")
        namespace.ip("address", "add", f"{HOST}/24", "dev", "sw")
        namespace.ip("link", "set", "sw", "up")
        for device in ("tap1.0", "tap1.1", "tap2.0", "tap2.1"):
            namespace.ip("tuntap", "add", device, "mode", "tap")
            namespace.ip("link", "set", device, "master", "sw", "up")

    def seen(self) -> GuestView:
        return self.guests.observe()[VM]

    def start(self, view: GuestView) -> None:
        self.namespace(self.guests.start, view)
        until(lambda: "ready" in (self.folder / "host" / VM / CONSOLE).read_text(errors="replace"), BOOTS_WITHIN)

    def close(self) -> None:
        for guests in (self.guests, self.there):
            guests.stop(VM)
            guests.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("a-path-that-is-too-long-for-the-address-of-a-unix-socket" + "-" * 60)
    with namespaces(1) as (namespace,):
        made = Host(folder, namespace)
        try:
            yield made
        finally:
            made.close()


def test_what_it_cannot_start_from_is_named_and_leaves_nothing(host: Host) -> None:
    view = guest(nic(0))
    assert view.boot
    for field, path in (("kernel", "/nowhere/vmlinuz"), ("ramdisk", "/nowhere/initrd"), ("disk", "/nowhere/disk")):
        with pytest.raises(FileMissing, match=f"the {field} {path} is not there") as missing:
            host.guests.start(msgspec.structs.replace(view, boot=msgspec.structs.replace(view.boot, **{field: path})))
        assert missing.value.kind == field
    with pytest.raises(GuestError, match="unsupported machine type"):
        host.guests.start(msgspec.structs.replace(view, boot=msgspec.structs.replace(view.boot, machine="nothing")))
    with pytest.raises(GuestError, match="has ended on its way"):
        host.guests.start(msgspec.structs.replace(view, stage="arrives"))
    assert host.guests.observe() == {}
    assert not (host.folder / "host" / VM).exists()


def test_a_guest_lives(host: Host) -> None:
    """Started, found by another agent, given a second NIC and bereft of it, sent to another host and back, asked to end."""
    view = guest(nic(0), args="counts")
    host.start(view)
    assert host.seen() == view
    assert ping(host.namespace, ADDRESS)
    with pytest.raises(GuestError, match="runs already"):
        host.guests.start(view)
    with closing(QemuGuests(host.folder / "host")) as found:
        assert found.observe() == {VM: view}, "another agent does not know it"
    hot_plug(host, view)
    with closing(host.namespace(socket.create_connection, (ADDRESS, ECHO), 10)) as talk:
        journey(host, view, talk)
    host.guests.halt(VM)
    assert host.seen().stage == "halts"
    until(lambda: host.guests.refresh() == {VM} and not host.guests.observe(), 30)


def hot_plug(host: Host, view: GuestView) -> None:
    host.namespace(host.guests.plug, VM, nic(1))
    assert host.seen().nics == (nic(0), nic(1))
    until(lambda: "LOWER_UP" in host.namespace.ip("link", "show", "tap1.1"))
    with pytest.raises(GuestError, match=r"QEMU: .*tap1\.1"):
        host.guests.plug(VM, nic(1))
    until(lambda: unplugged(host), 30)
    assert host.seen() == view
    host.namespace(host.guests.plug, VM, nic(1))
    until(lambda: unplugged(host), 30)


def unplugged(host: Host) -> bool:
    """A guest that has just got a NIC may not let go of it yet."""
    try:
        host.guests.unplug(VM, nic(1))
    except GuestError as error:
        assert "does not let go" in str(error)
        return False
    return True


def journey(host: Host, view: GuestView, talk: socket.socket) -> None:
    """To the other host, where its tap is another; a connection lives on."""
    awaited = msgspec.structs.replace(view, nics=(nic(0, 2),), stage="awaits", journey=2)
    host.namespace(host.there.start, awaited)
    assert host.there.observe()[VM] == awaited
    counts_on(host.folder / "host")
    host.there.stop(VM)
    counts_on(host.folder / "host")
    host.namespace(host.there.start, awaited)
    goes = msgspec.structs.replace(view, stage="goes", journey=2)
    assert exchanged(talk, b"before")
    host.guests.send(goes)
    until(lambda: host.there.refresh() and host.there.observe()[VM].stage == "runs")
    until(lambda: host.guests.refresh() and host.seen().stage == "gone")
    assert host.there.announce(VM)
    assert exchanged(talk, b"after")
    since, paused = host.guests.stood_still(VM)
    assert 0 < time.time_ns() - since < 60_000_000_000
    assert paused > 0
    counts_on(host.other)
    taken_back(host, view, talk)
    words = (host.folder / "host" / VM / CONSOLE).read_bytes()
    assert b"ready" in words
    until(lambda: len((host.folder / "host" / VM / CONSOLE).read_bytes()) > len(words))


def counts_on(machines: Path) -> None:
    """Its console there has all that it ever said, and is said more."""
    before = counted(machines)
    until(lambda: counted(machines)[len(before) + 1 :])
    assert counted(machines)[: len(before) + 2] == list(range(1, len(before) + 3))


def counted(machines: Path) -> list[int]:
    """The whole lines since it was ready, but for those of its kernel's."""
    _, _, words = (machines / VM / CONSOLE).read_bytes().partition(b"ready\r\n")
    return [int(word) for word in words.split(b"\r\n")[:-1] if word.isdigit()]


def taken_back(host: Host, view: GuestView, talk: socket.socket) -> None:
    """It goes on where it was, and the other one is no more."""
    host.guests.keep(msgspec.structs.replace(view, stage="held"))
    with pytest.raises(GuestError, match="has been handed over"):
        host.guests.keep(msgspec.structs.replace(view, stage="stays"))
    assert host.seen().stage == "gone"
    host.guests.keep(view)
    assert host.seen() == view
    assert host.there.observe() == {}
    assert host.guests.announce(VM)
    assert ping(host.namespace, ADDRESS)


def exchanged(talk: socket.socket, word: bytes) -> bool:
    talk.settimeout(20)
    talk.sendall(word)
    return talk.recv(100) == word


def test_a_journey_that_fails_says_so_and_is_not_begun_again(host: Host) -> None:
    """The one that awaits it is killed in between: it never stops here. Sent again on the same journey it fails at once; on another it goes."""
    view = guest(nic(0), args="deaf")
    host.namespace(host.guests.start, view)
    goes = msgspec.structs.replace(view, stage="goes", journey=5)
    with pytest.raises(GuestError, match="is awaited nowhere"):
        host.guests.send(goes)
    host.namespace(host.there.start, msgspec.structs.replace(view, nics=(nic(0, 2),), stage="awaits", journey=5))
    pid = held.holder(host.other / VM / LOCK)
    assert pid
    os.kill(pid, signal.SIGSTOP)
    host.guests.send(goes)
    assert host.seen().stage == "going"
    os.kill(pid, signal.SIGKILL)
    until(lambda: host.guests.refresh() and host.seen().stage == "runs")
    with pytest.raises(GuestError, match="could not be sent"):
        host.guests.send(goes)
    until(lambda: host.there.observe() == {})
    host.namespace(host.there.start, msgspec.structs.replace(view, nics=(nic(0, 2),), stage="awaits", journey=6))
    host.guests.send(msgspec.structs.replace(goes, journey=6))
    until(lambda: host.there.refresh() and host.there.observe()[VM].stage == "runs")


def test_one_that_is_called_back_in_time_stays(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where the other host's folder is on another file system, what it has said by then is there nevertheless."""
    view = guest(nic(0), args="deaf")
    for guests in (host.guests, host.there):
        guests.stop(VM)
    host.namespace(host.guests.start, view)
    with (host.folder / "host" / VM / CONSOLE).open("ab") as console:
        console.write(b"said before")
    monkeypatch.setattr(Path, "hardlink_to", across_file_systems)
    host.namespace(host.there.start, msgspec.structs.replace(view, nics=(nic(0, 2),), stage="awaits", journey=6))
    assert b"said before" in (host.other / VM / CONSOLE).read_bytes()
    pid = held.holder(host.other / VM / LOCK)
    assert pid
    os.kill(pid, signal.SIGSTOP)
    host.guests.send(msgspec.structs.replace(view, stage="goes", journey=6))
    assert host.seen().stage == "going"
    host.guests.keep(msgspec.structs.replace(view, stage="stays"))
    assert host.seen() == view
    os.kill(pid, signal.SIGCONT)
    until(lambda: host.there.observe() == {})
    assert b"said before" in (host.folder / "host" / VM / CONSOLE).read_bytes()


def across_file_systems(path: Path, target: Path) -> None:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def test_one_that_wrote_to_its_disk_elsewhere_starts_anew(host: Host) -> None:
    disk = host.folder / "disk"
    disk.write_bytes(bytes(1 << 20))
    view = guest(nic(0), args="deaf")
    assert view.boot
    for guests in (host.guests, host.there):
        guests.stop(VM)
    view = msgspec.structs.replace(view, boot=msgspec.structs.replace(view.boot, disk=str(disk)))
    host.namespace(host.guests.start, view)
    before = held.holder(host.folder / "host" / VM / LOCK)
    host.namespace(host.there.start, msgspec.structs.replace(view, nics=(nic(0, 2),), stage="awaits", journey=7))
    host.guests.send(msgspec.structs.replace(view, stage="goes", journey=7))
    until(lambda: host.guests.refresh() and host.seen().stage == "gone")
    host.namespace(host.guests.keep, view)
    assert host.there.observe() == {}
    assert host.seen() == view
    assert held.holder(host.folder / "host" / VM / LOCK) not in (before, None)


def test_its_end_is_news(host: Host) -> None:
    """Of the one that was started last."""
    pid = held.holder(host.folder / "host" / VM / LOCK)
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: VM in host.guests.refresh())
    until(lambda: host.guests.observe() == {})
    assert not (host.folder / "host" / VM).exists()
