"""Guests as QEMU processes: a folder a VM, with the process's id and lock (see `held`), what it was started as (guest.json), its monitors, and
what it says on its serial console, from its boot on if it was in this pool and on this machine then. QEMU runs in the folder, in the agent's network
namespace, and outlives the agent.

A guest that moves is two processes for a while, one on each host; each knows by QEMU's protocol whether it has the guest (see `journey`).
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from xenet.guests import held
from xenet.guests.accel import environment, find_accel
from xenet.guests.base import GuestError, check_start
from xenet.guests.journey import ANNOUNCED, begin, call_back, reached, stage_of, why_failed
from xenet.guests.machine import CONSOLE, EVENTS, MONITOR, arguments, check_files, slot_of
from xenet.guests.news import News
from xenet.guests.qmp import QMP
from xenet.plan.view import GuestView, NICView

LOCK, WORDS, GUEST, SENT, HALTING = "pid", "words", "guest.json", "sent", "halting"
"""The files in a guest's folder: its process's lock; what QEMU complains of; what it was started as, with the NICs that it got since; the journey
on which it was last sent; there while it was asked to end."""
STARTS_WITHIN, LETS_GO_WITHIN, ENDS_WITHIN = 15.0, 2.0, 1.0
"""Seconds: from QEMU's start to its monitor; for a guest to let go of a NIC; from the end of its monitor to its own."""
_GUEST = msgspec.json.Decoder(GuestView)


