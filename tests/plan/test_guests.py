"""What becomes of a QEMU guest: from what is observed of it to what is wanted."""

from typing import Literal

import msgspec
import pytest

from xenet.plan.diff import diff_host
from xenet.plan.view import GuestView, HostView, PortView, Stage, SwitchView

VM = "5d3cd2ab-0001-4000-8000-000000000001"


def guest(stage: Stage, journey: int = -1, domid: int = 1) -> GuestView:
    return GuestView(VM, domid, "vm", "qemu", stage=stage, journey=journey)


def steps(want: GuestView | None, have: GuestView | None) -> list[str]:
    return [type(step).__name__ for step in diff_host(host(want), host(have))]


def host(guest: GuestView | None) -> HostView:
    return HostView(guests={guest.vm: guest} if guest else {})


@pytest.mark.parametrize(
    ("want", "have", "expected"),
    [
        (guest("awaits", 2), None, ["StartGuest"]),
        (guest("awaits", 2), guest("awaits", 2), []),
        (guest("awaits", 2), guest("runs", 2), []),
        (guest("awaits", 4), guest("runs", 2), ["StopGuest", "StartGuest"]),
        (guest("awaits", 4), guest("awaits", 2), ["StopGuest", "StartGuest"]),
        (guest("awaits", 2), guest("runs"), ["StopGuest", "StartGuest"]),
        (guest("arrives"), guest("awaits", 2), []),
        (guest("arrives"), guest("runs", 2), []),
        (guest("runs"), guest("awaits", 2), ["StopGuest", "StartGuest"]),
        (guest("runs"), guest("runs", 2), []),
        (guest("goes", 2), guest("runs"), ["SendGuest"]),
        (guest("goes", 2), guest("going"), []),
        (guest("goes", 2), guest("gone"), []),
        (guest("held"), guest("going"), ["KeepGuest"]),
        (guest("held"), guest("gone"), []),
        (guest("held"), None, []),
        (guest("runs"), guest("gone"), ["KeepGuest"]),
        (guest("stays"), guest("runs"), []),
        (guest("stays"), guest("going"), ["KeepGuest"]),
        (guest("stays"), guest("gone"), ["KeepGuest"]),
        (guest("stays"), None, ["StartGuest"]),
        (guest("late"), guest("runs"), []),
        (guest("late"), guest("awaits"), ["StopGuest", "StartGuest"]),
        (guest("late"), None, ["StartGuest"]),
        (guest("halts"), guest("runs"), ["HaltGuest"]),
        (guest("halts"), None, []),
        (guest("runs", domid=2), guest("runs"), ["StopGuest", "StartGuest"]),
        (None, guest("gone"), ["StopGuest"]),
    ],
    ids=lambda view: f"{view.stage}-{view.journey}" if isinstance(view, GuestView) else None,
)
def test_what_is_done(want: GuestView | None, have: GuestView | None, expected: list[str]) -> None:
    """One that runs where it is awaited has come before this host was told: what it was started for says so."""
    assert steps(want, have) == expected


@pytest.mark.parametrize(
    ("kind", "device", "expected"),
    [("tap", "tap1.0", ["SetPort", "Announce", "SeatPort"]), ("namespace", "vif1.0", ["SetPort", "SeatPort", "Announce"])],
)
def test_what_has_come_counts_as_come_when_it_is_announced(kind: Literal["tap", "namespace"], device: str, expected: list[str]) -> None:
    """A guest of a namespace speaks for itself, from the NIC that it gets as it comes."""
    port = PortView(device, "vif", VM, 0, "02:00:00:00:00:01", kind=kind, up=True)
    moving = msgspec.structs.replace(port, up=False, moving=True)
    views = (HostView(switches={"xenbr0": SwitchView("xenbr0", "net", ports={device: one})}) for one in (port, moving))
    assert [type(step).__name__ for step in diff_host(next(views), next(views))] == expected
