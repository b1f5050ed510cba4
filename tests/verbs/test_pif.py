"""PIF: how NICs become PIFs, plug and unplug, and every refusal in XenServer's order."""

import msgspec
import pytest

from tests.verbs.world import ABSENT, World
from xenet.model.change import Draft
from xenet.model.derived import Bond
from xenet.model.hidden import NIC, HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.host import hello


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0", "eth1")


@pytest.fixture
def pif(world, host):
    return world.pif(host, world.external(1))


def set_fields(world: World, ref: Ref, **fields: object) -> None:
    """What later messages will set."""
    draft = Draft(world.state)
    draft.update(world.get(PIF, ref), **fields)
    world.commit(draft.change())


# --- adoption ------------------------------------------------------------------------------------------------------------


def test_each_nic_has_its_network(world, host):
    network = world.get(Network, world.external(0))
    pif = world.get(PIF, world.pif(host, network.ref))
    assert network.name_label == "Pool-wide network associated with eth0"
    assert (pif.device, pif.VLAN, pif.physical, pif.managed, pif.currently_attached) == ("eth0", -1, True, True, True)
    assert pif.properties == {"gro": "on"}
    assert world.get(PIFMetrics, pif.metrics).carrier


def test_two_hosts_share_the_network_of_a_nics_name(world, host):
    other = world.host("other", "eth0")
    assert world.pif(other, world.external(0)) != world.pif(host, world.external(0))
    assert sorted(network.bridge for network in world.state.all(Network)) == ["xenapi", "xenbr0", "xenbr1"]


@pytest.mark.parametrize(
    ("device", "bridge"), [("eth12", "xenbr12"), ("enp3s0", "brenp3s0"), ("enx001122334455", "brx001122334455"), ("ethos", "brethos")]
)
def test_the_name_of_a_nics_bridge(world, device, bridge):
    world.host("a", device)
    assert [network.bridge for network in world.state.all(Network) if world.state.back(network.ref, Network.PIFs)] == [bridge]


def test_a_host_that_comes_again_brings_nothing_new(world, host):
    before = world.state.tables
    world.host("a", "eth0", "eth1")
    assert world.state.tables == before


def test_a_nic_more_is_one_pif_more(world, host):
    world.host("a", "eth0", "eth1", "eth2")
    assert world.state.count(PIF) == 3


def test_an_address_makes_a_nic_the_management_interface(world):
    nic = NIC("eth0", "02:00:00:00:00:01", addresses=("192.0.2.5/24", "2001:db8::5/64"), gateway="192.0.2.1", dns=("192.0.2.2",))
    ref = world.take(hello(world.frame("hello"), "host-a", "a", "bridge", (nic,), "tap"))
    pif = world.get(PIF, world.decide("host.get_management_interface", ref))
    assert (pif.ip_configuration_mode, pif.IP, pif.netmask) == ("Static", "192.0.2.5", "255.255.255.0")
    assert (pif.gateway, pif.DNS) == ("192.0.2.1", "192.0.2.2")
    assert (pif.ipv6_configuration_mode, pif.IPv6) == ("Static", ("2001:db8::5/64",))
    assert world.get(Host, ref).address == "192.0.2.5"


def test_a_nic_in_use_keeps_its_mtu(world):
    """Somebody chose it for that segment; a NIC that nobody uses gets the network's."""
    used = NIC("eth0", "02:00:00:00:00:01", mtu=1400, addresses=("192.0.2.5/24",))
    host = world.take(hello(world.frame("hello"), "host-a", "a", "bridge", (used, NIC("eth1", "02:00:00:00:00:02", mtu=1400)), "tap"))
    first, second = (world.get(PIF, world.pif(host, world.external(n))) for n in (0, 1))
    assert (first.MTU, first.other_config, second.MTU, second.other_config) == (1400, {"mtu": "1400"}, 1500, {})
    world.report(host)
    world.call("PIF.plug", first.ref)
    assert world.get(PIF, first.ref).MTU == 1400


def test_a_host_without_management_interface(world, host):
    assert world.refusal("host.get_management_interface", host)[0] == "INTERNAL_ERROR"
    assert world.refusal("host.get_management_interface", ABSENT) == ["HANDLE_INVALID", "host", ABSENT]


def test_a_pulled_cable_shows_in_the_metrics(world, host, pif):
    nics = tuple(msgspec.structs.replace(nic, carrier=False, speed=0) for nic in world.state.get(HostFacts, host).nics)
    world.later(60)
    world.report(host, nics=nics)
    metrics = world.get(PIFMetrics, world.get(PIF, pif).metrics)
    assert (metrics.carrier, metrics.speed, metrics.last_updated) == (False, 0, world.now)


