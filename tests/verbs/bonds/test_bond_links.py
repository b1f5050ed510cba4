"""What hosts say of their bonds' links."""

import msgspec

from tests.verbs.bonds.words import bonded, change
from tests.verbs.world import World
from xenet.model.derived import Bond
from xenet.model.hidden import NIC, BondLinks, HostFacts
from xenet.model.host import Host
from xenet.model.message import Message
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.types import Ref

BOTH = ("eth0", "eth1")


def alerts(world: World) -> list[str]:
    return [message.body for message in sorted(world.state.all(Message), key=lambda message: message.timestamp)]


def says(world: World, host: Ref, *up: str, active: tuple[str, ...] | None = None) -> None:
    world.later(1)
    world.report(host, bonds=(BondLinks("bond0", up, up if active is None else active),))


def test_links_up_and_metrics_and_alerts(world, host, eth, network):
    change(world, HostFacts, host, nics=tuple(msgspec.structs.replace(nic, duplex=True) for nic in world.get(HostFacts, host).nics))
    ref, master = bonded(world, network, eth[0], eth[1])
    assert world.get(Bond, ref).links_up == 0
    says(world, host, *BOTH)
    assert (world.get(Bond, ref).links_up, alerts(world)) == (2, [])
    metrics = world.get(PIFMetrics, master.metrics)
    assert (metrics.carrier, metrics.speed, metrics.duplex, metrics.last_updated) == (True, 2000, True, world.now)
    says(world, host, "eth1")
    metrics = world.get(PIFMetrics, master.metrics)
    assert (metrics.carrier, metrics.speed, world.get(Bond, ref).links_up) == (True, 1000, 1)
    says(world, host)
    metrics = world.get(PIFMetrics, master.metrics)
    assert (metrics.carrier, metrics.speed, metrics.duplex, world.get(Bond, ref).links_up) == (False, 0, False, 0)
    says(world, host, *BOTH)
    assert alerts(world) == [
        "The status of the eth0+eth1 bond changed: 1/2 up (was 2/2)",
        "The status of the eth0+eth1 bond changed: 0/2 up (was 1/2)",
        "The status of the eth0+eth1 bond changed: 2/2 up (was 0/2)",
    ]
    raised = next(world.state.all(Message))
    assert (raised.name, raised.cls, raised.priority, raised.obj_uuid) == ("BOND_STATUS_CHANGED", "Host", 3, world.get(Host, host).uuid)


def test_only_what_carries_frames_is_fast(world, host, eth, network):
    _, master = bonded(world, network, eth[0], eth[1], mode="active-backup")
    says(world, host, *BOTH, active=("eth1",))
    assert world.get(PIFMetrics, master.metrics).speed == 1000


def test_a_link_that_was_never_up_is_told_of_at_first_sight(world, host, eth, network):
    ref, master = bonded(world, network, eth[0], eth[1])
    says(world, host, "eth0")
    assert alerts(world) == ["The status of the eth0+eth1 bond is: 1/2 up"]
    world.call("PIF.unplug", master.ref)
    world.report(host, bonds=())
    assert (world.get(Bond, ref).links_up, world.get(PIFMetrics, master.metrics).carrier) == (0, False)
    world.call("PIF.plug", master.ref)
    says(world, host, *BOTH)
    assert len(alerts(world)) == 1


def test_nothing_changes_where_nothing_is_new(world, host, eth, network):
    bonded(world, network, eth[0], eth[1])
    says(world, host, *BOTH)
    before = world.state
    says(world, host, *BOTH)
    assert world.state is before


def test_a_slaves_device_has_the_bonds_mac_and_its_pif_its_own(world, host, eth, network):
    bonded(world, network, eth[1], eth[0], mac="02:00:00:00:77:01")
    own = [world.get(PIF, pif).MAC for pif in eth]
    world.report(host, nics=with_macs(world, host, "02:00:00:00:77:01", "02:00:00:00:77:01", own[2]))
    assert [world.get(PIF, pif).MAC for pif in eth] == own


def test_another_card_in_the_primary_slaves_place(world, host, eth, network):
    _, master = bonded(world, network, eth[0], eth[1])
    _, given = bonded(world, world.network(), eth[2], mac="02:00:00:00:77:01")
    new = [f"02:00:00:00:99:0{n}" for n in range(3)]
    world.report(host, nics=with_macs(world, host, *new))
    assert [world.get(PIF, pif).MAC for pif in (eth[0], master.ref, eth[2], given.ref)] == [new[0], new[0], new[2], "02:00:00:00:77:01"]


def with_macs(world: World, host: Ref, *macs: str) -> tuple[NIC, ...]:
    return tuple(msgspec.structs.replace(nic, mac=mac) for nic, mac in zip(world.get(HostFacts, host).nics, macs, strict=True))
