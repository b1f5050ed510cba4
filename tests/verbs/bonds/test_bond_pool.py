"""A host that comes gets the coordinator's bonds."""

from tests.verbs.bonds.words import bonded, static, tables
from tests.verbs.world import World
from xenet.model.derived import VLAN, Bond
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.invariants import violations
from xenet.model.pif import PIF
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.verbs.host import hello


def bond_on(world: World, network: Ref, host: Ref) -> tuple[Bond, list[str]]:
    master = world.pif(host, network)
    (bond,) = world.state.where(Bond, "master", master)
    return bond, sorted(slave.device for slave in world.state.where(PIF, "bond_slave_of", bond.ref))


def test_a_host_that_comes_gets_the_coordinators_bonds_and_the_vlans_on_them(world, host, eth, network):
    _, master = bonded(world, network, eth[1], eth[0], mode="lacp", lacp_time="fast")
    world.call("VLAN.create", master.ref, 42, world.network())
    late = world.host("late", "eth0", "eth1", "eth3")
    bond, slaves = bond_on(world, network, late)
    assert (slaves, bond.mode, bond.properties["lacp-time"]) == (["eth0", "eth1"], "lacp", "fast")
    assert world.get(PIF, bond.primary_slave).device == "eth1"
    pif = world.get(PIF, bond.master)
    assert (pif.device, pif.MAC, pif.currently_attached) == ("bond0", "02:00:00:00:04:01", True)
    assert [world.get(PIF, vlan.tagged_PIF).ref for vlan in world.state.all(VLAN)].count(bond.master) == 1
    assert violations(world.state) == []
    before = tables(world.state)
    world.host("late", "eth0", "eth1", "eth3")
    assert tables(world.state) == before, "once"


def test_a_host_without_all_the_nics_gets_a_smaller_bond(world, host, eth, network):
    bonded(world, network, eth[0], eth[1])
    assert bond_on(world, network, world.host("few", "eth1"))[1] == ["eth1"]
    none = world.host("none", "eth7")
    assert all(pif.host != none for pif in world.state.where(PIF, "network", network))


def test_a_hosts_bond_with_other_slaves_is_made_anew(world, host, eth, network):
    late = world.host("late", "eth0", "eth1", "eth2")
    own = [world.pif(late, world.external(n)) for n in range(3)]
    static(world, own[1])
    world.call("host.management_reconfigure", own[1])
    old, _ = bonded(world, network, own[1], own[2])
    bonded(world, network, eth[0], eth[1])
    world.host("late", "eth0", "eth1", "eth2")
    bond, slaves = bond_on(world, network, late)
    assert (slaves, world.state.find(Bond, old)) == (["eth0", "eth1"], None)
    assert world.get(PIF, bond.master).management
    assert world.get(Host, late).address == "192.0.2.1"
    assert world.get(PIF, own[2]).plugged
    assert violations(world.state) == []


def test_what_speaks_against_a_bond_leaves_the_host_as_it_was(world, host, eth, network):
    late = world.host("late", "eth0", "eth1")
    world.call("VLAN.create", world.pif(late, world.external(0)), 42, world.network(MTU=1500))
    for n in (0, 1):
        static(world, world.pif(late, world.external(n)), f"192.0.2.{n + 1}")
    bonded(world, network, eth[0], eth[1])
    before = tables(world.state)
    world.host("late", "eth0", "eth1")
    assert tables(world.state) == before


def test_a_hosts_bond_waits_for_what_is_under_way_there(world, host, eth, network):
    """A server that was killed and started hears of its hosts while their operations wait."""
    late = world.host("late", "eth0", "eth1")
    _, (vif,) = world.running(world.external(0), on=late)
    bonded(world, network, eth[0], eth[1])
    world.start("VIF.unplug", vif)
    world.take(hello(world.frame("hello"), "host-late", "late", "bridge", world.get(HostFacts, late).nics, "tap"))
    assert all(pif.host != late for pif in world.state.where(PIF, "network", network))
    world.report(late)
    world.host("late", "eth0", "eth1")
    assert bond_on(world, network, late)[1] == ["eth0", "eth1"]
    assert world.get(VIF, vif).network == network
