"""What holds of every state that the pool may be in. `xenet check` says what a state breaks, and the tests let no verb break any.

Each rule is a function that yields one line for each record that breaks it.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from xenet.model.classes import STORED
from xenet.model.declare import APIType, stored_fields
from xenet.model.derived import Bond
from xenet.model.hidden import Operation
from xenet.model.himn import is_himn
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.task import Task
from xenet.model.types import NULL, Qualifier, Record, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM


def violations(state: PoolState) -> list[str]:
    """What is wrong with a state, one line each; empty when all is well."""
    return [text for rule in _RULES for text in rule(state)]


def warnings(state: PoolState) -> list[str]:
    """VMs that cannot reach each other though their network is the same: a NIC was forgotten under them, as XenServer allows."""
    return list(networks_are_whole(state))


def _name(record: Record) -> str:
    return f"{record.xenapi} {record.uuid}"


# --- references ------------------------------------------------------------------------------------


def references_resolve(state: PoolState) -> Iterator[str]:
    """A reference points to a record of its class, or to nothing. What a client may set (VM.affinity) is the client's affair, as in XenServer."""
    for cls in STORED.values():
        fields = [field for field in stored_fields(cls).values() if field.qualifier is not Qualifier.RW]
        for record in state.all(cls):
            for field in fields:
                for target, ref in _references(field.type, getattr(record, field.name)):
                    if ref != NULL and ref not in state.tables.get(target, {}):
                        yield f"{_name(record)}: {field.name} points to {target} {ref}, which is not there"


def _references(type_: APIType, value: Any) -> Iterator[tuple[str, Ref]]:
    """The references in a value, each with its class."""
    if type_.kind == "ref":
        yield type_.name, value
    if type_.kind == "set" and type_.of:
        for item in value:
            yield from _references(type_.of, item)


def operations_lock_their_objects(state: PoolState) -> Iterator[str]:
    """A record's current_operations name the task of the operation that holds it, and every operation shows on its records."""
    held = {(op.task, ref) for op in state.all(Operation) for ref in op.objects}
    # Of a host only its facts are held, which have its reference.
    lockable: dict[Ref, Any] = {record.ref: record for cls in (VM, VIF, Network) for record in state.all(cls)}
    shown = {(Ref(task), ref) for ref, record in lockable.items() for task in record.current_operations}
    for task, ref in shown - held:
        yield f"{ref}: current_operations name task {task}, of which no operation holds this record"
    for task, ref in held - shown:
        if ref in lockable:
            yield f"{ref}: is held by the operation of task {task}, which its current_operations do not show"


def operations_are_alone(state: PoolState) -> Iterator[str]:
    """A record is held by one operation at a time, and an operation waits for somebody."""
    for ref, count in Counter(ref for op in state.all(Operation) for ref in op.objects).items():
        if count > 1:
            yield f"{ref}: is held by {count} operations at once"
    for op in state.all(Operation):
        if not op.waiting:
            yield f"{_name(op)}: waits for no host"
        if state.find(Task, op.task) is None:
            yield f"{_name(op)}: its task is gone"
        revived = {edit.ref for edit in op.undo if edit.before is None}
        if any(ref not in revived and not _exists(state, ref) for ref in (*op.objects, *op.keeps)):
            yield f"{_name(op)}: a record that it counts on is gone"


def _exists(state: PoolState, ref: Ref) -> bool:
    return any(ref in table for table in state.tables.values())


# --- what there is once ----------------------------------------------------------------------------


def names_are_unique(state: PoolState) -> Iterator[str]:
    """One PIF per network and host, one physical PIF per NIC, one VIF per VM and device, one network per bridge, one VM per domain, one pool."""
    once: list[tuple[str, Any]] = [("pool", "") for _ in state.all(Pool)]
    for pif in state.all(PIF):
        if pif.managed:  # unmanaged ones of a host all lie on one network, as in XenServer
            once.append(("PIFs on network and host", (pif.network, pif.host)))
        if pif.physical:
            once.append(("physical PIFs of host and NIC", (pif.host, pif.device)))
    once += [("VIFs of VM and device", (vif.VM, vif.device)) for vif in state.all(VIF)]
    once += [("networks with bridge", network.bridge) for network in state.all(Network) if network.bridge]
    once += [("VMs with domid", vm.domid) for vm in state.all(VM) if vm.domid >= 0]
    for (what, key), count in Counter(once).items():
        if count > 1:
            yield f"{count} {what} {key}"


def counters_are_ahead(state: PoolState) -> Iterator[str]:
    """What was given out lies below its counter, so it is never given twice."""
    for pool in state.all(Pool):
        for vm in state.all(VM):
            if max(vm.domid, vm.peer_domid) >= pool.next_domid:
                yield f"{_name(vm)}: domid {max(vm.domid, vm.peer_domid)}, but the next is {pool.next_domid}"
        for network in state.all(Network):
            number = network.bridge.removeprefix("xapi")
            if network.bridge.startswith("xapi") and number.isdecimal() and int(number) >= pool.next_xapi:
                yield f"{_name(network)}: bridge {network.bridge}, but the next is xapi{pool.next_xapi}"


