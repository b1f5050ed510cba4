"""The way from an observed guest to the wanted one, before and after the ports of its host are as wanted: a namespace must be there before
a port can have its other end in it, and a QEMU opens taps that are there."""

from collections.abc import Iterable, Iterator

from xenet.plan.guest_steps import HaltGuest, KeepGuest, PlugNIC, SendGuest, StartGuest, StopGuest, UnplugNIC
from xenet.plan.steps import Step
from xenet.plan.view import GuestView

Pair = tuple[GuestView | None, GuestView | None]
"""Wanted, observed."""


def is_same(want: GuestView, have: GuestView) -> bool:
    """Whether the one can become the other: a QEMU that awaits was born so, for this very journey, and nothing but what it awaits makes it run. That
    may have come before this host is told that it does: its source was told first."""
    if want.stage == "awaits":
        fits = have.stage in ("awaits", "runs") and have.journey == want.journey
    else:
        fits = have.stage != "awaits" or want.stage == "arrives"
    return fits and (want.domid, want.kind) == (have.domid, have.kind)


def unplug_nics(guests: Iterable[Pair]) -> Iterator[Step]:
    """Before the taps go."""
    for want, have in guests:
        if want is not None and have is not None and is_same(want, have):
            for nic in have.nics:
                if nic not in want.nics:
                    yield UnplugNIC(object=nic.vif, reason="its VIF is not plugged here", guest=have, nic=nic)


def stop_guests(guests: Iterable[Pair]) -> Iterator[Step]:
    for want, have in guests:
        if have is not None and (want is None or not is_same(want, have)):
            yield StopGuest(object=have.vm, reason="the VM does not run here (any more) as this domain", guest=have)


def start_guests(guests: Iterable[Pair]) -> Iterator[Step]:
    """Namespaces, before the ports."""
    return (step for want, have in guests if want is not None and want.kind == "namespace" for step in _start(want, have))


def go_on(guests: Iterable[Pair]) -> Iterator[Step]:
    """QEMUs, after the ports."""
    for want, have in guests:
        if want is not None and want.kind == "qemu":
            yield from _start(want, have)
            if have is not None and is_same(want, have):
                yield from _turn(want, have)


def _start(want: GuestView, have: GuestView | None) -> Iterator[Step]:
    """One that was asked to end, or is held, may be gone; one that arrives, goes or stays may not, and is not started anew: the step fails."""
    if (have is None or not is_same(want, have)) and want.stage not in ("halts", "held"):
        yield StartGuest(object=want.vm, reason="the VM runs here" if want.stage == "runs" else "the VM is on its way", guest=want)


def _turn(want: GuestView, have: GuestView) -> Iterator[Step]:
    for nic in want.nics:
        if nic not in have.nics:
            yield PlugNIC(object=nic.vif, reason="its VIF is plugged", guest=have, nic=nic)
    match want.stage, have.stage:
        case "goes", "runs" | "halts":
            yield SendGuest(object=want.vm, reason="the VM runs on the other host from now on", guest=want)
        case ("runs" | "held" | "halts" | "stays", "going") | ("runs" | "halts" | "stays", "gone"):
            yield KeepGuest(object=want.vm, reason="the VM stays here", guest=want)
        case "halts", "runs":
            yield HaltGuest(object=want.vm, reason="the VM was asked to end", guest=want)


def is_waited_for(want: GuestView, have: GuestView | None) -> bool:
    """Whether there is nothing to do but to wait: until it has arrived, or has ended."""
    return have is not None and (want.stage, have.stage) in (("arrives", "awaits"), ("halts", "halts"))
