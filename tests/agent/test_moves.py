"""What a host's switch is told of a VM that goes: it is unlearned where it is no longer, once, and not before. And what is heard of one that goes
to another pool."""

import asyncio

import msgspec
import pytest

from tests.verbs.two_pools import Journey, two_pools
from tests.verbs.world import World
from xenet.agent import moves
from xenet.agent.moves import Moves
from xenet.agent.replica import Replica
from xenet.datapath.fake import FakeDatapath
from xenet.guests.base import FakeGuests
from xenet.model.hidden import Frame, Heard, Operation
from xenet.model.network import Network
from xenet.model.types import PREFIX, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.plan.compile import compile_guest, compile_switch
from xenet.plan.view import HostView, PortView
from xenet.verbs.operation import arrived_abroad, forsake, set_out


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


def a_machine(monkeypatch: pytest.MonkeyPatch, noted: float) -> tuple[World, Host, Host, Ref]:
    """A QEMU guest that runs on the first of two hosts of one machine; the kernel takes so long to note a tap."""
    monkeypatch.setattr(moves, "NOTED", noted)
    world = World()
    source, target = (Host(world.host(name, "eth0", guests="namespace", boot="the same machine")) for name in ("a", "b"))
    vm = world.vm(PV_kernel="/boot/vmlinuz", other_config={"xenet-guest": "qemu"}, memory_static_max=96 << 20)
    world.vif(vm, world.external(0))
    world.call("VM.start_on", vm, source.replica.host, False, False)
    return world, source, target, vm


def test_a_virtual_machine_is_forgotten_when_its_memory_is_over_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool has it on the other host as soon as it is sent; until it stands still it is here, and so are the frames to it."""
    world, source, target, vm = a_machine(monkeypatch, 0.01)
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


@pytest.mark.parametrize("back", [False, True])
def test_a_switch_that_takes_in_late_what_it_counted_is_told_again(back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the VM comes back."""
    monkeypatch.setattr(moves, "AGAIN", 0.01)
    host, port = Host(Ref("OpaqueRef:a")), PortView("vif1.0", "a VIF", "a VM", 0, "02:00:00:00:00:01")
    host.datapath.late, host.datapath.deserted = True, {port.device}
    host.moves.leaving[port.device] = port

    async def go() -> int:
        host.moves.see_off()
        if back:
            host.moves.announce_port(msgspec.structs.replace(port, device="vif2.0"))
        while not back and len(host.datapath.unlearned) <= moves.TIMES:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        host.moves.close()
        return len(host.datapath.unlearned)

    assert asyncio.run(asyncio.wait_for(go(), 20)) == (1 if back else 1 + moves.TIMES)


def test_a_host_is_ready_for_a_virtual_machine_when_the_kernel_has_noted_its_tap(monkeypatch: pytest.MonkeyPatch) -> None:
    world, source, target, vm = a_machine(monkeypatch, 0.05)
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


class Hears:
    """An ear that one frame comes to, which tells where that was."""

    def __init__(self, device: str, mac: str) -> None:
        self.device = device

    def close(self) -> tuple[tuple[Frame, ...], bool]:
        return (Frame(1, int.from_bytes(self.device.encode())),), True


@pytest.fixture
def journey(monkeypatch: pytest.MonkeyPatch) -> Journey:
    """The other pool awaits a VM, and this one has yet to send it."""
    monkeypatch.setattr("xenet.agent.moves.Ear", Hears)
    monkeypatch.setattr(moves, "NOTED", 0.001)
    monkeypatch.setattr(moves, "SETTLES", 0.05)
    return Journey(two_pools(), sent=False)


def vif_of(world: World) -> str:
    (vif,) = [vif.uuid for vif in world.state.all(VIF) if vif.plugged]
    return vif


def test_the_host_of_the_other_pool_hears_it_come(journey: Journey) -> None:
    there = journey.pools.there
    uuid = there.get(VM, journey.pools.vm).uuid

    async def go() -> Heard:
        host = Host(journey.pools.target)
        for _ in range(2):
            host.follow(there)
            there.report(journey.pools.target)
        assert there.get(VM, journey.pools.vm).crossing == "late"
        assert host.moves.waiting() == set()
        host.follow(there)
        assert list(host.moves.heard) == []
        assert host.moves.waiting() == {uuid}, "the pool shall not say that it runs before all is heard"
        async with asyncio.timeout(20):
            while host.moves.waiting():
                await asyncio.sleep(0.001)
        assert not host.moves.under_way
        (heard,) = host.moves.heard
        return heard

    heard = asyncio.run(go())
    assert (heard.vif, heard.coming, heard.switched, heard.whole) == (vif_of(there), True, 1, True)
    assert (len(heard.new), heard.old, heard.since > 0) == (1, (), True)


def sent(journey: Journey, stage: str) -> Host:
    """The host that it leaves, which follows it from then on."""
    pools, host = journey.pools, Host(journey.pools.source)
    guest = compile_guest(pools.here.state, pools.source, pools.vm.removeprefix(PREFIX))
    assert guest
    host.guests.start(guest)
    host.follow(pools.here)
    assert not host.moves.under_way
    pools.there.report(pools.target)
    change = set_out(pools.here.frame("errand"), journey.operation.ref, journey.told.result["way"])
    assert change
    pools.here.commit(change)
    host.guests.become(guest.vm, stage=stage)
    host.follow(pools.here)
    return host


def test_the_host_of_this_pool_hears_it_go(journey: Journey) -> None:
    device = f"tap{journey.pools.here.get(VM, journey.pools.vm).domid}.0"
    host, vif = sent(journey, "going"), vif_of(journey.pools.here)
    assert (host.moves.under_way, host.moves.heard) == (True, ())
    journey.pools.here.report(journey.pools.source, {journey.pools.vm: "the connection broke"})
    host.follow(journey.pools.here)
    assert (host.moves.under_way, host.moves.heard) == (True, ()), "it may have arrived all the same"
    journey.end(arrived_abroad)
    host.follow(journey.pools.here)
    (heard,) = host.moves.heard
    assert (heard.vif, heard.coming, heard.new) == (vif, False, ())
    assert int.from_bytes(device.encode()) in {frame.digest for frame in heard.seen}


def test_nothing_is_said_of_one_that_stays(journey: Journey) -> None:
    host = sent(journey, "going")
    journey.end(forsake, "it did not arrive")
    host.follow(journey.pools.here)
    assert journey.pools.here.get(VM, journey.pools.vm).power_state == "Running"
    assert (host.moves.under_way, host.moves.heard) == (False, ())


def test_an_agent_that_comes_when_it_is_gone_has_missed_it(journey: Journey) -> None:
    assert not sent(journey, "gone").moves.under_way