def test_a_nic_that_fails_at_start_is_not_attached(world):
    nic = NIC("eth0", "02:00:00:00:00:01")
    host = world.take(hello(world.frame("hello"), "host-a", "a", "bridge", (nic,), "tap"))
    world.report(host, {world.external(0): "no such device"})
    pif = world.pif(host, world.external(0))
    assert not world.get(PIF, pif).currently_attached
    world.report(host)
    assert world.get(PIF, pif).currently_attached


# --- plug and unplug -----------------------------------------------------------------------------------------------------


def test_unplug_and_plug(world, host, pif):
    world.call("PIF.unplug", pif)
    assert not world.get(PIF, pif).currently_attached
    world.call("PIF.plug", pif)
    assert world.get(PIF, pif).currently_attached


def test_plug_again_is_applied_anew(world, host, pif):
    assert world.start("PIF.plug", pif).operation is not None
    world.report(host)
    assert world.get(PIF, pif).currently_attached


def test_a_failure_has_the_pif_and_the_reason(world, host, pif):
    world.call("PIF.unplug", pif)
    world.start("PIF.plug", pif)
    (ended,) = world.report(host, {pif: "device busy"})
    assert ended.failure is not None
    assert ended.failure.description == ["PIF_CONFIGURATION_ERROR", pif, "device busy"]
    assert not world.get(PIF, pif).plugged


@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_refusals_of_both(world, host, pif, verb):
    assert world.refusal(f"PIF.{verb}", ABSENT) == ["HANDLE_INVALID", "PIF", ABSENT]
    world.start("PIF.plug", pif)
    code, *params = world.refusal(f"PIF.{verb}", pif)
    assert (code, params[:3]) == ("OTHER_OPERATION_IN_PROGRESS", ["PIF", pif, "{plug}"])
    world.leave(host)
    assert world.refusal(f"PIF.{verb}", pif) == ["HOST_OFFLINE", host]
    set_fields(world, pif, managed=False)
    assert world.refusal(f"PIF.{verb}", pif) == ["PIF_UNMANAGED", pif]


def test_the_order_of_unplugs_refusals(world, host, pif):
    network = world.external(1)
    vm, (vif,) = world.running(network, on=host)
    set_fields(world, pif, management=True, disallow_unplug=True)
    assert world.refusal("PIF.unplug", pif) == ["PIF_IS_MANAGEMENT_INTERFACE", pif]
    set_fields(world, pif, management=False)
    assert world.refusal("PIF.unplug", pif) == ["VIF_IN_USE", network, vif]
    world.call("VM.hard_shutdown", vm)
    assert world.refusal("PIF.unplug", pif) == ["PIF_DOES_NOT_ALLOW_UNPLUG", pif]
    set_fields(world, pif, disallow_unplug=False)
    world.call("PIF.unplug", pif)


def test_a_vm_on_its_way_up_or_down_keeps_a_pif(world, host, pif):
    network = world.external(1)
    vm = world.vm()
    vif = world.vif(vm, network)
    world.start("VM.start", vm, False, False)
    assert world.refusal("PIF.unplug", pif) == ["VIF_IN_USE", network, vif]
    world.report(host)
    world.start("VM.hard_shutdown", vm)
    assert world.refusal("PIF.unplug", pif) == ["VIF_IN_USE", network, vif]


def test_a_vm_of_another_host_does_not_matter(world, host, pif):
    other = world.host("other", "eth0", "eth1")
    world.running(world.external(1), on=other)
    world.call("PIF.unplug", pif)
    assert not world.get(PIF, pif).currently_attached


# --- properties ------------------------------------------------------------------------------------------------------------


def test_gro_of_a_plugged_pif_waits_for_its_host(world, host, pif):
    world.start("PIF.set_property", pif, "gro", "off")
    assert world.get(PIF, pif).properties == {"gro": "off"}
    assert world.refusal("PIF.set_property", pif, "gro", "on")[0] == "OTHER_OPERATION_IN_PROGRESS"
    ended = world.report(host, {world.external(1): "no"})
    assert [end.failure.code for end in ended] == ["PIF_CONFIGURATION_ERROR"]
    assert world.get(PIF, pif).properties == {"gro": "on"}, "a failure takes it back"
    world.call("PIF.set_property", pif, "gro", "off")
    assert world.get(PIF, pif).properties == {"gro": "off"}


def test_gro_of_an_unplugged_pif_is_a_record_alone(world, host, pif):
    world.call("PIF.unplug", pif)
    world.leave(host)
    assert world.start("PIF.set_property", pif, "gro", "off").operation is None
    assert world.get(PIF, pif).properties == {"gro": "off"}


@pytest.mark.parametrize(("name", "value"), [("gro", "yes"), ("gro", ""), ("tso", "on"), ("", "")])
def test_only_gro_on_and_off_are_properties(world, pif, name, value):
    assert world.refusal("PIF.set_property", pif, name, value) == ["INVALID_VALUE", "properties", f"{name} = {value}"]


