"""What the agent asks of a datapath, whichever it is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from xenet.model.hidden import NIC, BondLinks, ForeignBridge, Lease
from xenet.plan.steps import Step, StepFailure
from xenet.plan.view import PortView, Settings, SwitchView

SocketIn = Callable[[str], "int | None"]
"""VM uuid -> a file descriptor of its network namespace (the caller closes it), None when it does not run."""


class FDBEntry(msgspec.Struct, frozen=True):
    """A line of a switch's MAC table. age is in seconds since the address was last heard; local: the port's or bridge's own."""

    mac: str
    device: str
    age: float
    local: bool = False


class Datapath(Protocol):
    """A whole batch at a time. Every method is synchronous and short; nothing here waits for packets."""

    def observe(self) -> None:
        """Read everything anew from the kernel: at start, after an overrun of notifications, and now and then."""

    def fileno(self) -> int:
        """Readable when the kernel has news."""

    def refresh(self) -> set[str]:
        """Take in the kernel's news without asking anything; the names of the bridges and NICs that it may have changed."""

    def heed(self, bridge: str, asked: Mapping[str, Settings]) -> None:
        """What is asked of the drivers of a switch, its NICs and its ports, by device: its view has these settings from now on."""

    def switches(self) -> dict[str, SwitchView]:
        """The switches that carry our mark, and bridges of others with ports of ours, as last observed. Cheap: only what changed is built
        anew."""

    def switch(self, bridge: str) -> SwitchView | None:
        """One of them."""

    def nics(self, devices: Sequence[str]) -> list[NIC]:
        """The named NICs (an empty sequence: every physical one) with MAC, MTU, carrier, speed, addresses, gateway."""

    def bonds(self) -> list[BondLinks]:
        """The links of our bonds, by name."""

    def bridges(self) -> list[ForeignBridge]:
        """The bridges that do not carry our mark, by name."""

    def steer(self) -> set[str]:
        """Let what hangs on a bond's slaves follow their links at once; the bonds whose frames take other ways since the last call, new ones
        too."""

    def foreign(self, bridge: str) -> bool:
        """Whether a bridge of this name exists that does not carry our mark."""

    def foreign_master(self, device: str) -> str | None:
        """The device that holds this NIC as its port, when that is none of ours."""

    def do(self, steps: Sequence[Step]) -> list[StepFailure]:
        """Carry out the steps in order; a failed one does not stop those that serve other objects. Then take in what they changed."""

    def command(self, step: Step) -> str:
        """The command that does the same as a step, for people."""

    def advertised(self, bridge: str) -> Lease:
        """The addresses and the router that this switch has by routers' advertisements."""

    def fdb(self, bridge: str) -> list[FDBEntry]:
        """The switch's MAC table; empty where there is no such switch. Raises OSError."""

    def speak(self, port: PortView, frames: Sequence[bytes]) -> None:
        """Send frames for the guest behind a port, to all that its switch leads to outside, with the VLAN's tag and by the bond's link that its
        own would take; the switch has learned then that the guest's MAC is at the port. Past limits and locks; the guest hears nothing of
        it. Raises OSError."""

    def hold(self, port: PortView) -> None:
        """The guest behind this port has just come: whatever the switch has still to take in of the time before, the guest's MAC is here, until
        `release` or `unlearn`, or until the port is gone. Raises OSError."""

    def release(self, port: PortView) -> None:
        """The switch learns the guest's MAC like any other from now on. Raises OSError."""

    def unlearn(self, port: PortView) -> Callable[[], None] | None:
        """The guest behind this port is elsewhere: frames to its MAC go everywhere until it is heard again. Where the switch may yet take in
        something of the time before, what does the same once more, also when the port is gone by then. Both raise OSError."""

    def has_carrier(self, port: PortView) -> bool:
        """Whether somebody is at the guest's end of a port, as the kernel last said."""

    def reap(self) -> int:
        """Delete devices that were taken out of service; how many are left."""

    def dismantle(self) -> None:
        """Take away all switches, so that another datapath can have the NICs and the VIFs, whose devices stay; and what this one itself runs.
        Raises OSError."""

    def close(self) -> None: ...
