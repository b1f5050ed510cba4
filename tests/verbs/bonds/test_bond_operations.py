"""All of it or nothing; and what a bond waits for, or waits for it."""

import pytest

from tests.verbs.bonds.words import bonded, static, tables, upper, views
from tests.verbs.world import World
from xenet.model.derived import VLAN, Bond
from xenet.model.hidden import Operation
from xenet.model.invariants import violations
from xenet.model.pif import PIF
from xenet.model.types import NULL, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.operation import timeout_failure


def busy(world: World, host: Ref, eth: list[Ref]) -> None:
    """A host on which everything moves."""
    static(world, eth[0])
    world.call("host.management_reconfigure", eth[0])
    world.call("PIF.set_disallow_unplug", eth[0], True)
    for n in (0, 1):
        world.call("VLAN.create", eth[n], 42, world.network())
    world.running(world.external(0), world.external(1), on=host)
    world.vif(world.vm(), world.external(1))


@pytest.mark.parametrize("verb", ["create", "destroy"])
@pytest.mark.parametrize("what", ["the bond's network", "a slave's network", "a VLAN's network", "a VIF", "time"])
def test_what_fails_on_the_host_has_not_happened(world, host, eth, network, verb, what):
    busy(world, host, eth)
    ref = bonded(world, network, eth[0], eth[1])[0] if verb == "destroy" else NULL
    vlan = next(upper(world, vlan.ref).network for vlan in world.state.all(VLAN))
    before, seen = tables(world.state), views(world, host)
    create = ("Bond.create", network, (eth[0], eth[1]), "", "balance-slb", {})
    outcome = world.start("Bond.destroy", ref) if verb == "destroy" else world.start(*create)
    vif = next(vif for vif in world.get(Operation, outcome.operation).objects if world.state.find(VIF, vif))
    blamed = {"the bond's network": network, "a slave's network": world.external(1), "a VLAN's network": vlan, "a VIF": vif}
    if what == "time":
        world.leave(host)
        world.host("a", "eth0", "eth1", "eth2")
    else:
        (ended,) = world.report(host, {blamed[what]: "no"})
        assert ended.failure is not None
        assert ended.failure.code in ("PIF_CONFIGURATION_ERROR", "INTERNAL_ERROR")
        world.report(host)
        if ended.failure.code == "PIF_CONFIGURATION_ERROR":
            assert world.state.find(PIF, Ref(ended.failure.params[0])), "one that is there"
    assert tables(world.state) == before
    assert views(world, host) == seen
    assert violations(world.state) == []


def test_no_vif_is_to_blame_when_a_host_takes_too_long(world, host, eth, network):
    world.running(world.external(0), on=host)
    outcome = world.start("Bond.create", network, (eth[0],), "", "balance-slb", {})
    operation = world.get(Operation, outcome.operation)
    assert timeout_failure(world.frame("time-out"), operation).description == ["CANNOT_CONTACT_HOST", host]


def test_nothing_that_moves_can_be_touched_meanwhile(world, host, eth, network):
    busy(world, host, eth)
    waiting = world.vm()
    halted = world.vif(waiting, world.external(0))
    spare = world.network()
    ref = world.start("Bond.create", network, (eth[0], eth[1]), "", "balance-slb", {}).result
    master = world.get(Bond, ref).master
    (vlan,) = world.state.all(VLAN)
    for call in (
        ("PIF.plug", master),
        ("PIF.unplug", upper(world, vlan.ref).ref),
        ("PIF.set_disallow_unplug", eth[1], True),
        ("PIF.reconfigure_ip", eth[1], "Static", "192.0.2.9", "255.255.255.0", "", ""),
        ("PIF.scan", host),
        ("Bond.destroy", ref),
        ("Bond.set_mode", ref, "lacp"),
        ("VLAN.create", master, 7, spare),
        ("VIF.move", halted, spare),
        ("VIF.destroy", halted),
        ("VM.destroy", waiting),
        ("VM.start", waiting, False, False),
    ):
        assert world.refusal(*call)[0] == "OTHER_OPERATION_IN_PROGRESS", call
    world.report(host)
    world.call("VM.start", waiting, False, False)


