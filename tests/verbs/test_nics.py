"""PIFs come and go: forget, introduce, scan, and what may not happen in between."""

import pytest

from tests.verbs.world import ABSENT, World
from xenet.model.hidden import HostFacts
from xenet.model.network import Network
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.types import NULL, Ref


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0", "eth1")


@pytest.fixture
def pif(world, host):
    return world.pif(host, world.external(1))


def pifs(world: World) -> list[str]:
    return sorted(pif.device for pif in world.state.all(PIF))


def db_introduce(host: Ref, network: Ref, device: str, **more: object) -> tuple[object, ...]:
    given = {"physical": True, "VLAN_master_of": NULL, **more}
    return (device, network, host, "02:00:00:00:00:09", 1500, -1, given["physical"], "None", "", "", "", "", NULL, given["VLAN_master_of"], False, {})


def test_a_forgotten_nic_leaves_its_network_and_is_not_adopted_again(world, host, pif):
    network, metrics = world.external(1), world.get(PIF, pif).metrics
    world.call("PIF.forget", pif)
    assert (world.state.find(PIF, pif), world.state.find(PIFMetrics, metrics)) == (None, None)
    assert world.state.find(Network, network) is not None
    world.host("a", "eth0", "eth1")
    assert pifs(world) == ["eth0"]


@pytest.mark.parametrize("verb", ["scan", "introduce"])
def test_scan_and_introduce_find_it_unplugged_on_its_old_network(world, host, pif, verb):
    network = world.external(1)
    world.call("PIF.forget", pif)
    if verb == "scan":
        world.call("PIF.scan", host)
    else:
        world.call("PIF.introduce", host, "", "eth1", True)
    found = world.get(PIF, world.pif(host, network))
    assert (found.device, found.plugged, found.currently_attached) == ("eth1", False, False)
    assert world.get(HostFacts, host).forgotten == ()


def test_forget_that_fails_brings_the_pif_back(world, host, pif):
    before = world.get(PIF, pif)
    world.start("PIF.forget", pif)
    world.report(host, {pif: "no"})
    assert world.get(PIF, pif).plugged
    assert world.get(PIF, pif).device == before.device
    assert world.get(HostFacts, host).forgotten == ()


def test_a_nic_that_comes_back_under_running_vms_is_plugged(world, host, pif):
    """Or its bridge, which they share without it by then, would lose them."""
    network = world.external(1)
    world.call("PIF.forget", pif)
    world.running(network, on=host)
    world.call("PIF.scan", host)
    assert world.get(PIF, world.pif(host, network)).plugged


def test_while_a_nic_is_being_forgotten_nothing_takes_its_place(world, host, pif):
    network = world.external(1)
    world.start("PIF.forget", pif)
    for message, *args in (
        ("PIF.scan", host),
        ("PIF.introduce", host, "", "eth1", True),
        ("PIF.db_introduce", *db_introduce(host, network, "eth1")),
        ("PIF.forget", world.pif(host, world.external(0))),
    ):
        assert world.refusal(message, *args)[0] == "OTHER_OPERATION_IN_PROGRESS", message
    assert world.refusal("PIF.scan", host)[1:3] == ["host", host], "clients know no other object of the host's"
    assert world.refusal("network.destroy", network) == ["NETWORK_CONTAINS_PIF", pif]
    world.host("a", "eth0", "eth1")
    world.report(host)
    assert pifs(world) == ["eth0"]


def test_forget_waits_for_what_is_done_to_the_pif(world, host, pif):
    world.call("PIF.unplug", pif)
    world.start("PIF.unplug", pif)
    code, *params = world.refusal("PIF.forget", pif)
    assert (code, params[:3]) == ("OTHER_OPERATION_IN_PROGRESS", ["PIF", pif, "{unplug}"])


def test_introduces_refusals_in_their_order(world, host, pif):
    assert world.refusal("PIF.introduce", ABSENT, "", "eth1", True) == ["HANDLE_INVALID", "host", ABSENT]
    assert world.refusal("PIF.introduce", host, "bad", "eth1", True) == ["MAC_INVALID", "bad"]
    assert world.refusal("PIF.introduce", host, "", "eth1", True) == ["DUPLICATE_PIF_DEVICE_NAME", "eth1"]
    world.call("PIF.forget", pif)
    code = "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS"
    assert world.refusal("PIF.introduce", host, "", "eth7", True) == [code, "eth7", ""]
    assert world.refusal("PIF.introduce", host, "02:FF:00:00:00:00", "eth1", True) == [code, "eth1", "02:ff:00:00:00:00"]


def test_an_unmanaged_nic_is_on_the_network_without_a_bridge(world, host, pif):
    world.call("PIF.forget", pif)
    ref = world.call("PIF.introduce", host, "", "eth1", False)
    made = world.get(PIF, ref)
    network = world.get(Network, made.network)
    assert (made.managed, made.plugged, network.managed, network.bridge) == (False, False, False, "")
    for verb in ("plug", "unplug"):
        assert world.refusal(f"PIF.{verb}", ref) == ["PIF_UNMANAGED", ref]


def test_db_introduces_refusals(world, host, pif):
    internal = world.network()
    call = "PIF.db_introduce"
    assert world.refusal(call, *db_introduce(host, ABSENT, "eth7")) == ["HANDLE_INVALID", "network", ABSENT]
    assert world.refusal(call, *db_introduce(ABSENT, internal, "eth7")) == ["HANDLE_INVALID", "host", ABSENT]
    assert world.refusal(call, *db_introduce(host, internal, "eth1")) == ["DUPLICATE_PIF_DEVICE_NAME", "eth1"]
    assert world.refusal(call, *db_introduce(host, world.external(1), "eth7")) == ["NETWORK_ALREADY_CONNECTED", host, pif]
    assert world.refusal(call, *db_introduce(host, internal, "eth7", VLAN_master_of=ABSENT)) == ["HANDLE_INVALID", "VLAN", ABSENT]
    vlan = world.call("VLAN.create", pif, 42, world.network())
    assert world.refusal(call, *db_introduce(host, internal, "eth7", VLAN_master_of=vlan)) == ["VLAN_IN_USE", world.get(PIF, pif).device, "42"]
    world.call("VLAN.destroy", vlan)
    made = world.get(PIF, world.call(call, *db_introduce(host, internal, "eth7")))
    assert (made.plugged, made.currently_attached) == (False, False)
    world.call("PIF.db_forget", made.ref)
    assert world.refusal("PIF.db_forget", pif)[0] == "OPERATION_NOT_ALLOWED"
