"""Network namespaces that a process holds open, and guests made of them.

A namespace made by `ip netns add` lives in a mount under /run/netns, which takes real root, shows in the
machine's own table and outlives a crash with nobody to tell whose it was. Here each has an init process
instead: a shell that waits for ever, with its pid in a file that it keeps locked (see `held`). It works
for any user in a user namespace (`unshare -Urn`), `ps` tells its name, a kill -9 of its maker leaves it
alone, and whoever knows the directory finds it again. Kernel interface: unshare(2), namespaces(7), veth(4).
"""

import ctypes
import fcntl
import os
import re
import shutil
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TypeVar

import msgspec

from xenet.guests import held
from xenet.guests.base import Apart, GuestError
from xenet.plan.view import GuestView

CLONE_NEWUTS, CLONE_NEWNET = 0x04000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
INIT = "init"
"""The file in a namespace's directory with its init's pid and lock."""
WAIT_FOR_EVER = "echo $$; read _"
"""The init: it writes its own pid, so a maker killed right after the fork leaves no nameless process, and reads a pipe that it alone holds."""

T = TypeVar("T")
_GUEST = msgspec.json.Decoder(GuestView)
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace(msgspec.Struct, frozen=True):
    """A network (and host name) namespace by the directory of its init."""

    directory: Path
    pid: int
    """The init's. It stays the init's as long as `alive` says so."""

    def alive(self) -> bool:
        return held.is_held(self.directory / INIT)

    def fd(self) -> int:
        """A descriptor of the network namespace; the caller closes it. Raises GuestError when it is gone."""
        try:
            fd = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise GuestError(f"namespace {self.directory.name}: {error.strerror}") from error
        if not self.alive():
            os.close(fd)
            raise GuestError(f"namespace {self.directory.name} is gone")
        return fd

    def processes(self) -> list[int]:
        """The processes inside, the init among them; never the caller itself."""
        inode = _inode(self.pid) if self.alive() else None
        return [] if inode is None else _inside(inode)

    def kill(self) -> None:
        """End every process inside, then the init; returns when all are gone. The kernel then takes its devices away on its own time."""
        try:
            pin = self.fd()  # As long as it is open, the kernel gives the namespace's number to no other one.
        except GuestError:
            return
        try:
            inode = os.fstat(pin).st_ino
            held.end(lambda: _inside(inode))
        finally:
            os.close(pin)


def _inode(pid: int) -> int | None:
    """The number of a process's network namespace; None when it has ended or is another user's."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def _inside(inode: int) -> list[int]:
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in pids if _inode(pid) == inode and pid != os.getpid()]


def find(directory: Path) -> Namespace | None:
    """The living namespace of this directory, whoever made it."""
    pid = held.holder(directory / INIT)
    return None if pid is None else Namespace(directory, pid)


def spawn(directory: Path, name: str) -> Namespace:
    """A new namespace with `lo` up and `name` as its host name. The directory must exist. Raises GuestError, also when one lives there."""
    try:
        lock = held.take(directory / INIT)
    except held.Held:
        raise GuestError(f"namespace {directory} runs already") from None
    try:
        return Namespace(directory, _in_thread(lambda: _make(lock, directory, name)))
    finally:
        os.close(lock)


def _in_thread(work: Callable[[], T]) -> T:
    """Run it in a thread that ends right after: namespaces belong to threads, so the process stays where it was.

    Interrupted (Ctrl-C), it either has not begun or is finished when the interrupt goes on its way, so the caller's clean-up finds all there is.
    """
    gate, begun = threading.Event(), threading.Event()
    done: Future[T] = Future()

    def run() -> None:
        gate.wait()
        if not begun.is_set():
            return
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - it is raised again where it was waited for
            done.set_exception(error)

    try:
        threading.Thread(target=run).start()
        begun.set()
    finally:
        gate.set()
        if begun.is_set():
            _sit_out(done)
    return done.result()


def _sit_out(done: "Future[T]") -> None:
    """Until it is done, whatever interrupts; then let the interrupt through."""
    interrupt: BaseException | None = None
    while not done.done():
        try:
            wait([done])
        except BaseException as error:  # noqa: BLE001 - raised below
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _make(lock: int, directory: Path, name: str) -> int:
    try:
        _unshare()
        socket.sethostname(hostname(name))
        loopback_up()
        return _start_init(lock, directory, name)
    except OSError as error:
        hint = ": needs root, or `unshare -Urn`" if isinstance(error, PermissionError) else ""
        raise GuestError(f"cannot make the namespace {name}: {error.strerror}{hint}") from error


def _unshare() -> None:
    if _libc.unshare(CLONE_NEWNET | CLONE_NEWUTS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def loopback_up() -> None:
    """Set IFF_UP on `lo` of the calling thread's namespace unless it is set (netdevice(7)). Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
        (flags,) = struct.unpack_from("h", request, 16)
        if not flags & IFF_UP:
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def _start_init(lock: int, directory: Path, name: str) -> int:
    reader, writer = os.pipe()
    try:
        return held.launch(["/bin/sh", "-c", WAIT_FOR_EVER, f"xenet:{hostname(name)}", str(directory)], lock, stdin=reader, pass_fds=[writer])
    finally:
        os.close(reader)
        os.close(writer)


