"""PIF: plug, unplug, and the properties that its NIC has."""

from xenet.model.change import Draft
from xenet.model.derived import Bond
from xenet.model.errors import Failure, invalid_value
from xenet.model.hidden import Operation
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import NULL, PIFRef
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.allowed import check_unheld
from xenet.verbs.attach import check_live
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.registry import message
from xenet.verbs.stack import access_pifs, is_up, level_mtu, slaves_of, want_plugged


@message("PIF")
def plug(call: Call, self: PIFRef) -> Outcome:
    """Bring the PIF up on its bridge; one that is up already is applied anew."""
    pif = call.state.get(PIF, self)
    if not pif.managed:
        raise Failure("PIF_UNMANAGED", self)
    if pif.bond_slave_of != NULL:
        raise Failure("CANNOT_PLUG_BOND_SLAVE", self)
    check_live(call.state, pif.host)
    work = Work(call)
    want_plugged(work, pif)

    def done(draft: Draft) -> None:
        _set_attached(draft, pif, True)
        level_mtu(draft, pif)

    return work.await_host(pif.host, [(pif, "plug")], done)


@message("PIF")
def unplug(call: Call, self: PIFRef) -> Outcome:
    """Take the NIC off its bridge, and the bridge away; the access PIFs of tunnels over it, too. Raises what `check_unpluggable` does, of
    these as well."""
    pif = call.state.get(PIF, self)
    going = [pif, *(access for access in access_pifs(call.state, pif) if access.plugged or access.currently_attached)]
    for each in going:
        check_unpluggable(call.state, each)
    check_live(call.state, pif.host)
    work = Work(call)
    for each in going:
        work.update(each, plugged=False)

    def done(draft: Draft) -> None:
        for each in going:
            _set_attached(draft, each, False)

    return work.await_host(pif.host, [(each, "unplug") for each in going], done)


@message("PIF")
def set_property(call: Call, self: PIFRef, name: str, value: str) -> Outcome:
    """`gro`, on or off: of a bond its slaves', too. Done when the host has done it. Raises INVALID_VALUE ["properties", "name = value"],
    CANNOT_CHANGE_PIF_PROPERTIES [pif] for what is neither a bond nor a NIC on its own, PIF_UNMANAGED [pif], HOST_OFFLINE."""
    pif = call.state.get(PIF, self)
    if name != "gro" or value not in ("on", "off"):
        raise invalid_value("properties", f"{name} = {value}")
    bonds = call.state.where(Bond, "master", self)
    if not (bonds or (pif.physical and pif.bond_slave_of == NULL)):
        raise Failure("CANNOT_CHANGE_PIF_PROPERTIES", self)
    if not pif.managed:
        raise Failure("PIF_UNMANAGED", self)
    check_unheld(call.state, pif)
    work = Work(call)
    for each in (pif, *(slave for bond in bonds for slave in slaves_of(call.state, bond))):
        work.update(each, properties={**each.properties, name: value})
    if not is_up(call.state, pif):
        return work.outcome()
    check_live(call.state, pif.host)
    return work.await_host(pif.host, [(pif, "set_property")], lambda draft: None)


def check_unpluggable(state: PoolState, pif: PIF) -> None:
    """Raises, in XenServer's order, PIF_UNMANAGED, PIF_IS_MANAGEMENT_INTERFACE [pif], VIF_IN_USE [network, vif], PIF_DOES_NOT_ALLOW_UNPLUG [pif]."""
    if not pif.managed:
        raise Failure("PIF_UNMANAGED", pif.ref)
    if pif.management:
        raise Failure("PIF_IS_MANAGEMENT_INTERFACE", pif.ref)
    check_without_vifs(state, pif)
    if pif.disallow_unplug:
        raise Failure("PIF_DOES_NOT_ALLOW_UNPLUG", pif.ref)


def check_without_vifs(state: PoolState, pif: PIF) -> None:
    """Raises VIF_IN_USE [network, vif] where a VM of the host is on the PIF's network, or comes there."""
    for vif in state.where(VIF, "network", pif.network):
        vm = state.get(VM, vif.VM)
        if pif.host in (vm.running_on, vm.resident_on, vm.peer) and (vif.plugged or vif.currently_attached):
            raise Failure("VIF_IN_USE", pif.network, vif.ref)
    for operation in state.where(Operation, "keeps", pif.network):
        if pif.host in operation.waiting:
            raise Failure("VIF_IN_USE", pif.network, operation.objects[0])


def _set_attached(draft: Draft, pif: PIF, value: bool) -> None:
    draft.update(pif, currently_attached=value)
