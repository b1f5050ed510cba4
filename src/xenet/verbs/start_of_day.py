"""What is plugged when a host has started anew, as on a XenServer: NICs, bonds and PIFs with an address are; a VLAN or a tunnel without one
waits for a VM that needs it."""

from contextlib import suppress

from xenet.model.errors import Failure
from xenet.model.hidden import Operation
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import NULL, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.call import Work
from xenet.verbs.stack import has_address, want_plugged


def has_started_anew(before: str, now: str) -> bool:
    """From two HostFacts.place, whose first words are boot ids."""
    return bool(before and now) and before.partition(" ")[0] != now.partition(" ")[0]


def start_of_day(work: Work, host: Ref) -> None:
    """Want the host's PIFs as they are at its start. One that cannot be plugged, or that a call in flight holds, stays as it is."""
    held = {ref for operation in work.state.all(Operation) for ref in operation.objects}
    for pif in work.state.where(PIF, "host", host):
        if not pif.managed or pif.bond_slave_of != NULL or pif.ref in held:
            continue
        if _stands_by_itself(work.state, pif):
            _try_to_plug(work, pif)
        elif pif.plugged and not _is_needed(work.state, pif):
            work.update(pif, plugged=False)


def _try_to_plug(work: Work, pif: PIF) -> None:
    with suppress(Failure):
        if not pif.plugged:
            want_plugged(work, pif)


def _stands_by_itself(state: PoolState, pif: PIF) -> bool:
    return pif.physical or has_address(pif) or bool(state.refs_where("Bond", "master", pif.ref))


def _is_needed(state: PoolState, pif: PIF) -> bool:
    """Whether a VM that runs on the host, which starts it again, has a VIF there."""
    vifs = state.where(VIF, "network", pif.network)
    return any(vif.plugged and pif.host in (vm.running_on, vm.peer) for vif in vifs for vm in (state.get(VM, vif.VM),))