def hostname(name: str) -> str:
    """A VM's name as a host name (RFC 1123): letters, digits, hyphens and dots, at most 63 of them."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)[:63].strip("-.") or "guest"


class NamespaceGuests(Apart):
    """Guests as namespaces: a folder a VM under `directory`, with its init's file and what it was started as (guest.json).

    A guest that moves between two hosts of one machine stays what it is, and its folder is renamed into the other host's directory: so it
    is one host's or the other's at any moment, whoever is killed.
    """

    def __init__(self, directory: Path, others: Callable[[], Iterable[Path]] = tuple) -> None:
        """`others` names the directories of the other hosts on this machine."""
        self.directory = directory
        self._others = others
        directory.mkdir(parents=True, exist_ok=True)

    def observe(self) -> dict[str, GuestView]:
        """The guests that live, by VM uuid. What dead ones left behind is removed."""
        guests = {guest.vm: guest for guest, _ in living(self.directory)}
        for folder in list(self.directory.iterdir()):
            if folder.name not in guests:
                _remove(folder)
        return guests

    def start(self, guest: GuestView) -> None:
        """The very guest where it runs on another host of this machine: it is taken over. Raises GuestError, also when the VM runs here
        already, under whichever domid."""
        folder = self.directory / guest.vm
        if find(folder) is not None:
            raise GuestError(f"guest {guest.name} runs already")
        if self._take(guest):
            return
        folder.mkdir(exist_ok=True)
        (folder / "guest.json").write_bytes(msgspec.json.encode(guest))
        try:
            spawn(folder, guest.name)
        except GuestError:
            _remove(folder)
            raise

    def _take(self, guest: GuestView) -> bool:
        there = next((folder for folder in self._elsewhere(guest.vm) if (view := _view(folder)) and view.domid == guest.domid), None)
        if there is None:
            return False
        _remove(self.directory / guest.vm)
        try:
            there.rename(self.directory / guest.vm)
        except OSError as error:
            raise GuestError(f"guest {guest.name} cannot be taken over from {there}: {error.strerror}") from error
        return True

    def _elsewhere(self, vm_uuid: str) -> Iterator[Path]:
        """The folder in which it lives on another host of this machine, if any."""
        return (directory / vm_uuid for directory in self._others() if find(directory / vm_uuid) is not None)

    def stop(self, vm_uuid: str) -> None:
        """End the guest and everything in it; nothing to do when it does not run."""
        namespace = self.find(vm_uuid)
        if namespace is not None:
            namespace.kill()
        _remove(self.directory / vm_uuid)

    def netns(self, vm_uuid: str) -> int | None:
        """A descriptor of the guest's network namespace, which the caller closes; None when it does not run. A guest that is about to come
        here, or has just gone, is reached on the other host."""
        namespace = self.find(vm_uuid) or next((found for folder in self._elsewhere(vm_uuid) if (found := find(folder))), None)
        try:
            return None if namespace is None else namespace.fd()
        except GuestError:
            return None

    def find(self, vm_uuid: str) -> Namespace | None:
        """The guest's namespace, for those who want to go inside."""
        return find(self.directory / vm_uuid)


def living(directory: Path) -> list[tuple[GuestView, Namespace]]:
    """The guests that live under this directory; for onlookers: what dead ones left is neither named nor removed."""
    found = ((folder, find(folder)) for folder in sorted(directory.iterdir())) if directory.is_dir() else ()
    return [(view, namespace) for folder, namespace in found if namespace is not None and (view := _view(folder))]


def _view(folder: Path) -> GuestView | None:
    """What the guest was started as; None where it has just moved to another host."""
    try:
        return _GUEST.decode((folder / "guest.json").read_bytes())
    except FileNotFoundError:
        return None


def _remove(folder: Path) -> None:
    """A dead guest's folder."""
    held.let_go(folder / INIT)
    shutil.rmtree(folder, ignore_errors=True)