def test_properties_are_a_nics_or_a_bonds(world, host, pif):
    upper = world.call("pool.create_VLAN_from_PIF", pif, world.network(), 5)[0]
    assert world.refusal("PIF.set_property", upper, "gro", "off") == ["CANNOT_CHANGE_PIF_PROPERTIES", upper]
    assert world.refusal("PIF.set_property", upper, "gro", "x") == ["INVALID_VALUE", "properties", "gro = x"]
    assert world.refusal("PIF.set_property", ABSENT, "gro", "off") == ["HANDLE_INVALID", "PIF", ABSENT]
    set_fields(world, pif, managed=False)
    assert world.refusal("PIF.set_property", pif, "gro", "off") == ["PIF_UNMANAGED", pif]
    set_fields(world, pif, managed=True)
    world.leave(host)
    assert world.refusal("PIF.set_property", pif, "gro", "off") == ["HOST_OFFLINE", host]


def test_properties_of_a_bond_are_its_slaves_too(world, host):
    slaves = [world.pif(host, world.external(n)) for n in (0, 1)]
    bond = world.call("Bond.create", world.network(), tuple(slaves), "")
    master = world.get(Bond, bond).master
    assert world.refusal("PIF.set_property", slaves[0], "gro", "off") == ["CANNOT_CHANGE_PIF_PROPERTIES", slaves[0]]
    world.call("PIF.set_property", master, "gro", "off")
    assert [world.get(PIF, ref).properties for ref in (master, *slaves)] == [{"gro": "off"}] * 3
    world.call("Bond.destroy", bond)
    assert [world.get(PIF, ref).properties for ref in slaves] == [{"gro": "off"}] * 2


# --- MTU -------------------------------------------------------------------------------------------------------------------


def small(world: World, host: Ref, **limits: int) -> None:
    """What the NICs say that they take at most."""
    nics = world.get(HostFacts, host).nics
    world.report(host, nics=tuple(msgspec.structs.replace(nic, max_mtu=limits.get(nic.device, 0)) for nic in nics))


def test_no_more_than_the_nic_takes(world, host, pif):
    small(world, host, eth1=4000)
    world.call("network.set_MTU", world.external(1), 9000)
    text = "MTU 9000 is more than eth1 takes, which is 4000; set a smaller one, of the network or as other_config:mtu"
    assert world.refusal("PIF.plug", pif) == ["PIF_CONFIGURATION_ERROR", pif, text]
    world.call("PIF.set_other_config", pif, {"mtu": "4000"})
    world.call("PIF.plug", pif)
    assert world.get(PIF, pif).MTU == 4000


@pytest.mark.parametrize("mtu", [-5, 0, 67, 65536])
def test_an_mtu_that_ethernet_has(world, host, pif, mtu):
    before = world.get(PIF, pif)
    world.call("network.set_MTU", world.external(1), mtu)
    code, blamed, text = world.refusal("PIF.plug", pif)
    assert (code, blamed) == ("PIF_CONFIGURATION_ERROR", pif)
    assert text.startswith(f"MTU {mtu} of network ") and text.endswith("is none that Ethernet has, which is 68 to 65535")
    assert world.get(PIF, pif) == before


def test_no_more_than_the_slowest_of_a_bond_takes(world, host):
    small(world, host, eth0=9000, eth1=4000)
    slaves = tuple(world.pif(host, world.external(n)) for n in (0, 1))
    code, _, text = world.refusal("Bond.create", world.network(MTU=9000), slaves, "")
    assert (code, "MTU 9000 is more than eth1 takes" in text) == ("PIF_CONFIGURATION_ERROR", True)


def test_no_less_than_what_vifs_here_send(world, host, pif):
    network = world.external(1)
    world.call("network.set_MTU", network, 9000)
    world.call("PIF.plug", pif)
    _, (vif,) = world.running(network, on=host)
    world.call("network.set_MTU", network, 1500)
    code, _, text = world.refusal("PIF.plug", pif)
    assert (code, "MTU 1500 is less than the 9000 of VIF" in text) == ("PIF_CONFIGURATION_ERROR", True)
    world.call("VIF.unplug", vif)
    world.call("PIF.plug", pif)
    assert world.get(PIF, pif).MTU == 1500


def test_the_places_of_a_network_and_what_they_take(world, host):
    other = world.host("bb", "eth0")
    network = world.external(0)
    world.call("network.set_MTU", network, 9000)
    world.call("PIF.plug", world.pif(host, network))
    _, (vif,) = world.running(network, on=host)
    rows = [(row["host"], row["device"], row["owner"].split()[0], row["mtu"]) for row in world.call("network.get_mtus", network)]
    domid = world.get(VM, world.get(VIF, vif).VM).domid
    assert rows == [("a", "eth0", "PIF", "9000"), ("a", f"tap{domid}.0", "VIF", "9000"), ("bb", "eth0", "PIF", "1500")]
    assert world.call("network.get_mtus", world.network()) == []
    assert world.refusal("network.get_mtus", other)[0] == "HANDLE_INVALID"
