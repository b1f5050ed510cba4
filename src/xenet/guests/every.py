"""The guests of a host, of either kind: each errand goes to those whose kind the guest is."""

from xenet.guests.base import Guests
from xenet.plan.view import GuestView, NICView


class AllGuests:
    """Namespaces and QEMUs side by side."""

    def __init__(self, namespaces: Guests, machines: Guests) -> None:
        self._namespaces = namespaces
        self._machines = machines

    def _of(self, guest: GuestView) -> Guests:
        return self._machines if guest.kind == "qemu" else self._namespaces

    def observe(self) -> dict[str, GuestView]:
        return {**self._namespaces.observe(), **self._machines.observe()}

    def start(self, guest: GuestView) -> None:
        self._of(guest).start(guest)

    def stop(self, vm_uuid: str) -> None:
        self._namespaces.stop(vm_uuid)
        self._machines.stop(vm_uuid)

    def netns(self, vm_uuid: str) -> int | None:
        return self._namespaces.netns(vm_uuid)

    def fileno(self) -> int | None:
        return self._machines.fileno()

    def refresh(self) -> set[str]:
        return self._machines.refresh()

    def plug(self, vm_uuid: str, nic: NICView) -> None:
        self._machines.plug(vm_uuid, nic)

    def unplug(self, vm_uuid: str, nic: NICView) -> None:
        self._machines.unplug(vm_uuid, nic)

    def send(self, guest: GuestView) -> None:
        self._machines.send(guest)

    def keep(self, guest: GuestView) -> None:
        self._machines.keep(guest)

    def halt(self, vm_uuid: str) -> None:
        self._machines.halt(vm_uuid)

    def announce(self, vm_uuid: str) -> bool:
        return self._machines.announce(vm_uuid)

    def stood_still(self, vm_uuid: str) -> tuple[int, int]:
        return self._machines.stood_still(vm_uuid)
