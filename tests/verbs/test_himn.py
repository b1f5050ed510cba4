"""The host internal management network: it is there from the first host on, on every host its own, with an address for each VIF."""

import pytest

from tests.verbs.world import World
from xenet.model.himn import BRIDGE, guest_range, host_address
from xenet.model.invariants import warnings
from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.plan.compile import compile_switch
from xenet.plan.himn import dhcp_server, guests_reach


@pytest.fixture
def world():
    return World()


@pytest.fixture
def hosts(world):
    return [world.host(name, "eth0", guests="namespace") for name in ("a", "bb")]


@pytest.fixture
def himn(world, hosts):
    (found,) = (network.ref for network in world.state.all(Network) if network.bridge == BRIDGE)
    return found


def assigned(world: World, himn: Ref) -> dict[Ref, str]:
    return dict(world.get(Network, himn).assigned_ips)


def test_a_pool_has_one_from_its_first_host_on(world, himn):
    network = world.get(Network, himn)
    assert (network.name_label, network.MTU, network.managed) == ("Host internal management network", 1500, True)
    assert network.other_config == {
        "is_guest_installer_network": "true",
        "is_host_internal_management_network": "true",
        "ip_begin": "169.254.0.1",
        "ip_end": "169.254.255.254",
        "netmask": "255.255.0.0",
    }
    assert world.refusal("network.destroy", himn) == ["CANNOT_DESTROY_SYSTEM_NETWORK", himn]


def test_a_pool_of_an_earlier_release_gets_it_at_the_next_start(world, himn):
    world.state = PoolState(world.state.revision, world.state.tables, world.state.index).with_record("network", himn, None)
    world.host("ccc", "eth0")
    assert len([network for network in world.state.all(Network) if network.bridge == BRIDGE]) == 1


def test_each_host_has_its_own_and_guests_get_addresses(world, hosts, himn):
    first, (one,) = world.running(himn, on=hosts[0])
    second, (two,) = world.running(himn, on=hosts[1])
    assert assigned(world, himn) == {one: "169.254.0.2", two: "169.254.0.3"}
    for host, vif, address in ((hosts[0], one, "169.254.0.2"), (hosts[1], two, "169.254.0.3")):
        view, server = compile_switch(world.state, host, BRIDGE), dhcp_server(world.state, host)
        assert view is not None
        assert server is not None
        assert (view.addresses, view.uplink, view.routes) == (("169.254.0.1/16",), None, ())
        assert view.mac == "fe:ff:ff:ff:ff:ff", "whoever migrates knows its host at once"
        assert server.leases == ((world.get(VIF, vif).MAC, address),)
        assert (server.address, server.netmask, server.router, server.next_server) == ("169.254.0.1", "255.255.0.0", True, "")
        assert guests_reach(world.state, host).address == "169.254.0.1"
    world.call("VM.hard_shutdown", first)
    assert assigned(world, himn) == {two: "169.254.0.3"}
    assert compile_switch(world.state, hosts[0], BRIDGE) is None
    assert (dhcp_server(world.state, hosts[0]), guests_reach(world.state, hosts[0])) == (None, None)
    _, (three,) = world.running(himn, on=hosts[1])
    assert assigned(world, himn)[three] == "169.254.0.2", "what is free is given again"
    world.call("VIF.unplug", two)
    assert two not in assigned(world, himn)
    world.call("VIF.move", three, world.network())
    assert assigned(world, himn) == {}
    assert world.get(VIF, three).lease == ""
    world.call("VM.hard_shutdown", second)


def test_a_plug_that_fails_leaves_no_address(world, hosts, himn):
    _, (old,) = world.running(himn, on=hosts[0])
    vm, _ = world.running(on=hosts[0])
    vif = world.vif(vm, himn)
    world.start("VIF.plug", vif)
    assert assigned(world, himn)[vif] == "169.254.0.3"
    world.report(hosts[0], {vif: "no such thing"})
    assert assigned(world, himn) == {old: "169.254.0.2"}
    world.start("VIF.unplug", old)
    world.report(hosts[0], {old: "busy"})
    assert assigned(world, himn) == {old: "169.254.0.2"}


def test_an_address_that_may_come_back_is_not_given_away(world, hosts, himn):
    """Its VIF is on the way off, and what its guest was told still holds if that fails."""
    _, (old,) = world.running(himn, on=hosts[0])
    vm, _ = world.running(on=hosts[0])
    other = world.vif(vm, himn)
    for verb, more in (("VIF.unplug", ()), ("VIF.move", (world.network(),))):
        world.start(verb, old, *more)
        world.start("VIF.plug", other)
        assert assigned(world, himn)[other] == "169.254.0.3"
        world.report(hosts[0], {old: "busy"})
        assert assigned(world, himn) == {old: "169.254.0.2", other: "169.254.0.3"}
        world.call("VIF.unplug", other)


def test_it_is_attached_without_a_guest(world, hosts, himn):
    """The host has its address there, and whoever comes finds the API and the server at work."""
    for host in hosts:
        world.call("network.attach", himn, host)
        view, server = compile_switch(world.state, host, BRIDGE), dhcp_server(world.state, host)
        assert (view.addresses, view.ports, server.leases) == (("169.254.0.1/16",), {}, ())
        assert guests_reach(world.state, host).address == "169.254.0.1"
    assert warnings(world.state) == []


def test_guests_on_two_hosts_are_no_network_that_fell_apart(world, hosts, himn):
    for host in hosts:
        world.running(himn, on=host)
    assert warnings(world.state) == []


def test_its_keys_say_what_guests_are_told(world, hosts, himn):
    told = {**world.get(Network, himn).other_config, "ip_disable_gw": "true", "pxe_server": "169.254.0.1", "ip_end": "169.254.0.2"}
    world.call("network.set_other_config", himn, told)
    world.running(himn, on=hosts[0])
    _, (late,) = world.running(himn, on=hosts[0])
    server = dhcp_server(world.state, hosts[0])
    assert (server.router, server.next_server) == (False, "169.254.0.1")
    assert late not in assigned(world, himn), "there are no more; the VIF is plugged all the same"


@pytest.mark.parametrize("said", [{"ip_begin": "x"}, {"netmask": ""}, {"ip_end": "10.0.0.1"}, {"ip_end": "169.254.0.1"}])
def test_nonsense_in_its_record_costs_the_addresses_alone(world, hosts, himn, said):
    world.call("network.set_other_config", himn, {**world.get(Network, himn).other_config, **said})
    network = world.get(Network, himn)
    assert guest_range(network) is None
    _, (vif,) = world.running(himn, on=hosts[0])
    assert world.get(VIF, vif).currently_attached
    assert assigned(world, himn) == {}
    assert dhcp_server(world.state, hosts[0]) is None
    view = compile_switch(world.state, hosts[0], BRIDGE)
    assert view is not None
    assert view.addresses == ((host_address(network),) if host_address(network) else ())
