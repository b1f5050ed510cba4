"""network.attach and its like: networks that a host has without a VIF on them; and the record alone, pool_introduce."""

import pytest

from tests.plan.whole import compile_host
from tests.verbs.world import World
from xenet.model.hidden import Attachment, ForeignBridge, HostFacts
from xenet.model.invariants import violations
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.types import Ref
from xenet.plan.compile import compile_switch


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0", "eth1", guests="namespace")


def there(world: World, network: Ref, host: Ref) -> bool:
    return compile_switch(world.state, host, world.get(Network, network).bridge) is not None


def test_an_external_network_by_its_pif(world, host):
    pif, network = world.pif(host, world.external(1)), world.external(1)
    world.call("PIF.unplug", pif)
    world.call("network.attach", network, host)
    assert world.get(PIF, pif).currently_attached is True
    assert world.state.count(Attachment) == 0
    other = world.host("bb", "eth0")
    assert world.refusal("network.attach", network, other) == ["HOST_CANNOT_ATTACH_NETWORK", other, network]
    world.leave(host)
    assert world.refusal("network.attach", network, host) == ["HOST_OFFLINE", host]


def test_an_internal_network_stays_until_its_last_vif_goes(world, host):
    network = world.network()
    outcome = world.start("network.attach", network, host)
    assert list(world.get(Network, network).current_operations.values()) == ["attaching"]
    assert world.refusal("network.attach", network, host)[0] == "OTHER_OPERATION_IN_PROGRESS"
    assert world.refusal("network.destroy", network)[0] == "OTHER_OPERATION_IN_PROGRESS"
    world.settle(outcome.operation)
    assert world.get(Network, network).current_operations == {}
    world.call("network.attach", network, host)
    _, (one,) = world.running(network, on=host)
    vm, (two,) = world.running(network, on=host)
    world.call("VIF.unplug", one)
    world.call("VM.hard_reboot", vm)
    world.call("VIF.unplug", two)
    assert not there(world, network, host)
    world.call("network.attach", network, host)
    world.call("VIF.move", two, network)
    assert there(world, network, host), "no VIF came or went"
    world.call("network.destroy", network)
    assert world.state.count(Attachment) == 0


def test_an_attach_that_fails_leaves_nothing(world, host):
    network = world.network()
    world.start("network.attach", network, host)
    world.report(host, {network: "no room"})
    assert (world.state.count(Attachment), there(world, network, host)) == (0, False)


def test_a_pif_takes_the_place(world, host):
    """A VLAN's, for one: the network is there as the PIF is."""
    network = world.network()
    world.call("network.attach", network, host)
    world.call("VLAN.create", world.pif(host, world.external(0)), 5, network)
    assert world.state.count(Attachment) == 0
    assert there(world, network, host)


def test_an_unmanaged_network_must_be_there(world, host):
    unmanaged = world.network(managed=False, bridge="br9")
    assert world.refusal("network.attach", unmanaged, host) == ["BRIDGE_NOT_AVAILABLE", "br9"]
    facts = world.get(HostFacts, host)
    world.state = world.state.with_record("host_facts", host, HostFacts(uuid=facts.uuid, host=host, bridges=(ForeignBridge("br9", 1500),)))
    before = compile_host(world.state, host)
    world.call("network.attach", unmanaged, host)
    assert compile_host(world.state, host) == before


def test_a_bridge_of_somebody_elses_is_not_taken(world, host):
    network, vm = world.network(bridge="br9"), world.running(on=host)[0]
    vif, facts = world.vif(vm, network), world.get(HostFacts, host)
    world.state = world.state.with_record("host_facts", host, HostFacts(uuid=facts.uuid, host=host, bridges=(ForeignBridge("br9", 1500),)))
    assert world.refusal("network.attach", network, host) == ["BRIDGE_NAME_EXISTS", "br9"]
    assert world.refusal("VIF.plug", vif) == ["BRIDGE_NAME_EXISTS", "br9"]


def test_persist_keeps_an_internal_network(world, host):
    network = world.network(other_config={"persist": "true"})
    assert not there(world, network, host)
    _, (vif,) = world.running(network, on=host)
    world.call("VIF.unplug", vif)
    assert there(world, network, host)
    world.host("a", "eth0", "eth1", guests="namespace")
    assert there(world, network, host), "also when the host comes anew"
    world.call("network.remove_from_other_config", network, "persist")
    assert not there(world, network, host)


def test_persist_may_be_said_later_and_taken_back_under_a_vif(world, host):
    network = world.network()
    _, (vif,) = world.running(network, on=host)
    world.call("network.add_to_other_config", network, "persist", "true")
    world.call("VIF.unplug", vif)
    assert there(world, network, host)
    world.call("VIF.plug", vif)
    world.call("network.remove_from_other_config", network, "persist")
    assert there(world, network, host)
    world.call("VIF.unplug", vif)
    assert not there(world, network, host)


def test_all_networks_of_a_vm_come_and_go(world, host):
    inner, lasting = world.network(), world.network(other_config={"persist": "1"})
    vm = world.vm()
    world.call("PIF.unplug", world.pif(host, world.external(1)))
    for device, network in enumerate((inner, lasting, world.external(1), inner)):
        world.vif(vm, network, str(device))
    world.call("network.attach_for_vm", host, vm)
    assert all(there(world, network, host) for network in (inner, lasting, world.external(1)))
    world.call("network.detach_for_vm", host, vm)
    assert [there(world, network, host) for network in (inner, lasting, world.external(1))] == [False, True, True]
    assert world.start("network.detach_for_vm", host, vm).operation is None
    world.call("VM.start_on", vm, host, False, False)
    world.call("network.attach_for_vm", host, vm)
    world.call("network.detach_for_vm", host, vm)
    assert there(world, inner, host), "VIFs use it"


def test_attach_for_vm_refuses_what_the_vm_cannot_have(world, host):
    vm, other = world.vm(), world.host("bb", "eth0")
    network = world.external(1)
    world.vif(vm, network)
    assert world.refusal("network.attach_for_vm", other, vm) == ["VM_REQUIRES_NETWORK", vm, network]


def introduce(world: World, bridge: str, managed: bool = True, purpose: tuple[str, ...] = ()) -> Ref:
    made: Ref = world.call("network.pool_introduce", "green", "its text", 9000, {"automatic": "true"}, bridge, managed, purpose)
    return made


def test_the_record_alone_is_introduced(world, host):
    network = world.get(Network, introduce(world, "xapi7", purpose=("nbd",)))
    assert (network.name_label, network.name_description, network.MTU, network.bridge) == ("green", "its text", 9000, "xapi7")
    assert (network.managed, network.purpose, network.other_config) == (True, ("nbd",), {"automatic": "true"})
    assert violations(world.state) == []
    assert world.get(Network, world.network()).bridge == "xapi8", "no number twice"
    assert world.get(Network, introduce(world, "")).bridge == "xapi9"
    args = ["", "", 1500, {}]
    assert world.refusal("network.pool_introduce", *args, "xapi7", True, ()) == ["BRIDGE_NAME_EXISTS", "xapi7"]
    assert world.refusal("network.pool_introduce", *args, "a/b", True, ()) == ["INVALID_VALUE", "bridge", "a/b"]
