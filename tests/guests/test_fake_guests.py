"""Guests that are only remembered behave as real ones do."""

import pytest

from xenet.guests.base import FakeGuests, GuestError, Guests
from xenet.plan.view import GuestView


def test_start_observe_stop() -> None:
    guests: Guests = FakeGuests()
    guest = GuestView(vm="u1", domid=3, name="vm1")
    guests.start(guest)
    assert guests.observe() == {"u1": guest}
    with pytest.raises(GuestError, match="runs already"):
        guests.start(GuestView(vm="u1", domid=4, name="vm1"))
    assert guests.netns("u1") is None
    guests.stop("u1")
    guests.stop("u1")
    assert guests.observe() == {}


def test_a_broken_guest_refuses() -> None:
    guests = FakeGuests()
    guests.broken.add("u1")
    with pytest.raises(GuestError, match="broken"):
        guests.start(GuestView(vm="u1", domid=3, name="vm1"))
    assert guests.observe() == {}
