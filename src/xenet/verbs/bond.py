"""Bond: create, destroy, and what can be changed of one. One operation each: all of what moves has moved, or nothing has."""

from collections.abc import Sequence

import msgspec

from xenet.model.change import Draft
from xenet.model.derived import Bond, BondMode
from xenet.model.hidden import NIC, HostFacts
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.types import EMPTY, NULL, BondRef, NetworkRef, PIFMetricsRef, PIFRef, Record, Ref, StrMap
from xenet.verbs.adopt import new_metrics
from xenet.verbs.allowed import check_removable, check_unheld
from xenet.verbs.attach import check_live
from xenet.verbs.bond_check import Wish, wish_of
from xenet.verbs.bond_moves import move_addresses, move_stack, move_vifs, vacate
from xenet.verbs.bond_properties import check_property, fitting
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.management import move_management
from xenet.verbs.registry import message
from xenet.verbs.stack import free_bond_device, is_up, level_mtu, slaves_of, want_plugged


@message("Bond", BondRef)
def create(
    call: Call, network: NetworkRef, members: tuple[PIFRef, ...], MAC: str, mode: BondMode = "balance-slb", properties: StrMap = EMPTY
) -> Outcome:
    """Addresses, management, VLANs, tunnels and local VIFs of the members move to the bond, which is plugged in any case.
    Raises what `wish_of` raises, in its order, HOST_OFFLINE [host], and OTHER_OPERATION_IN_PROGRESS for what would have to move."""
    wish = wish_of(call.state, network, members, MAC, mode, properties)
    check_live(call.state, wish.host)
    work = Work(call)
    made = add_bond(work, wish)
    return _await(work, wish.host, made.moved, made.bond)


class Made(msgspec.Struct, frozen=True):
    """A bond in a draft, and all the records that moved: PIFs that were, are and will be, and VIFs."""

    bond: Ref
    moved: Sequence[Record]


def add_bond(work: Work, wish: Wish) -> Made:
    """The records of a bond that nothing speaks against, and all that moves to it. Raises PIF_CONFIGURATION_ERROR [pif, text] where a
    VLAN's MTU is more than the bond's."""
    before = work.state
    bond, master = _new_bond(work, wish)
    move_addresses(work, wish.primary, master)
    for pif in wish.members:
        check_removable(work.base, pif)
        work.update(pif, bond_slave_of=bond.ref, plugged=False, management=False, disallow_unplug=False)
        vacate(work, pif.network, pif.host)
    want_plugged(work, master)
    if wish.primary.management:
        move_management(work, master)
    moved = move_stack(work, before, wish.members, master)
    moved += move_vifs(work, before, [pif.network for pif in wish.members], master)
    return Made(bond.ref, [work.state.get(PIF, master.ref), *wish.members, *moved])


def _new_bond(work: Work, wish: Wish) -> tuple[Bond, PIF]:
    draw = work.call.entropy.uuid
    device = free_bond_device(work.state, wish.host)
    metrics = work.put(new_metrics(draw(), NIC(device, wish.mac or wish.primary.MAC)))
    master = work.put(
        PIF(
            uuid=draw(),
            device=device,
            network=NetworkRef(wish.network.ref),
            host=wish.host,
            MAC=wish.mac or wish.primary.MAC,
            MTU=-1,
            VLAN=-1,
            metrics=PIFMetricsRef(metrics.ref),
            currently_attached=False,
            properties=wish.primary.properties,
            disallow_unplug=any(pif.disallow_unplug for pif in wish.members),
        )
    )
    bond = Bond(
        uuid=draw(),
        master=PIFRef(master.ref),
        primary_slave=PIFRef(wish.primary.ref),
        mode=wish.mode,
        properties=fitting(wish.mode, wish.properties),
        auto_update_mac=not wish.mac,
    )
    return work.put(bond), master


@message("Bond")
def destroy(call: Call, self: BondRef) -> Outcome:
    """All that is on the bond moves to its primary slave, and every slave is plugged if the bond was. The bond's network stays, without
    a PIF here. Raises HOST_OFFLINE [host], OTHER_OPERATION_IN_PROGRESS."""
    bond = call.state.get(Bond, self)
    master = call.state.get(PIF, bond.master)
    work = Work(call)
    moved = drop_bond(work, bond)
    if not is_up(call.state, master):
        for record in (call.state.get(HostFacts, master.host), *moved):
            check_unheld(call.state, record)
        return work.outcome()
    check_live(call.state, master.host)
    return _await(work, master.host, moved)


def drop_bond(work: Work, bond: Bond) -> list[Record]:
    """A bond is no more; the records that moved."""
    before = work.state
    master, primary = before.get(PIF, bond.master), before.get(PIF, bond.primary_slave)
    check_removable(work.base, master)
    vacate(work, master.network, master.host)
    move_addresses(work, master, primary)
    work.update(primary, disallow_unplug=primary.disallow_unplug or master.disallow_unplug)
    slaves = slaves_of(before, bond)
    for slave in slaves:
        now = work.update(slave, bond_slave_of=NULL)
        if master.plugged:
            want_plugged(work, now)
    if master.management:
        move_management(work, work.state.get(PIF, primary.ref))
    moved = move_stack(work, before, [master], work.state.get(PIF, primary.ref))
    moved += move_vifs(work, before, [master.network], work.state.get(PIF, primary.ref))
    for record in (bond, before.get(PIFMetrics, master.metrics), master):
        work.delete(record)
    return [primary, *slaves, master, *moved]


@message("Bond")
def set_mode(call: Call, self: BondRef, value: BondMode) -> Outcome:
    """Properties that mean something in the new mode stay; the new mode's own are added."""
    bond = call.state.get(Bond, self)
    return _changed(call, bond, mode=value, properties=fitting(value, bond.properties))


@message("Bond")
def set_property(call: Call, self: BondRef, name: str, value: str) -> Outcome:
    """Raises INVALID_VALUE ["properties", "name = value"]."""
    bond = call.state.get(Bond, self)
    check_property(bond.mode, name, value)
    return _changed(call, bond, properties={**bond.properties, name: value})


def _changed(call: Call, bond: Bond, **fields: object) -> Outcome:
    """In effect when the call returns, where the bond is there at all."""
    master = call.state.get(PIF, bond.master)
    work = Work(call)
    work.update(bond, **fields)
    if not is_up(call.state, master):
        check_unheld(call.state, master)
        return work.outcome()
    check_live(call.state, master.host)
    if master.plugged:
        want_plugged(work, master)
    return work.await_host(master.host, [(master, "set_property")], lambda draft: None)


def _await(work: Work, host: Ref, moved: Sequence[Record], result: Ref | str = "") -> Outcome:
    """The host follows. Its facts are held, too: meanwhile none of its PIFs comes, goes or becomes its management interface."""
    held: dict[Ref, Record] = {record.ref: record for record in moved}
    pifs = [record.ref for record in held.values() if isinstance(record, PIF)]

    def done(draft: Draft) -> None:
        for pif in (draft.state.find(PIF, ref) for ref in pifs):
            if pif is not None:
                draft.update(pif, currently_attached=pif.plugged)
                level_mtu(draft, pif)

    return work.await_host(host, [(record, "plug") for record in (*held.values(), work.state.get(HostFacts, host))], done, result)
