"""What the agent asks of its guests, whichever they are, and guests that are only remembered, for tests."""

from typing import Protocol

from xenet.plan.view import GuestView


class GuestError(Exception):
    """A guest could not be started or reached; the text says why, for people."""


class Guests(Protocol):
    """The VMs that this host itself holds up. Every method is synchronous and takes milliseconds."""

    def observe(self) -> dict[str, GuestView]:
        """What runs, by VM uuid, exactly as it was started."""

    def start(self, guest: GuestView) -> None:
        """Start it as this domain. Raises GuestError; then nothing of it is left. A guest that runs is never started twice."""

    def stop(self, vm_uuid: str) -> None:
        """Stop it, whatever it is doing. Idempotent; returns when it is gone."""

    def netns(self, vm_uuid: str) -> int | None:
        """Its network namespace as a file descriptor that the caller closes; None when it does not run."""


class FakeGuests:
    """Guests without processes. `broken` names VMs (by uuid) that refuse to start."""

    def __init__(self) -> None:
        self.running: dict[str, GuestView] = {}
        self.broken: set[str] = set()

    def observe(self) -> dict[str, GuestView]:
        return dict(self.running)

    def start(self, guest: GuestView) -> None:
        if guest.vm in self.broken:
            raise GuestError(f"guest {guest.name} is broken")
        if guest.vm in self.running:
            raise GuestError(f"guest {guest.name} runs already")
        self.running[guest.vm] = guest

    def stop(self, vm_uuid: str) -> None:
        self.running.pop(vm_uuid, None)

    def netns(self, vm_uuid: str) -> int | None:
        """None: there is nothing to enter."""
        return None
