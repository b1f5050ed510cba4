"""What is done to guests, step by step: by the guests, not by the datapath."""

from typing import ClassVar

from xenet.plan.steps import Step
from xenet.plan.view import GuestView, NICView


class StartGuest(Step, frozen=True, kw_only=True):
    where: ClassVar[str] = "guests"
    guest: GuestView

    @property
    def text(self) -> str:
        if self.guest.kind == "qemu":
            return f"qemu-system-x86_64 -uuid {self.guest.vm}{' -incoming ...' if self.guest.stage == 'awaits' else ''}"
        return f"ip netns add {self.guest.name}"


class StopGuest(Step, frozen=True, kw_only=True):
    where: ClassVar[str] = "guests"
    guest: GuestView

    @property
    def text(self) -> str:
        return "qmp: quit" if self.guest.kind == "qemu" else f"ip netns del {self.guest.name}"


class PlugNIC(Step, frozen=True, kw_only=True):
    """Give a QEMU guest that runs another NIC, on a tap that is there."""

    where: ClassVar[str] = "guests"
    guest: GuestView
    nic: NICView

    @property
    def text(self) -> str:
        return f"qmp: netdev_add tap ifname={self.nic.device}, device_add virtio-net-pci mac={self.nic.mac}"


class UnplugNIC(Step, frozen=True, kw_only=True):
    """Take a NIC from a QEMU guest that runs, which has to let go of it."""

    where: ClassVar[str] = "guests"
    guest: GuestView
    nic: NICView

    @property
    def text(self) -> str:
        return f"qmp: device_del {self.nic.device}, netdev_del {self.nic.device}"


class SendGuest(Step, frozen=True, kw_only=True):
    """Have the guest's QEMU send it to the one that awaits it; that goes on while the host has other things to do."""

    where: ClassVar[str] = "guests"
    guest: GuestView

    @property
    def text(self) -> str:
        return f"qmp: migrate {self.guest.way or 'to the other host of this machine'}"


class KeepGuest(Step, frozen=True, kw_only=True):
    """Call it back while it is being sent; where it has been sent and shall run here all the same, see that no other host of this machine has it,
    and let it go on."""

    where: ClassVar[str] = "guests"
    guest: GuestView

    @property
    def text(self) -> str:
        return "qmp: migrate_cancel, cont"


class HaltGuest(Step, frozen=True, kw_only=True):
    """Ask it to end, by its power button."""

    where: ClassVar[str] = "guests"
    guest: GuestView

    @property
    def text(self) -> str:
        return "qmp: system_powerdown"
