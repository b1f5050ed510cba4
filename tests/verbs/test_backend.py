"""host.set_network_backend: the record follows the host, a failure takes it back."""

import msgspec
import pytest

from tests.verbs.world import World
from xenet.model.derived import Tunnel
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.types import Ref
from xenet.verbs.host import hello

A = Ref("OpaqueRef:host-a")


@pytest.fixture
def world() -> World:
    made = World()
    made.host("a", "eth0", "eth1")
    return made


def backend(world: World) -> tuple[str, str]:
    return world.get(Host, A).software_version["network_backend"], world.get(HostFacts, A).backend


def test_the_host_says_what_it_has_once_it_has_it(world: World) -> None:
    before = backend(world)[0]
    other = "bridge" if before == "openvswitch" else "openvswitch"
    world.start("host.set_network_backend", A, other)
    assert backend(world) == (before, other)
    assert world.refusal("host.set_network_backend", A, before if before == other else other)[0] == "OTHER_OPERATION_IN_PROGRESS"
    world.report(A)
    assert backend(world) == (other, other)
    world.call("host.set_network_backend", A, before)
    assert backend(world) == (before, before)


def test_a_failure_changes_nothing(world: World) -> None:
    before = backend(world)
    world.start("host.set_network_backend", A, "openvswitch")
    (ended,) = world.report(A, {A: "no Open vSwitch here"})
    assert ended.failure is not None and "no Open vSwitch here" in str(ended.failure.description)
    assert backend(world) == before


def test_refusals(world: World) -> None:
    assert world.refusal("host.set_network_backend", A, "dpdk") == ["INVALID_VALUE", "backend", "dpdk"]
    world.leave(A)
    assert world.refusal("host.set_network_backend", A, "openvswitch") == ["HOST_OFFLINE", A]


def test_bridges_do_gre_where_the_kernel_does(world: World) -> None:
    world.call("host.set_network_backend", A, "openvswitch")
    transport = world.pif(A, world.external(0))
    world.call("PIF.reconfigure_ip", transport, "Static", "192.0.2.1", "255.255.255.0", "", "")
    world.call("tunnel.create", transport, world.network(), "gre")
    text = "tunnel0 is a tunnel by GRE, and the kernel of a has no ip_gre: make one with protocol=vxlan instead"
    assert world.refusal("host.set_network_backend", A, "bridge") == ["OPERATION_NOT_ALLOWED", text]
    facts = world.get(HostFacts, A)
    world.state = world.state.with_record("host_facts", A, msgspec.structs.replace(facts, gre=True))
    for name in ("bridge", "openvswitch"):
        world.call("host.set_network_backend", A, name)
    world.state = world.state.with_record("host_facts", A, facts)
    (tunnel,) = world.state.all(Tunnel)
    world.call("tunnel.destroy", tunnel.ref)
    world.call("host.set_network_backend", A, "bridge")
    assert backend(world) == ("bridge", "bridge")


def lacking(world: World, *lacks: str) -> None:
    """The host's agent says it when it comes."""
    facts = world.get(HostFacts, A)
    world.take(hello(world.frame("hello"), "host-a", "a", "openvswitch", facts.nics, "tap", lacks=lacks))
    world.report(A)


def test_vlans_and_bonds_stay_on_open_vswitch_where_the_kernel_lacks_them(world: World) -> None:
    world.host("b", "eth0", "eth1")
    eth0, eth1 = (world.pif(A, world.external(n)) for n in (0, 1))
    lacking(world, "VLANs", "bonds")
    vlan = world.call("VLAN.create", eth0, 42, world.network())
    records = world.state
    text = "eth0 has VLAN 42, and the kernel of a has no VLAN devices (8021q)"
    assert world.refusal("host.set_network_backend", A, "bridge") == ["OPERATION_NOT_ALLOWED", text]
    assert world.state is records
    lacking(world, "bonds")
    for name in ("bridge", "openvswitch"):
        world.call("host.set_network_backend", A, name)
    world.call("VLAN.destroy", vlan)
    bond = world.call("Bond.create", world.network(), (eth0, eth1), "")
    text = "bond0 is a bond, and the kernel of a has no bonds (bonding)"
    assert world.refusal("host.set_network_backend", A, "bridge") == ["OPERATION_NOT_ALLOWED", text]
    lacking(world, "VLANs")
    for name in ("bridge", "openvswitch"):
        world.call("host.set_network_backend", A, name)
    lacking(world, "VLANs", "bonds")
    world.call("Bond.destroy", bond)
    world.call("host.set_network_backend", A, "bridge")
    assert backend(world) == ("bridge", "bridge")
