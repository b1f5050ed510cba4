"""An inventory is a pool again: its own, and a XenServer's, whose references are not made of uuids and which has what xenet has not."""

import json
from typing import Any

import pytest

from tests.verbs.world import World
from xenet.model.classes import PUBLIC
from xenet.model.errors import Failure
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.invariants import violations
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.types import NULL
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.inventory import change_of
from xenet.wire.values import plain

Tables = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture
def world() -> World:
    world = World()
    first, second = world.host("host1", "eth0", "eth1"), world.host("host22", "eth0", "eth1")
    world.running(world.network(), world.external(0), on=first)
    world.running(world.external(1), on=second)
    world.call("pool.create_VLAN_from_PIF", world.pif(first, world.external(1)), world.network(), 5)
    return world


def tables_of(world: World) -> Tables:
    """As a client has them: JSON, of every class."""
    found = {cls.xenapi: world.call(f"{cls.xenapi}.get_all_records") for cls in PUBLIC}
    tables: Tables = json.loads(json.dumps(plain(found)))
    return tables


def made_of(tables: Tables) -> PoolState:
    state = change_of(tables).apply(PoolState())
    assert violations(state) == []
    return state


def test_what_clients_saw_they_see_again(world: World) -> None:
    before = tables_of(world)
    world.state = made_of(before)
    after = tables_of(world)
    for cls in set(before) - {"task"}:
        for ref, record in before[cls].items():
            passing = {"allowed_operations", "current_operations"}
            assert {n: v for n, v in after[cls][ref].items() if n not in passing} == {n: v for n, v in record.items() if n not in passing}
    assert after["task"] == {}
    assert {vif.plugged for vif in world.state.all(VIF)} == {True}
    assert {tuple(nic.device for nic in facts.nics) for facts in world.state.all(HostFacts)} == {("eth0", "eth1")}


def test_nothing_is_given_out_twice(world: World) -> None:
    taken = {network.bridge for network in world.state.all(Network)}
    world.state = made_of(tables_of(world))
    assert world.get(Network, world.network()).bridge not in taken
    vm, _ = world.running(on=next(world.state.all(Host)).ref)
    assert [other.domid for other in world.state.all(VM)].count(world.get(VM, vm).domid) == 1


def xenserver(tables: Tables) -> Tables:
    """The same as a XenServer tells it: references of another make, storage, a dom0 on each host whose domain is 0, a paused VM."""
    text = json.dumps(tables)
    for number, ref in enumerate(ref for table in tables.values() for ref in table):
        text = text.replace(ref, f"OpaqueRef:of-another-make-{number}")
    told: Tables = json.loads(text)
    told["SR"] = {"OpaqueRef:sr": {"uuid": "sr", "name_label": "disks"}}
    (pool,) = told["pool"].values()
    pool |= {"default_SR": "OpaqueRef:sr", "telemetry_uuid": "OpaqueRef:NULL"}
    for number, host in enumerate(told["host"]):
        dom0 = next(iter(told["VM"].values())) | {"uuid": f"dom0-{number}", "is_control_domain": True, "domid": 0, "resident_on": host, "VIFs": []}
        told["VM"][f"OpaqueRef:dom0-{number}"] = dom0
    paused = next(vm for vm in told["VM"].values() if not vm["is_control_domain"])
    paused |= {"power_state": "Paused", "VBDs": ["OpaqueRef:disk"]}
    for pif in told["PIF"].values():
        del pif["igmp_snooping_status"]  # older servers do not have it
        pif["primary_address_type"] = "IPv9"
    return told


def test_a_xenservers_pool(world: World) -> None:
    before = tables_of(world)
    state = made_of(xenserver(before))
    assert {pif.ref for pif in state.all(PIF)} == set(before["PIF"]), "ours are made of the uuid, whatever theirs were"
    assert next(state.all(Pool)).default_SR == NULL
    assert {pif.primary_address_type for pif in state.all(PIF)} == {"IPv4"}
    running = [vm for vm in state.all(VM) if vm.power_state == "Running"]
    assert len(running) == 4
    assert len({vm.domid for vm in running}) == 4
    assert all(state.find(Host, pif.host) and state.find(Network, pif.network) for pif in state.all(PIF))


@pytest.mark.parametrize("tables", [{}, {"pool": {}}, {"pool": {"OpaqueRef:1": {}}}, {"pool": ["no"]}, {"host": 5}])
def test_what_is_no_inventory_is_refused(tables: Any) -> None:
    with pytest.raises(Failure) as refused:
        change_of(tables)
    assert refused.value.code == "INTERNAL_ERROR"
