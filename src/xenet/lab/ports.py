"""The ports of a lab's physical switches, as values: what VLANs a cable carries, and which cables are one link (IEEE 802.1Q, 802.1AX).

    eth0: sw1                                          a trunk for every VLAN, native VLAN 1: what a port is unless something else is said
    eth0: {switch: sw1, native: 5, vlans: [10, 20]}    a trunk for these alone; frames without a tag are VLAN 5's
    eth0: {switch: sw1, access: 10}                    no tags at all: VLAN 10's
    eth0: {switch: sw1, lag: lag1}                     one of the cables of an aggregated link: the switch speaks LACP on it

A switch all of whose NICs are cabled as the first, and its machines in VLAN 1, passes frames as they come, tags and all. Any other
one keeps its VLANs apart, for which its kernel needs VLAN filtering, or there must be Open vSwitch.
"""

from collections.abc import Mapping

import msgspec

FIRST_VLAN, LAST_VLAN = 1, 4094
"""IEEE 802.1Q: 0 is no VLAN, 4095 is reserved."""


class PortError(ValueError):
    """A port that cannot be; the text says why."""


class SwitchPort(msgspec.Struct, frozen=True):
    """A switch's end of a cable."""

    native: int = 1
    """The VLAN of frames without a tag."""
    tagged: tuple[int, ...] | None = None
    """The VLANs that come with their tag; None: every other one."""
    lag: str = ""
    """The aggregated link that it is a part of; empty: none."""


class PortForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A port as a file describes it."""

    switch: str
    access: int | None = None
    native: int | None = None
    vlans: tuple[int, ...] | None = None
    lag: str = ""


def port_of(form: PortForm) -> SwitchPort:
    """Raises PortError."""
    if form.access is not None and (form.native is not None or form.vlans is not None):
        raise PortError("an access port has one VLAN: neither native nor vlans")
    for vlan in (form.access, form.native, *(form.vlans or ())):
        if vlan is not None and not FIRST_VLAN <= vlan <= LAST_VLAN:
            raise PortError(f"there is no VLAN {vlan}: they go from {FIRST_VLAN} to {LAST_VLAN}")
    if form.access is not None:
        return SwitchPort(form.access, (), form.lag)
    native = form.native or FIRST_VLAN
    tagged = None if form.vlans is None else tuple(sorted({*form.vlans} - {native}))
    return SwitchPort(native, tagged, form.lag)


def access(vlan: int) -> SwitchPort:
    """Where a machine is cabled that knows nothing of VLANs. Raises PortError."""
    return port_of(PortForm("", access=vlan))


def check_lags(ports: Mapping[str, SwitchPort]) -> None:
    """The cables of one link carry the same VLANs. Raises PortError."""
    first: dict[str, tuple[str, SwitchPort]] = {}
    for name, port in ports.items():
        if port.lag and (other := first.setdefault(port.lag, (name, port)))[1] != port:
            raise PortError(f"{other[0]} and {name} are both in {port.lag}, but differ in their VLANs")
