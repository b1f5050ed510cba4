"""host.set_network_backend: the record follows the host, a failure takes it back."""

import pytest

from tests.verbs.world import World
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
