"""What the agent asks of its guests, whichever they are, and guests that are only remembered, for tests."""

from typing import Protocol

import msgspec

from xenet.plan.view import GuestView, NICView


class GuestError(Exception):
    """A guest could not be started or reached; the text says why, for people."""


class FileMissing(GuestError):
    """A file that it shall start from is not there, or cannot be read; `kind` is its kind in plan.machine.files_of."""

    def __init__(self, kind: str, path: str) -> None:
        super().__init__(f"the {kind} {path} is not there, or cannot be read")
        self.kind = kind


class Guests(Protocol):
    """The VMs that this host itself holds up. Every method is synchronous and short: milliseconds, a few tenths of a second to start a QEMU."""

    def observe(self) -> dict[str, GuestView]:
        """What runs, by VM uuid, exactly as it was started."""

    def start(self, guest: GuestView) -> None:
        """Start it as this domain. Raises GuestError; then nothing of it is left. A guest that runs is never started twice."""

    def stop(self, vm_uuid: str) -> None:
        """Stop it, whatever it is doing. Idempotent; returns when it is gone."""

    def netns(self, vm_uuid: str) -> int | None:
        """Its network namespace as a file descriptor that the caller closes; None when it does not run, or has none."""

    def fileno(self) -> int | None:
        """Readable when guests have news; None: they never have."""

    def refresh(self) -> set[str]:
        """Take in the news; the uuids of the VMs that they are of."""

    def plug(self, vm_uuid: str, nic: NICView) -> None:
        """Raises GuestError."""

    def unplug(self, vm_uuid: str, nic: NICView) -> None:
        """Raises GuestError where the guest does not let go of it."""

    def send(self, guest: GuestView) -> None:
        """To where it is awaited; returns as soon as that has begun. Raises GuestError, also for a journey that has failed before."""

    def keep(self, guest: GuestView) -> None:
        """It is not sent any more; where it shall run, and no other host has it, it goes on. Raises GuestError."""

    def halt(self, vm_uuid: str) -> None:
        """Ask it to end. Raises GuestError."""

    def announce(self, vm_uuid: str) -> bool:
        """Have it say where its addresses are; False where it has no means."""

    def stood_still(self, vm_uuid: str) -> tuple[int, int]:
        """Since when (nanoseconds of time.time_ns) and for how many milliseconds it stood still when it was last sent; 0: that is not known."""


class Apart:
    """What guests have nothing to say to that are no machines of their own."""

    def fileno(self) -> int | None:
        return None

    def refresh(self) -> set[str]:
        return set()

    def plug(self, vm_uuid: str, nic: NICView) -> None:
        raise GuestError(f"VM {vm_uuid} is no QEMU")

    def unplug(self, vm_uuid: str, nic: NICView) -> None:
        raise GuestError(f"VM {vm_uuid} is no QEMU")

    def send(self, guest: GuestView) -> None:
        raise GuestError(f"guest {guest.name} is no QEMU")

    def keep(self, guest: GuestView) -> None:
        raise GuestError(f"guest {guest.name} is no QEMU")

    def halt(self, vm_uuid: str) -> None:
        raise GuestError(f"VM {vm_uuid} is no QEMU")

    def announce(self, vm_uuid: str) -> bool:
        return False

    def stood_still(self, vm_uuid: str) -> tuple[int, int]:
        return 0, 0


def check_start(guest: GuestView) -> None:
    """Raises GuestError for one that cannot be made, as it is another host's: it has ended on its way."""
    if guest.stage not in ("runs", "awaits"):
        raise GuestError(f"the hypervisor of guest {guest.name} has ended on its way")


class FakeGuests(Apart):
    """Guests without processes. `broken` names VMs (by uuid) that refuse to start, `lacking` those of which a file is missing, with
    its kind. What a QEMU that is sent comes to, a test says."""

    def __init__(self) -> None:
        self.running: dict[str, GuestView] = {}
        self.broken: set[str] = set()
        self.lacking: dict[str, str] = {}

    def observe(self) -> dict[str, GuestView]:
        return dict(self.running)

    def start(self, guest: GuestView) -> None:
        if guest.vm in self.broken:
            raise GuestError(f"guest {guest.name} is broken")
        if kind := self.lacking.get(guest.vm):
            raise FileMissing(kind, f"/{kind}")
        if guest.vm in self.running:
            raise GuestError(f"guest {guest.name} runs already")
        check_start(guest)
        self.running[guest.vm] = guest

    def stop(self, vm_uuid: str) -> None:
        self.running.pop(vm_uuid, None)

    def netns(self, vm_uuid: str) -> int | None:
        """None: there is nothing to enter."""
        return None

    def plug(self, vm_uuid: str, nic: NICView) -> None:
        guest = self.running[vm_uuid]
        self.become(vm_uuid, nics=tuple(sorted((*guest.nics, nic))))

    def unplug(self, vm_uuid: str, nic: NICView) -> None:
        self.become(vm_uuid, nics=tuple(other for other in self.running[vm_uuid].nics if other != nic))

    def send(self, guest: GuestView) -> None:
        self.become(guest.vm, stage="going")

    def keep(self, guest: GuestView) -> None:
        going = self.running[guest.vm].stage == "going"
        if going or guest.stage == "runs":
            self.become(guest.vm, stage="runs")

    def halt(self, vm_uuid: str) -> None:
        self.become(vm_uuid, stage="halts")

    def become(self, vm_uuid: str, **fields: object) -> None:
        """It is otherwise now."""
        self.running[vm_uuid] = msgspec.structs.replace(self.running[vm_uuid], **fields)
