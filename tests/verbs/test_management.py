"""The management interface as records: where it is, what shows there, and that no two moves meet."""

import msgspec
import pytest

from tests.verbs.world import World
from xenet.model.hidden import NIC, HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.types import Ref
from xenet.verbs.host import hello


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def host(world: World) -> Ref:
    return world.host("a", "eth0", "eth1", "eth2")


def pif_of(world: World, host: Ref, device: str) -> Ref:
    return next(pif.ref for pif in world.state.where(PIF, "host", host) if pif.device == device)


def static(world: World, host: Ref, device: str, address: str) -> Ref:
    pif = pif_of(world, host, device)
    world.call("PIF.reconfigure_ip", pif, "Static", address, "255.255.255.0", "", "")
    return pif


def managed_by(world: World, host: Ref) -> list[str]:
    return [pif.device for pif in world.state.where(PIF, "host", host) if pif.management]


def unmanaged(world: World, host: Ref, device: str) -> Ref:
    world.call("PIF.forget", pif_of(world, host, device))
    made: Ref = world.call("PIF.introduce", host, "", device, False)
    return made


def facts(world: World, host: Ref, device: str, *addresses: str, gateway: str = "") -> tuple[NIC, ...]:
    """The host's NICs, one of which has these addresses by itself."""
    nics = world.get(HostFacts, host).nics
    return tuple(msgspec.structs.replace(nic, addresses=addresses, gateway=gateway) if nic.device == device else nic for nic in nics)


# --- moves -----------------------------------------------------------------------------------------


def test_a_move_and_its_failure(world: World, host: Ref) -> None:
    first, second = static(world, host, "eth0", "10.0.0.1"), static(world, host, "eth1", "10.1.0.1")
    world.call("host.management_reconfigure", first)
    world.call("PIF.unplug", second)
    world.start("host.management_reconfigure", second)
    assert world.get(PIF, second).plugged
    world.report(host, {second: "its gateway is silent"})
    assert managed_by(world, host) == ["eth0"]
    assert not world.get(PIF, second).plugged
    assert world.get(Host, host).address == "10.0.0.1"


def test_two_moves_of_a_host_do_not_meet(world: World, host: Ref) -> None:
    first, second, third = (static(world, host, f"eth{n}", f"10.{n}.0.1") for n in range(3))
    world.call("host.management_reconfigure", first)
    world.start("host.management_reconfigure", second)
    network = world.get(PIF, third).network
    for call in (("host.management_reconfigure", third), ("pool.management_reconfigure", network), ("host.management_disable",)):
        assert world.refusal(*call)[0] == "OTHER_OPERATION_IN_PROGRESS"
    world.report(host, {second: "no"})
    assert managed_by(world, host) == ["eth0"]


def test_an_address_that_fails_after_management_has_left_does_not_become_the_hosts(world: World, host: Ref) -> None:
    first, second = static(world, host, "eth0", "10.0.0.1"), static(world, host, "eth1", "10.1.0.1")
    world.call("host.management_reconfigure", first)
    world.start("PIF.reconfigure_ip", first, "Static", "10.0.0.2", "255.255.255.0", "", "")
    world.start("host.management_reconfigure", second)
    world.report(host, {first: "no"})
    assert managed_by(world, host) == ["eth1"]
    assert world.get(Host, host).address == "10.1.0.1"


def test_management_disable_waits_for_a_change_of_the_address(world: World, host: Ref) -> None:
    first = static(world, host, "eth0", "10.0.0.1")
    world.call("host.management_reconfigure", first)
    world.start("PIF.reconfigure_ip", first, "Static", "10.0.0.2", "255.255.255.0", "", "")
    assert world.refusal("host.management_disable")[0] == "OTHER_OPERATION_IN_PROGRESS"
    world.report(host)
    world.call("host.management_disable")
    assert (managed_by(world, host), world.get(Host, host).address) == ([], "")


def test_the_pool_moves_as_one(world: World, host: Ref) -> None:
    other = world.host("other", "eth0", "eth1")
    for each in (host, other):
        world.call("host.management_reconfigure", static(world, each, "eth0", "10.0.0.1"))
        static(world, each, "eth1", "10.1.0.1")
    world.start("pool.management_reconfigure", world.external(1))
    world.report(host)
    world.report(other, {pif_of(world, other, "eth1"): "no"})
    assert managed_by(world, host) == managed_by(world, other) == ["eth0"]
    assert world.refusal("pool.management_reconfigure", world.external(2)) == ["PIF_NOT_PRESENT", other, world.external(2)]