class QemuGuests:
    """The guests under `directory`."""

    def __init__(self, directory: Path, others: Callable[[], Iterable[Path]] = tuple) -> None:
        """`others` names the directories of the other hosts on this machine."""
        self.directory = directory
        self._others = others
        self._news = News()
        self._seen: dict[str, GuestView] = {}
        """As each was when it was last asked; news of it, and what is done to it, let that be forgotten."""
        self._paused: dict[str, int] = {}
        directory.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Let go of the monitors; the guests live on."""
        self._news.close()

    # --- looking -----------------------------------------------------------------------------------

    def observe(self) -> dict[str, GuestView]:
        """The guests that live, by VM uuid. What dead ones left behind is removed."""
        guests = {}
        for folder in [path for path in self.directory.iterdir() if path.is_dir()]:
            if (view := self._look(folder)) is not None:
                guests[view.vm] = view
            elif not held.is_held(folder / LOCK):
                self._forget(folder)
        return guests

    def _look(self, folder: Path) -> GuestView | None:
        view = read(folder)
        if view is None or held.holder(folder / LOCK) is None:
            return None
        self._news.listen(view.vm, folder / EVENTS)
        if view.vm not in self._seen:
            self._seen[view.vm] = self._ask(folder, view)
        return self._seen[view.vm]

    def _ask(self, folder: Path, view: GuestView) -> GuestView:
        """One that does not answer is taken for what it was started as."""
        with suppress(GuestError), QMP(folder / MONITOR) as qmp:
            status, copy = qmp.run("query-status")["status"], qmp.run("query-migrate")
            devices = {item["name"] for item in qmp.run("qom-list", path="/machine/peripheral")}
            if "downtime" in copy:
                self._paused[view.vm] = copy["downtime"]
            nics = tuple(nic for nic in view.nics if nic.device in devices)
            return msgspec.structs.replace(view, nics=nics, stage=stage_of(status, copy, (folder / HALTING).exists()))
        return view

    def netns(self, vm_uuid: str) -> int | None:
        """None: its NICs are its own."""
        return None

    def fileno(self) -> int:
        return self._news.fileno()

    def refresh(self) -> set[str]:
        """One that comes runs as soon as it says so: to ask takes some milliseconds, which are lost to who waits for it."""
        news = self._news.refresh()
        for vm in news:
            seen = self._seen.pop(vm, None)
            if seen and seen.stage == "awaits" and vm in self._news.resumed:
                self._seen[vm] = msgspec.structs.replace(seen, stage="runs")
            if not self._news.hears(vm):
                _see_out(self.directory / vm)
        return news

    def stood_still(self, vm_uuid: str) -> tuple[int, int]:
        return self._news.stopped.get(vm_uuid, 0), self._paused.get(vm_uuid, 0)

    # --- starting and ending -----------------------------------------------------------------------

    def start(self, guest: GuestView) -> None:
        """Raises GuestError; then nothing of it is left. It returns when QEMU answers, and awaits the guest where it is sent one."""
        folder = self.directory / guest.vm
        if held.is_held(folder / LOCK):
            raise GuestError(f"guest {guest.name} runs already")
        check_start(guest)
        check_files(guest)
        self._forget(folder)
        folder.mkdir()
        try:
            self._write(folder, guest)
            if guest.stage == "awaits":
                self._share_console(folder)
            self._launch(folder, guest)
            self._news.listen(guest.vm, folder / EVENTS)
        except (GuestError, OSError) as error:
            self.stop(guest.vm)
            raise GuestError(f"guest {guest.name} does not start: {error}") from error

    def _launch(self, folder: Path, guest: GuestView) -> None:
        """The shell writes its own pid and becomes QEMU."""
        lock = held.take(folder / LOCK)
        argv = ["/bin/sh", "-c", 'echo $$; exec "$@"', "sh", *arguments(guest, find_accel(self.directory / "accel"))]
        with open(lock, "wb") as out, (folder / WORDS).open("wb") as words:
            held.launch(argv, out.fileno(), stderr=words.fileno(), cwd=folder, env=environment())
        until = time.monotonic() + STARTS_WITHIN
        while not (folder / EVENTS).exists() or not _answers(folder):
            if not held.is_held(folder / LOCK):
                raise GuestError(_last_words(folder))
            if time.monotonic() > until:
                raise GuestError(f"QEMU does not answer: {_last_words(folder)}")
            time.sleep(0.005)

    def _share_console(self, folder: Path) -> None:
        """One file under both folders, where the guest comes from another host of this machine: all that it has said stands here, and what it says
        until it comes, in order; its end in either folder leaves the other's. On another file system it is what it has said by now."""
        there = next(self._elsewhere(folder.name), None)
        if there is None:
            return
        with suppress(OSError):  # it moves all the same
            try:
                (folder / CONSOLE).hardlink_to(there / CONSOLE)
            except OSError:
                shutil.copyfile(there / CONSOLE, folder / CONSOLE)

    def stop(self, vm_uuid: str) -> None:
        """End it; nothing to do when it does not run."""
        folder = self.directory / vm_uuid
        end(folder)
        self._forget(folder)

    def _forget(self, folder: Path) -> None:
        """A dead guest's folder."""
        self._seen.pop(folder.name, None)
        held.let_go(folder / LOCK)
        shutil.rmtree(folder, ignore_errors=True)

    def halt(self, vm_uuid: str) -> None:
        with self._changing(vm_uuid) as qmp:
            qmp.run("system_powerdown")
            (self.directory / vm_uuid / HALTING).touch()

    # --- its NICs ----------------------------------------------------------------------------------

    def plug(self, vm_uuid: str, nic: NICView) -> None:
        with self._changing(vm_uuid) as qmp:
            qmp.run("netdev_add", type="tap", id=nic.device, ifname=nic.device, script="no", downscript="no")
            try:
                qmp.run("device_add", driver="virtio-net-pci", id=nic.device, netdev=nic.device, mac=nic.mac, addr=slot_of(nic), romfile="")
            except GuestError:
                qmp.run("netdev_del", id=nic.device)
                raise
            self._note_nics(vm_uuid, lambda nics: tuple(sorted({*nics, nic})))

    def unplug(self, vm_uuid: str, nic: NICView) -> None:
        with self._changing(vm_uuid) as qmp:
            with suppress(GuestError):  # it was asked before, and may be about to
                qmp.run("device_del", id=nic.device)
            if nic.device in {item["name"] for item in qmp.run("qom-list", path="/machine/peripheral")}:
                qmp.wait_for("DEVICE_DELETED", LETS_GO_WITHIN, device=nic.device)
            if nic.device in {item["name"] for item in qmp.run("qom-list", path="/machine/peripheral")}:
                raise GuestError(f"the guest does not let go of its NIC {nic.index}")
            qmp.run("netdev_del", id=nic.device)
            self._note_nics(vm_uuid, lambda nics: tuple(other for other in nics if other.device != nic.device))

    def _note_nics(self, vm_uuid: str, change: Callable[[tuple[NICView, ...]], tuple[NICView, ...]]) -> None:
        folder = self.directory / vm_uuid
        if view := read(folder):
            self._write(folder, msgspec.structs.replace(view, nics=change(view.nics)))

    # --- its journeys ------------------------------------------------------------------------------

    def send(self, guest: GuestView) -> None:
        folder = self.directory / guest.vm
        with self._changing(guest.vm) as qmp:
            if _read(folder / SENT) == str(guest.journey) and (why := why_failed(qmp.run("query-migrate"))):
                raise GuestError(f"guest {guest.name} could not be sent: {why}")
            with reached(guest, self._elsewhere(guest.vm)) as way:
                (folder / SENT).write_text(str(guest.journey))
                begin(qmp, way)

    def _elsewhere(self, vm_uuid: str) -> Iterator[Path]:
        return (directory / vm_uuid for directory in self._others() if held.is_held(directory / vm_uuid / LOCK))

    def keep(self, guest: GuestView) -> None:
        """One that had gone, and wrote to its disk elsewhere, starts anew: what it remembers here is of before."""
        folder = self.directory / guest.vm
        with self._changing(guest.vm) as qmp:
            call_back(qmp)
            if guest.stage == "held" or qmp.run("query-status")["status"] != "postmigrate":
                return
            if guest.stage == "stays":
                raise GuestError(f"guest {guest.name} has been handed over")
            for there in self._elsewhere(guest.vm):
                end(there)
            if not (guest.boot and guest.boot.disk):
                qmp.run("cont")
                (folder / SENT).unlink(missing_ok=True)
                return
        self.stop(guest.vm)
        self.start(guest)

    def announce(self, vm_uuid: str) -> bool:
        """By QEMU, a reverse ARP from each NIC; and by the guest itself, whose driver is told to."""
        if not held.is_held(self.directory / vm_uuid / LOCK):
            return False
        with suppress(GuestError), QMP(self.directory / vm_uuid / MONITOR) as qmp:
            qmp.run("announce-self", **ANNOUNCED)
        return True

    # --- helpers -----------------------------------------------------------------------------------

    def _changing(self, vm_uuid: str) -> QMP:
        """Its monitor; what was seen of it is forgotten."""
        self._seen.pop(vm_uuid, None)
        return QMP(self.directory / vm_uuid / MONITOR)

    def _write(self, folder: Path, guest: GuestView) -> None:
        """Whole or not at all."""
        part = folder / f"{GUEST}.part"
        part.write_bytes(msgspec.json.encode(guest))
        part.rename(folder / GUEST)


def read(folder: Path) -> GuestView | None:
    """What the guest was started as; None where it has no folder."""
    try:
        return _GUEST.decode((folder / GUEST).read_bytes())
    except FileNotFoundError:
        return None


def end(folder: Path) -> None:
    """SIGKILL to the guest of this folder, if one lives; returns when it is gone. QEMU has nothing to tidy up."""
    lock = folder / LOCK
    held.end(lambda: [pid] if (pid := held.holder(lock)) is not None else [], grace_s=0)


def _see_out(folder: Path) -> None:
    """Until a QEMU that has closed its monitor is gone: there is no news of that any more."""
    until = time.monotonic() + ENDS_WITHIN
    while held.is_held(folder / LOCK) and time.monotonic() < until:
        time.sleep(0.002)


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _answers(folder: Path) -> bool:
    with suppress(GuestError), QMP(folder / MONITOR):
        return True
    return False


def _last_words(folder: Path) -> str:
    words = (folder / WORDS).read_text(errors="replace").strip().splitlines()
    return " / ".join(words[-2:]) or "QEMU ended without a word"
