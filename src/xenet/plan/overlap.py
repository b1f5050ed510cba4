"""What stands on a NIC as that joins a bond or leaves one: it goes on by another NIC of the bond until it can go the new way.

A bond that is made gets the other NICs first, and last the one that carries something; one that is taken apart loses its primary first, and all
the others when nothing is left on it. A NIC is down for a moment as it joins or leaves; with copper it may take seconds until it has its link again.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from xenet.plan.view import SwitchView, UplinkView

Pair: TypeAlias = tuple[SwitchView | None, SwitchView | None]
"""A switch as it is wanted, and as it is."""
Leaving: TypeAlias = Sequence[tuple[SwitchView, UplinkView]]
"""Switches as they are with the uplinks that they let go."""
replace = msgspec.structs.replace


class Overlap(msgspec.Struct, frozen=True):
    """An exception from the rule that all is taken down before anything is built."""

    stands: SwitchView
    """This stands before the rest is taken down; a bond without its last NIC."""
    clear: tuple[SwitchView, ...] = ()
    """These are taken down before, since it needs their NICs."""
    last: tuple[SwitchView, ...] = ()
    """These let their uplink go when everything else has left them."""


def lets_go(want: SwitchView | None, have: SwitchView) -> bool:
    """Whether it loses the uplink that it has."""
    if have.uplink is None:
        return False
    return want is None or want.uplink is None or (want.uplink.device, want.uplink.vlan) != (have.uplink.device, have.uplink.vlan)


def overlaps(pairs: Sequence[Pair]) -> Iterator[Overlap]:
    """One for each bond that comes or goes among these switches and carries something meanwhile."""
    leaving = [(have, have.uplink) for want, have in pairs if have and have.uplink and not have.foreign and lets_go(want, have)]
    for want, have in pairs:
        if want and want.uplink and not want.foreign and not (have and have.uplink and not lets_go(want, have)):
            found = _bond_comes(want, want.uplink, leaving) if want.uplink.bond else _bond_goes(want, want.uplink, leaving)
            yield from [found] if found else ()


def _bond_comes(want: SwitchView, uplink: UplinkView, leaving: Leaving) -> Overlap | None:
    slaves = uplink.bond.slaves if uplink.bond else ()
    carriers = [(switch, up.device) for switch, up in leaving if up.device in slaves and (switch.addresses or switch.ports)]
    if not carriers or not uplink.bond or len(slaves) < 2:
        return None
    kept, nic = min(carriers, key=lambda carrier: (not carrier[0].addresses, carrier[1]))
    others = tuple(slave for slave in slaves if slave != nic)
    partly = replace(want, uplink=replace(uplink, bond=replace(uplink.bond, slaves=others)))
    return Overlap(partly, tuple(switch for switch, up in leaving if _nic_of(up) in others), (kept,))


def _nic_of(uplink: UplinkView) -> str:
    return uplink.vlan.parent if uplink.vlan else uplink.device


def _bond_goes(want: SwitchView, uplink: UplinkView, leaving: Leaving) -> Overlap | None:
    bonds = [switch for switch, up in leaving if up.bond and up.bond.primary == uplink.device and len(up.bond.slaves) > 1]
    return Overlap(want, last=(bonds[0],)) if bonds else None