def test_a_bond_waits_for_nobody_who_is_on_the_way(world, host, eth, network):
    """What could come back to a slave's network, or is about to be there."""
    _, (vif,) = world.running(world.external(0), on=host)
    create = ("Bond.create", network, (eth[0], eth[1]), "", "balance-slb", {})
    world.start("VIF.move", vif, world.external(2))
    assert world.refusal(*create)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "network", world.external(0)]
    world.report(host)
    vm = world.vm()
    coming = world.vif(vm, world.external(1))
    world.start("VM.start", vm, False, False)
    assert world.refusal(*create)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "VIF", coming]
    world.report(host)
    world.call(*create)


@pytest.mark.parametrize("there", [0, 1])
def test_a_vm_between_two_hosts_is_waited_for_on_both(world, there):
    """In every phase of its migration in which it may yet go back."""
    hosts = [world.host(name, "eth0", guests="namespace") for name in ("a", "bb")]
    vm, (vif,) = world.running(world.external(0), on=hosts[0])
    network = world.network()
    create = ("Bond.create", network, (world.pif(hosts[there], world.external(0)),), "", "balance-slb", {})
    outcome = world.start("VM.pool_migrate", vm, hosts[1], {})
    while world.get(VM, vm).peer != NULL:
        assert world.refusal(*create)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "VIF", vif]
        world.report(world.get(Operation, outcome.operation).waiting[0])
    for host in hosts:
        world.report(host)
    world.call(*create)
    assert world.get(VIF, vif).network == (network if there else world.external(0))


def test_what_may_come_back_to_a_pif_is_waited_for(world, host, eth, network):
    """A VLAN or tunnel that the host has yet to take down stands on its PIF again if that fails."""
    static(world, eth[1])
    on, over = world.network(), world.network()
    vlan = world.call("VLAN.create", eth[1], 42, on)
    tunnel = world.call("tunnel.create", eth[1], over, "vxlan")
    for destroy in (("tunnel.destroy", tunnel), ("VLAN.destroy", vlan)):
        world.start(*destroy)
        for call in (
            ("Bond.create", network, (eth[0], eth[1]), "", "balance-slb", {}),
            ("host.reset_networking", host),
            *([("PIF.forget", eth[1]), ("VLAN.create", eth[1], 42, network)] if destroy[1] == vlan else []),
        ):
            assert world.refusal(*call)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "PIF", eth[1]], (destroy, call)
        world.report(host)
    world.start("VLAN.create", eth[1], 42, network)
    world.report(host)
    ref, master = bonded(world, on, eth[0], eth[1])
    (vlan,) = world.state.all(VLAN)
    world.start("VLAN.destroy", vlan.ref)
    assert world.refusal("Bond.destroy", ref)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "PIF", master.ref]


def test_a_vlan_that_carries_a_tunnel_stays(world, host, eth, network):
    vlan = world.call("VLAN.create", eth[1], 42, network)
    static(world, upper(world, vlan).ref)
    world.call("tunnel.create", upper(world, vlan).ref, world.network(), "vxlan")
    assert world.refusal("VLAN.destroy", vlan) == ["PIF_TUNNEL_STILL_EXISTS", upper(world, vlan).ref]


def test_a_network_that_a_bond_may_come_back_to_is_waited_for(world, host, eth, network):
    """The bond itself is unplugged and stays so if it comes back: then no VIF may have come meanwhile."""
    ref, master = bonded(world, network, eth[0], eth[1])
    world.call("VLAN.create", master.ref, 42, world.network())
    world.call("PIF.unplug", master.ref)
    vm = world.vm()
    world.vif(vm, network)
    vm2 = world.vm()
    world.start("Bond.destroy", ref)
    assert world.refusal("VM.start", vm, False, False)[0] == "OTHER_OPERATION_IN_PROGRESS"
    vif = world.vif(vm2, network)
    assert world.refusal("VM.start", vm2, False, False)[0] == "OTHER_OPERATION_IN_PROGRESS"
    world.report(host, {network: "no"})
    assert world.get(VIF, vif).network == network
    assert not world.get(PIF, master.ref).plugged
    assert violations(world.state) == []