# --- wanted and real -------------------------------------------------------------------------------


def vms_are_where_they_shall_be(state: PoolState) -> Iterator[str]:
    """A running VM has a host and a domain, a halted one neither; while no operation says otherwise."""
    for vm in state.all(VM):
        if vm.current_operations:
            continue
        if vm.running_on != vm.resident_on:
            yield f"{_name(vm)}: shall run on {vm.running_on} and is on {vm.resident_on}"
        if (vm.power_state == "Running") != (vm.resident_on != NULL) or (vm.domid >= 0) != (vm.resident_on != NULL):
            yield f"{_name(vm)}: {vm.power_state}, on {vm.resident_on}, domain {vm.domid}"
        if vm.peer != NULL or vm.handing_over:
            yield f"{_name(vm)}: is on its way by no operation"
        if vm.scheduled_to_be_resident_on != NULL:
            yield f"{_name(vm)}: is scheduled for {vm.scheduled_to_be_resident_on} by no operation"


def vifs_are_as_they_shall_be(state: PoolState) -> Iterator[str]:
    """A VIF is attached where it shall be plugged, and only to a VM that runs; while no operation says otherwise."""
    for vif in state.all(VIF):
        if vif.current_operations:
            continue
        if vif.plugged != vif.currently_attached:
            yield f"{_name(vif)}: shall be {_plugged(vif.plugged)} and is {_plugged(vif.currently_attached)}"
        vm = state.find(VM, vif.VM)
        if vif.currently_attached and vm is not None and vm.power_state != "Running":
            yield f"{_name(vif)}: is attached to a VM that is {vm.power_state}"


def _plugged(value: bool) -> str:
    return "plugged" if value else "unplugged"


def pifs_carry_their_vifs(state: PoolState) -> Iterator[str]:
    """Where a VIF is plugged, the host's PIF on that network is plugged too."""
    for network in state.all(Network):
        homes = homes_of(state, network)
        for pif in state.where(PIF, "network", network.ref):
            if pif.host in homes and pif.managed and not pif.plugged:
                yield f"{_name(network)}: in use on {pif.host}, whose PIF is not plugged"


def trunks_are_beside_vlans(state: PoolState) -> Iterator[str]:
    """A VIF with trunks is on a network that is none of a VLAN's."""
    for vif in state.all(VIF):
        if vif.trunks and any(pif.VLAN >= 0 for pif in state.where(PIF, "network", vif.network)):
            yield f"{_name(vif)}: has trunks, on the network of a VLAN"


def bonds_have_their_slaves(state: PoolState) -> Iterator[str]:
    """A bond has slaves of its own host, the primary one among them; a slave is not in use by itself."""
    for bond in state.all(Bond):
        slaves = state.where(PIF, "bond_slave_of", bond.ref)
        if bond.primary_slave not in {slave.ref for slave in slaves}:
            yield f"{_name(bond)}: its primary slave is none of its slaves"
        for slave in slaves:
            yield from _wrong_with(state, bond, slave)


def _wrong_with(state: PoolState, bond: Bond, slave: PIF) -> Iterator[str]:
    master = state.find(PIF, bond.master)
    if master is None or slave.host != master.host:
        yield f"{_name(slave)}: is a slave of a bond on another host"
    if not slave.physical or not slave.managed or state.back(slave.ref, PIF.bond_master_of):
        yield f"{_name(slave)}: only a NIC that xenet manages can be a slave"
    if slave.plugged or slave.management:
        yield f"{_name(slave)}: is a slave, and in use by itself"
    if state.back(slave.ref, PIF.VLAN_slave_of) or state.back(slave.ref, PIF.tunnel_transport_PIF_of):
        yield f"{_name(slave)}: is a slave, and carries a VLAN or a tunnel by itself"


def networks_are_whole(state: PoolState) -> Iterator[str]:
    """A network that has PIFs is in use only where it has one; one without is in use on one host, unless it says that it is shared."""
    for network in state.all(Network):
        homes = homes_of(state, network)
        pifs = {pif.host for pif in state.where(PIF, "network", network.ref)}
        shared = not network.managed or is_himn(network) or network.other_config.get("assume_network_is_shared") == "true"
        for host in sorted(homes - pifs) if pifs else ():
            yield f"{_name(network)}: in use on {host}, which has no PIF on it"
        if not pifs and len(homes) > 1 and not shared:
            yield f"{_name(network)}: has no PIF, and is in use on {len(homes)} hosts"


def homes_of(state: PoolState, network: Network) -> set[Ref]:
    """Where a network's plugged VIFs are."""
    plugged = [vif for vif in state.where(VIF, "network", network.ref) if vif.plugged]
    vms = (state.find(VM, vif.VM) for vif in plugged)
    return {host for vm in vms if vm is not None for host in (vm.running_on, vm.peer) if host != NULL}


_RULES = (
    references_resolve,
    operations_lock_their_objects,
    operations_are_alone,
    names_are_unique,
    counters_are_ahead,
    vms_are_where_they_shall_be,
    vifs_are_as_they_shall_be,
    pifs_carry_their_vifs,
    trunks_are_beside_vlans,
    bonds_have_their_slaves,
)
