"""host.set_network_backend: the record follows the host, a failure takes it back."""

import msgspec
import pytest

from tests.verbs.world import World
from xenet.model.derived import Tunnel
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.types import Ref

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
    text = "tunnel0 is a tunnel by GRE, and this host's kernel has no ip_gre: make one with protocol=vxlan instead"
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
