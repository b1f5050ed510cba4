"""Migration of a virtual machine that is a QEMU: what each phase commits, how long hosts have, and how it ends when one fails or stays away."""

from datetime import timedelta

import pytest

from tests.verbs.test_migrate import OPTIONS, is_settled, operation
from tests.verbs.world import World
from xenet.model.hidden import Operation
from xenet.model.types import Ref
from xenet.model.vm import VM
from xenet.verbs.call import PATIENCE
from xenet.verbs.operation import timeout_failure


@pytest.fixture
def world():
    return World()


@pytest.fixture
def hosts(world):
    return [world.host(name, "eth0", guests="namespace", boot="the same machine") for name in ("a", "b")]


@pytest.fixture
def vm(world, hosts):
    made = world.vm(PV_kernel="/boot/vmlinuz", other_config={"xenet-guest": "qemu"}, memory_static_max=96 << 20)
    world.vif(made, world.external(0))
    world.call("VM.start_on", made, hosts[0], False, False)
    world.start("VM.pool_migrate", made, hosts[1], OPTIONS)
    for host in hosts:
        world.report(host)
    return made


def says(world: World, vm: Ref) -> tuple[Ref, Ref, bool]:
    record = world.get(VM, vm)
    return record.running_on, record.peer, record.taken_back


def late(world: World) -> list[str]:
    """What the operation fails with, whose time is over."""
    found = operation(world)
    failure = timeout_failure(world.frame("time-out"), found)
    world.give_up(found.ref, failure)
    return failure.description


def test_it_goes_when_the_destination_has_it(world, hosts, vm):
    a, b = hosts
    assert says(world, vm) == (b, a, False)
    assert operation(world).waiting == (b,)
    world.report(b)
    for host in hosts:
        world.report(host)
    assert is_settled(world, vm, b)


@pytest.mark.parametrize("teller", ["source", "destination"])
def test_what_either_host_says_against_it_counts(world, hosts, vm, teller):
    """The destination's QEMU ends before the source's goes on."""
    a, b = hosts
    world.report({"source": a, "destination": b}[teller], {vm: "no"})
    assert says(world, vm) == (a, b, True)
    world.report(b)
    assert says(world, vm)[0] == a
    assert not says(world, vm)[2]
    world.report(a)
    (end,) = world.report(b)
    assert end.failure.description == ["INTERNAL_ERROR", "no"]
    assert is_settled(world, vm, a)


@pytest.mark.parametrize("back", [True, False])
def test_a_destination_that_is_silent_has_time_and_no_more(world, hosts, vm, back):
    a, b = hosts
    world.leave(b)
    assert says(world, vm) == (b, a, False), "agents die, and guests do not"
    if back:
        world.host("b", "eth0", guests="namespace", boot="the same machine")
        for host in hosts:
            world.report(host)
        assert is_settled(world, vm, b)
        return
    world.later(PATIENCE.total_seconds())
    assert late(world) == ["CANNOT_CONTACT_HOST", b]
    assert says(world, vm) == (a, b, True)
    world.report(a)
    assert operation(world).waiting == (b,), "it is told to end its QEMU before the source's goes on"
    late(world)
    world.report(a)
    assert world.state.count(Operation) == 0
    assert is_settled(world, vm, a)


def test_a_copy_that_takes_too_long_is_no_fault_of_the_vif(world, hosts, vm):
    a, b = hosts
    assert operation(world).deadline == world.now + PATIENCE + timedelta(seconds=3), "96 MiB"
    assert late(world) == ["VM_MIGRATE_FAILED", vm, a, b, "not in time"]
    world.report(b)
    world.report(a)
    world.report(b)
    assert is_settled(world, vm, a)
