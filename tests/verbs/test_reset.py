"""host.reset_networking and what comes after it; host.set_hostname_live."""

import pytest

from tests.plan.whole import compile_host
from tests.verbs.world import World
from xenet.model.derived import VLAN, Bond, Tunnel
from xenet.model.host import Host
from xenet.model.invariants import violations
from xenet.model.network import Network
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.vif import VIF


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0", "eth1", "eth2")


def build(world: World, host) -> list:
    """An address, management, a bond, a VLAN on it, a tunnel, and a VM; the VIFs."""
    first, second, third = (world.pif(host, world.external(n)) for n in range(3))
    world.call("PIF.reconfigure_ip", first, "Static", "192.0.2.1", "255.255.255.0", "", "")
    world.call("host.management_reconfigure", first)
    bond = world.call("Bond.create", world.network(), (second, third), "")
    world.call("pool.create_VLAN_from_PIF", world.get(Bond, bond).master, world.network(), 5)
    world.call("tunnel.create", first, world.network(), "vxlan")
    return world.running(world.external(0), on=host)[1]


def test_all_of_a_host_goes_and_networks_and_vifs_stay(world, host):
    other = world.host("bb", "eth0")
    vifs = build(world, host)
    networks = {network.ref for network in world.state.all(Network)}
    world.call("host.reset_networking", host)
    assert {pif.host for pif in world.state.all(PIF)} == {other}
    assert [world.state.count(cls) for cls in (Bond, VLAN, Tunnel)] == [0, 0, 0]
    assert world.state.count(PIFMetrics) == 1
    assert {network.ref for network in world.state.all(Network)} == networks
    assert [vif.ref for vif in world.state.all(VIF)] == vifs
    assert world.get(Host, host).address == ""
    assert violations(world.state) == []
    assert all(switch.uplink is None for switch in compile_host(world.state, host).switches.values())


def test_the_way_back(world, host):
    build(world, host)
    world.call("host.reset_networking", host)
    world.call("PIF.scan", host)
    pifs = [world.get(PIF, ref) for ref in (world.pif(host, world.external(n)) for n in range(3))]
    assert [(pif.device, pif.ip_configuration_mode) for pif in pifs] == [("eth0", "None"), ("eth1", "None"), ("eth2", "None")]
    assert [pif.plugged for pif in pifs] == [True, False, False], "a VM is on the network of the first"
    world.call("PIF.reconfigure_ip", pifs[0].ref, "Static", "192.0.2.9", "255.255.255.0", "", "")
    world.call("host.management_reconfigure", pifs[0].ref)
    assert world.get(Host, host).address == "192.0.2.9"


def test_a_restart_gives_the_nics_their_pifs_too(world, host):
    world.call("host.reset_networking", host)
    world.leave(host)
    world.host("a", "eth0", "eth1", "eth2")
    assert sorted(pif.device for pif in world.state.all(PIF)) == ["eth0", "eth1", "eth2"]


def test_a_failure_brings_all_of_it_back(world, host):
    build(world, host)
    before = {record.ref for cls in (PIF, Bond, VLAN, Tunnel, PIFMetrics) for record in world.state.all(cls)}
    outcome = world.start("host.reset_networking", host)
    assert world.refusal("PIF.scan", host)[0] == "OTHER_OPERATION_IN_PROGRESS"
    assert outcome.operation is not None
    world.report(host, {world.external(0): "no"})
    assert {record.ref for cls in (PIF, Bond, VLAN, Tunnel, PIFMetrics) for record in world.state.all(cls)} == before
    assert world.get(Host, host).address == "192.0.2.1"
    assert violations(world.state) == []


def test_refusals_of_a_reset(world, host):
    world.start("PIF.unplug", world.pif(host, world.external(1)))
    assert world.refusal("host.reset_networking", host)[0] == "OTHER_OPERATION_IN_PROGRESS"
    world.leave(host)
    assert world.refusal("host.reset_networking", host) == ["HOST_OFFLINE", host]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "hostname empty"),
        ("a" * 256, "hostname is too long"),
        ("a b", "hostname contains invalid characters"),
        ("ä", "hostname contains invalid characters"),
    ],
)
def test_names_that_a_host_cannot_have(world, host, name, reason):
    assert world.refusal("host.set_hostname_live", host, name) == ["HOST_NAME_INVALID", reason]
    assert world.get(Host, host).hostname == "a"


def test_a_host_is_renamed(world, host):
    world.call("host.set_hostname_live", host, "Rack-7.example")
    assert (world.get(Host, host).hostname, world.get(Host, host).name_label) == ("Rack-7.example", "a")
