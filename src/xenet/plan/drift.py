"""The difference of wanted and observed as people read it: object by object, field by field, where `diff` says what to do about it.

Both look at the same: there is drift exactly where there are steps.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from xenet.plan.guest_steps import PlugNIC, UnplugNIC
from xenet.plan.guests import go_on, start_guests, stop_guests, unplug_nics
from xenet.plan.steps import Step
from xenet.plan.view import GuestView, HostView, PortView, SwitchView, nics_of

V = TypeVar("V")
_PARTS = frozenset({"bridge", "ports", "uplink"})
"""Fields of a switch that are its name, or looked at one by one."""


class Drift(msgspec.Struct, frozen=True):
    """A field of an object that is not as wanted. What has no value there, or is not there at all, is the empty text."""

    cls: str
    """The XenAPI's class: network, VIF or VM."""
    uuid: str
    name: str
    """What the object is called on the host: a bridge, a device; a VM's name."""
    field: str
    wanted: str
    observed: str


def drift(wanted: HostView, observed: HostView, borrowed: Mapping[str, tuple[str, ...]] | None = None) -> list[Drift]:
    """All drift of a host; empty exactly when `diff_host` of the same three has no step. `borrowed`: see there."""
    switches, guests = _pairs(wanted.switches, observed.switches), _pairs(wanted.guests, observed.guests)
    return [
        *(row for want, have in switches for row in _switch(want, have)),
        *(row for want, _ in switches if want for row in _lent(want, borrowed or {})),
        *_ports(wanted, observed),
        *(row for want, have in guests for row in _guest(want, have)),
    ]


def _pairs(wanted: Mapping[str, V], observed: Mapping[str, V]) -> list[tuple[V | None, V | None]]:
    return [(wanted.get(name), observed.get(name)) for name in sorted({*wanted, *observed})]


def _switch(want: SwitchView | None, have: SwitchView | None) -> Iterator[Drift]:
    if want is None or have is None:
        there = want or have
        if there is not None:
            yield Drift("network", there.network, there.bridge, "present", _text(want is not None), _text(have is not None))
        return
    for name in want.__struct_fields__:
        one, other = getattr(want, name), getattr(have, name)
        if name in _PARTS or _same(one, other) or (name == "mac" and not one):  # no MAC wanted: whatever the kernel chose
            continue
        yield Drift("network", want.network, want.bridge, name, _text(one), _text(other))
    yield from _uplink(want, have)


def _uplink(want: SwitchView, have: SwitchView) -> Iterator[Drift]:
    one, other = want.uplink, have.uplink
    if one is None or other is None or one.device != other.device:
        if one is not other:
            yield Drift("network", want.network, want.bridge, "uplink", one.device if one else "", other.device if other else "")
        return
    for name, (mine, yours) in _fields(one, other):
        if name == "bond" and one.bond and other.bond:
            rows = ((f"bond {part}", texts) for part, texts in _fields(one.bond, other.bond))
            yield from (Drift("network", want.network, want.bridge, f"uplink {part}", *texts) for part, texts in rows)
        else:
            yield Drift("network", want.network, want.bridge, f"uplink {name}", mine, yours)


def _lent(want: SwitchView, borrowed: Mapping[str, tuple[str, ...]]) -> Iterator[Drift]:
    """Addresses that an uplink still holds itself."""
    devices = nics_of(want.uplink) if want.uplink else ()
    if addresses := tuple(address for device in devices for address in borrowed.get(device, ())):
        yield Drift("network", want.network, want.bridge, "uplink addresses", "", _text(addresses))


def _ports(wanted: HostView, observed: HostView) -> Iterator[Drift]:
    """By device, not by switch: one that is in the wrong switch has drifted in one field."""
    want, have = _places(wanted), _places(observed)
    for device in sorted({*want, *have}):
        (shall, port), (is_, real) = want.get(device, ("", None)), have.get(device, ("", None))
        owner = port or real
        if owner is None:
            continue
        if shall != is_:
            yield Drift("VIF", owner.vif, device, "bridge", shall, is_)
        if port and real:
            yield from (Drift("VIF", owner.vif, device, name, mine, yours) for name, (mine, yours) in _fields(port, real))


def _places(view: HostView) -> dict[str, tuple[str, PortView | None]]:
    return {device: (bridge, port) for bridge, switch in view.switches.items() for device, port in switch.ports.items()}


def _guest(want: GuestView | None, have: GuestView | None) -> Iterator[Drift]:
    there = want or have
    shall, is_ = _text(want and want.domid), _text(have and have.domid)
    if there is not None and shall != is_ and any(_guest_steps(want, have)):
        yield Drift("VM", there.vm, there.name, "domid", shall, is_)
    if want and have and want.kind == "qemu":
        if want.nics != have.nics:
            yield Drift("VM", want.vm, want.name, "NICs", *(_text(tuple(nic.device for nic in guest.nics)) for guest in (want, have)))
        if any(not isinstance(step, PlugNIC | UnplugNIC) for step in _guest_steps(want, have)):
            yield Drift("VM", want.vm, want.name, "stage", want.stage, have.stage)


def _guest_steps(want: GuestView | None, have: GuestView | None) -> list[Step]:
    return [*unplug_nics([(want, have)]), *stop_guests([(want, have)]), *start_guests([(want, have)]), *go_on([(want, have)])]


def _fields(one: msgspec.Struct, other: msgspec.Struct) -> Iterator[tuple[str, tuple[str, str]]]:
    """The fields in which two of a kind differ, as texts."""
    for name in one.__struct_fields__:
        mine, yours = getattr(one, name), getattr(other, name)
        if mine != yours:
            yield name, (_text(mine), _text(yours))


def _same(one: Any, other: Any) -> bool:
    """Sets are tuples here; their order means nothing."""
    return set(one) == set(other) if isinstance(one, tuple) and isinstance(other, tuple) else bool(one == other)


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return ", ".join(map(_text, value))
        case Mapping():
            return ", ".join(f"{name} {_text(part)}" for name, part in sorted(value.items()))
        case msgspec.Struct():
            return " ".join(f"{name} {_text(part)}" for name, part in msgspec.structs.asdict(value).items())
    return str(value)
