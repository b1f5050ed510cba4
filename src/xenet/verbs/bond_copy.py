"""A host that comes gets the bonds that the coordinator has, of its own NICs by the same names (XenServer's rule)."""

from collections.abc import Iterator

from xenet.model.derived import Bond
from xenet.model.errors import Failure
from xenet.model.hidden import HostFacts
from xenet.model.pif import PIF
from xenet.model.types import Ref
from xenet.verbs.allowed import check_unheld
from xenet.verbs.attach import find_pif
from xenet.verbs.bond import add_bond, drop_bond
from xenet.verbs.bond_check import wish_of
from xenet.verbs.call import Work
from xenet.verbs.stack import slaves_of


def copy_bonds(work: Work, host: Ref, coordinator: Ref) -> None:
    """On the same networks, in the same mode, of those NICs that the host has. One on such a network with other slaves is made anew.
    What speaks against a bond leaves the host without it, as it was."""
    if host == coordinator:
        return
    for bond, master in sorted(_bonds(work, coordinator), key=lambda pair: pair[1].device):
        before = work.state
        try:
            _copy(work, bond, master, host)
        except Failure:
            work.state = before


def _bonds(work: Work, host: Ref) -> Iterator[tuple[Bond, PIF]]:
    for pif in work.state.where(PIF, "host", host):
        for bond in work.state.where(Bond, "master", pif.ref):
            yield bond, pif


def _copy(work: Work, bond: Bond, master: PIF, host: Ref) -> None:
    """Raises what Bond.create does."""
    state = work.state
    check_unheld(work.base, state.get(HostFacts, host))
    own = {pif.device: pif.ref for pif in state.where(PIF, "host", host) if pif.physical}
    first = state.get(PIF, bond.primary_slave).device
    members = [own[device] for device in (first, *_devices(work, bond)) if device in own]
    there = _bond_on(work, master.network, host)
    if not members or (there and {*_devices(work, there)} == {*_devices(work, bond)} & own.keys()):
        return
    moved = list(drop_bond(work, there)) if there else []
    wish = wish_of(work.state, master.network, members, "", bond.mode, bond.properties)
    for record in (*moved, *add_bond(work, wish).moved):
        check_unheld(work.base, record)


def _devices(work: Work, bond: Bond) -> list[str]:
    return [slave.device for slave in slaves_of(work.state, bond)]


def _bond_on(work: Work, network: Ref, host: Ref) -> Bond | None:
    pif = find_pif(work.state, network, host)
    return next(iter(work.state.where(Bond, "master", pif.ref)), None) if pif else None
