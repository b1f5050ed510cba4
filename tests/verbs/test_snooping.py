"""pool.set_igmp_snooping_enabled: on all hosts or on none, where all are on Open vSwitch."""

import pytest

from tests.verbs.world import World
from xenet.model.change import Draft
from xenet.model.derived import VLAN
from xenet.model.errors import Failure
from xenet.model.hidden import Operation
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.pool import Pool
from xenet.model.types import Ref

SET = "pool.set_igmp_snooping_enabled"


@pytest.fixture
def world() -> World:
    made = World()
    for name in ("a", "b"):
        made.host(name, "eth0")
    backend(made, "openvswitch")
    return made


def backend(world: World, name: str) -> None:
    draft = Draft(world.state)
    for host in world.state.all(Host):
        draft.update(host, software_version={**host.software_version, "network_backend": name})
    world.state = draft.state


def pool(world: World) -> Pool:
    return next(world.state.all(Pool))


def statuses(world: World) -> set[str]:
    return {pif.igmp_snooping_status for pif in world.state.all(PIF)}


def test_a_bridge_cannot(world: World) -> None:
    backend(world, "bridge")
    assert world.refusal(SET, pool(world).ref, True) == ["OPENVSWITCH_NOT_ACTIVE"]
    assert not pool(world).igmp_snooping_enabled


def test_it_goes_off_whatever_the_hosts_have(world: World) -> None:
    world.call(SET, pool(world).ref, True)
    backend(world, "bridge")
    world.call(SET, pool(world).ref, False)
    assert not pool(world).igmp_snooping_enabled


def test_no_host_gets_bridges_while_it_is_on(world: World) -> None:
    world.call(SET, pool(world).ref, True)
    host = Ref("OpaqueRef:host-b")
    code, text = world.refusal("host.set_network_backend", host, "bridge")
    assert (code, "igmp-snooping-enabled=false" in text) == ("OPERATION_NOT_ALLOWED", True)
    world.call(SET, pool(world).ref, False)
    world.call("host.set_network_backend", host, "bridge")
    assert world.get(Host, host).software_version["network_backend"] == "bridge"


def test_a_vlan_s_status_stays_unknown(world: World) -> None:
    lower = next(pif for pif in world.state.all(PIF) if pif.host == "OpaqueRef:host-a")
    vlan = world.call("VLAN.create", lower.ref, 42, world.network())
    world.call(SET, pool(world).ref, True)
    assert world.get(PIF, world.get(VLAN, vlan).untagged_PIF).igmp_snooping_status == "unknown"
    assert world.get(PIF, lower.ref).igmp_snooping_status == "enabled"


def test_all_hosts_do_it_and_their_pifs_say_so(world: World) -> None:
    world.call(SET, pool(world).ref, True)
    assert pool(world).igmp_snooping_enabled
    assert statuses(world) == {"enabled"}
    world.call(SET, pool(world).ref, False)
    assert statuses(world) == {"disabled"}
    assert not list(world.state.all(Operation))


def test_where_one_fails_none_does_it(world: World) -> None:
    world.start(SET, pool(world).ref, True)
    host = Ref("OpaqueRef:host-b")
    network = next(world.get(Network, pif.network) for pif in world.state.all(PIF) if pif.host == host)
    (ended,) = world.report(host, {network.ref: "it cannot"})
    assert isinstance(ended.failure, Failure)
    assert ended.failure.description == ["COULD_NOT_UPDATE_IGMP_SNOOPING_EVERYWHERE"]
    assert not pool(world).igmp_snooping_enabled