# --- unmanaged PIFs --------------------------------------------------------------------------------


def test_an_unmanaged_pif_shows_what_its_device_has(world: World, host: Ref) -> None:
    pif = unmanaged(world, host, "eth1")
    world.report(host, nics=facts(world, host, "eth1", "192.0.2.7/24", "198.51.100.1/24", "2001:db8::7/64", gateway="192.0.2.254"))
    shown = world.get(PIF, pif)
    assert (shown.IP, shown.netmask, shown.gateway) == ("192.0.2.7", "255.255.255.0", "192.0.2.254")
    assert (shown.IPv6, shown.ipv6_gateway) == (("2001:db8::7/64",), "")
    assert (shown.ip_configuration_mode, shown.ipv6_configuration_mode) == ("None", "None")
    world.report(host, nics=facts(world, host, "eth1", "192.0.2.6/24", "192.0.2.7/24", gateway="2001:db8::fe"))
    shown = world.get(PIF, pif)
    assert shown.IP == "192.0.2.7", "an address that is still there is still shown"
    assert (shown.IPv6, shown.gateway, shown.ipv6_gateway) == ((), "", "2001:db8::fe")
    world.report(host, nics=facts(world, host, "eth1"))
    assert (world.get(PIF, pif).IP, world.get(PIF, pif).netmask) == ("", "")


def test_what_a_device_has_shows_when_it_is_introduced(world: World, host: Ref) -> None:
    world.call("PIF.forget", pif_of(world, host, "eth1"))
    world.report(host, nics=facts(world, host, "eth1", "192.0.2.7/24"))
    assert world.get(PIF, world.call("PIF.introduce", host, "", "eth1", False)).IP == "192.0.2.7"


def test_what_a_forgotten_device_has_does_not_become_a_managed_pifs(world: World, host: Ref) -> None:
    world.call("PIF.forget", pif_of(world, host, "eth1"))
    world.report(host, nics=facts(world, host, "eth1", "192.0.2.7/24"))
    pif = world.get(PIF, world.call("PIF.introduce", host, "", "eth1"))
    assert (pif.management, pif.IP) == (False, "")


def test_management_on_an_unmanaged_pif(world: World, host: Ref) -> None:
    first, pif = static(world, host, "eth0", "10.0.0.1"), unmanaged(world, host, "eth1")
    world.call("host.management_reconfigure", first)
    world.call("host.management_reconfigure", pif)
    assert (managed_by(world, host), world.get(Host, host).address) == (["eth1"], "")
    assert not world.get(PIF, pif).plugged
    world.report(host, nics=facts(world, host, "eth1", "192.0.2.7/24"))
    assert world.get(Host, host).address == "192.0.2.7"
    for message in ("PIF.forget", "PIF.db_forget"):
        assert world.refusal(message, pif) == ["PIF_IS_MANAGEMENT_INTERFACE", pif]
    world.call("host.management_reconfigure", first)
    assert (managed_by(world, host), world.get(Host, host).address) == (["eth0"], "10.0.0.1")
    world.call("PIF.forget", pif)


# --- taking over -----------------------------------------------------------------------------------


def test_of_several_nics_in_use_the_one_with_the_gateway_is_management(world: World) -> None:
    storage = NIC("eth0", "02:00:00:00:00:01", addresses=("10.0.0.1/24",))
    front = NIC("eth1", "02:00:00:00:00:02", addresses=("192.0.2.5/24",), gateway="192.0.2.1")
    host = world.take(hello(world.frame("hello"), "host-a", "a", "bridge", (storage, front), "tap"))
    assert managed_by(world, host) == ["eth1"]
    assert world.get(Host, host).address == "192.0.2.5"
    assert world.get(PIF, pif_of(world, host, "eth0")).IP == "10.0.0.1"
    more = NIC("eth2", "02:00:00:00:00:03", addresses=("198.51.100.1/24",), gateway="198.51.100.254")
    world.take(hello(world.frame("hello"), "host-a", "a", "bridge", (storage, front, more), "tap"))
    assert managed_by(world, host) == ["eth1"]


def test_records_alone_make_no_management_interface(world: World, host: Ref) -> None:
    network = world.call("network.create", {"name_label": "n", "other_config": {}})
    rest = ["None", "", "", "", "", Ref("OpaqueRef:NULL"), Ref("OpaqueRef:NULL"), True, {}]
    pif = world.call("PIF.db_introduce", "eth9", network, host, "02:00:00:00:00:09", 1500, -1, True, *rest)
    assert not world.get(PIF, pif).management
    assert world.get(Network, network).managed
