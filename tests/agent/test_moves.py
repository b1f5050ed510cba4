"""What a host's switch is told of a VM that goes: it is unlearned where it is no longer, once, and not before."""

import asyncio

import pytest

from tests.verbs.world import World
from xenet.agent import moves
from xenet.agent.moves import Moves
from xenet.agent.replica import Replica
from xenet.datapath.fake import FakeDatapath
from xenet.guests.base import FakeGuests
from xenet.model.hidden import Operation
from xenet.model.network import Network
from xenet.model.types import Ref
from xenet.model.vm import VM
from xenet.plan.compile import compile_guest, compile_switch
from xenet.plan.view import HostView


@pytest.fixture(autouse=True)
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no device to listen to."""

    def ear(device: str, mac: str) -> None:
        raise OSError(f"no {device}")

    monkeypatch.setattr("xenet.agent.moves.Ear", ear)


class Host:
    """One of the two, as its agent follows the pool."""

    def __init__(self, ref: Ref) -> None:
        self.replica, self.datapath, self.guests = Replica(), FakeDatapath(), FakeGuests()
        self.replica.host = ref
        self.moves = Moves(self.replica, self.guests, self.datapath, lambda port: [])

    def follow(self, world: World) -> None:
        self.replica.state = world.state
        bridges = [network.bridge for network in world.state.all(Network)]
        switches = {bridge: switch for bridge in bridges if (switch := compile_switch(world.state, self.replica.host, bridge))}
        self.moves.follow(HostView(switches), 1)
        self.moves.see_off()


def test_the_source_forgets_the_mac_at_the_switch_over() -> None:
    world = World()
    source, target = (Host(world.host(name, "eth0", guests="namespace")) for name in ("a", "b"))
    vm, _ = world.running(world.external(0), on=source.replica.host)
    device = f"vif{world.get(VM, vm).domid}.0"
    unlearned = []
    world.start("VM.pool_migrate", vm, target.replica.host, {})
    while operations := list(world.state.all(Operation)):
        for host in (source, target):
            host.follow(world)
        if not world.get(VM, vm).handing_over and not source.datapath.deserted:
            assert source.datapath.unlearned == [], "its end of the port is still there"
            source.datapath.deserted = {device}
            source.moves.see_off()
        for host in (source, target):
            host.follow(world)
        unlearned.append((source.datapath.unlearned, target.datapath.unlearned))
        assert source.datapath.unlearned == ([] if world.get(VM, vm).handing_over else [device])
        world.report(operations[0].waiting[0])
    assert len(unlearned) > 2
    assert target.datapath.unlearned == []


def test_who_gives_it_back_forgets_it_as_well() -> None:
    world = World()
    source, target = (Host(world.host(name, "eth0", guests="namespace")) for name in ("a", "b"))
    vm, _ = world.running(world.external(0), on=source.replica.host)
    operation = world.start("VM.pool_migrate", vm, target.replica.host, {}).operation
    assert operation
    for host in (target, source):
        world.report(host.replica.host)
    assert world.get(VM, vm).running_on == target.replica.host
    device = f"vif{world.get(VM, vm).domid}.0"
    target.datapath.deserted = {device}
    target.follow(world)
    world.report(target.replica.host, {vm: "it does not come up"})
    assert world.get(VM, vm).running_on == source.replica.host
    target.follow(world)
    assert target.datapath.unlearned == [device]


def test_a_virtual_machine_is_forgotten_when_its_memory_is_over_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool has it on the other host as soon as it is sent; until it stands still it is here, and so are the frames to it."""
    monkeypatch.setattr(moves, "NOTED", 0.01)
    world = World()
    source, target = (Host(world.host(name, "eth0", guests="namespace", boot="the same machine")) for name in ("a", "b"))
    vm = world.vm(PV_kernel="/boot/vmlinuz", other_config={"xenet-guest": "qemu"}, memory_static_max=96 << 20)
    world.vif(vm, world.external(0))
    world.call("VM.start_on", vm, source.replica.host, False, False)
    uuid, device = world.get(VM, vm).uuid, f"tap{world.get(VM, vm).domid}.0"

    def goes(stage: str) -> list[str]:
        source.guests.become(uuid, stage=stage)
        source.moves.see_off()
        return source.datapath.unlearned

    async def go() -> None:
        guest = compile_guest(world.state, source.replica.host, uuid)
        assert guest
        source.guests.start(guest)
        operation = world.start("VM.pool_migrate", vm, target.replica.host, {}).operation
        assert operation
        while world.get(VM, vm).running_on != target.replica.host:
            for host in (source, target):
                host.follow(world)
            world.report(world.get(Operation, operation).waiting[0])
        source.follow(world)
        assert goes("runs") == [], "it is still to be sent"
        assert goes("going") == [], "its memory is on the way"
        assert goes("gone") == [device]

    asyncio.run(go())


def test_a_host_is_ready_for_a_virtual_machine_when_the_kernel_has_noted_its_tap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "NOTED", 0.05)
    world = World()
    source, target = (Host(world.host(name, "eth0", guests="namespace", boot="the same machine")) for name in ("a", "b"))
    vm = world.vm(PV_kernel="/boot/vmlinuz", other_config={"xenet-guest": "qemu"}, memory_static_max=96 << 20)
    world.vif(vm, world.external(0))
    world.call("VM.start_on", vm, source.replica.host, False, False)
    world.start("VM.pool_migrate", vm, target.replica.host, {})

    async def ready() -> None:
        noted = asyncio.Event()
        target.moves.changed = noted.set
        for _ in range(2):
            for host in (source, target):
                host.follow(world)
        assert source.moves.waiting() == set()
        assert target.moves.waiting() == {world.get(VM, vm).uuid}
        async with asyncio.timeout(20):
            await noted.wait()
        assert target.moves.waiting() == set()
        target.follow(world)
        assert target.moves.waiting() == set(), "it is noted once"

    asyncio.run(ready())
