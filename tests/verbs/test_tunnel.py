"""Tunnels: their records, who may have one where, the room that they leave, and the mesh between hosts."""

import pytest

from tests.verbs.test_vlan import change, put
from tests.verbs.world import World
from xenet.model.derived import VLAN, NetworkSriov, Tunnel
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.pif import PIF
from xenet.model.types import NULL, Ref
from xenet.model.vif import VIF
from xenet.plan.compile import affected_bridges, compile_switch
from xenet.plan.view import SwitchView, TunnelView


@pytest.fixture
def world():
    return World()


@pytest.fixture
def hosts(world):
    """Each with an address on its first NIC."""
    made = [world.host(name, "eth0", "eth1") for name in ("a", "bb", "ccc")]
    for number, host in enumerate(made, 1):
        world.call("PIF.reconfigure_ip", transport(world, host), "Static", f"192.0.2.{number}", "255.255.255.0", "", "")
    return made


@pytest.fixture
def network(world, hosts):
    return world.network()


def transport(world: World, host: Ref) -> Ref:
    return world.pif(host, world.external(0))


def tunnelled(world: World, host: Ref, network: Ref) -> PIF:
    """The access PIF of a new tunnel."""
    tunnel = world.call("tunnel.create", transport(world, host), network, "vxlan")
    return world.get(PIF, world.get(Tunnel, tunnel).access_PIF)


def view(world: World, host: Ref) -> SwitchView:
    found = compile_switch(world.state, host, "xapi0")
    assert found is not None
    return found


def test_a_tunnel_has_an_access_pif_that_is_up(world, hosts, network):
    access = tunnelled(world, hosts[0], network)
    (tunnel,) = world.state.all(Tunnel)
    assert (tunnel.transport_PIF, tunnel.access_PIF, tunnel.protocol) == (transport(world, hosts[0]), access.ref, "vxlan")
    assert (access.device, access.host, access.network, access.VLAN) == ("tunnel0", hosts[0], network, -1)
    assert (access.physical, access.plugged, access.currently_attached) == (False, True, True)
    assert access.metrics == world.get(PIF, tunnel.transport_PIF).metrics
    assert int(access.MAC[:2], 16) & 3 == 2, "locally administered, and no group's"
    assert tunnel.status == {"active": "true", "key": "1"}


def test_hosts_are_meshed_and_know_the_network_by_one_key(world, hosts, network):
    for host in hosts:
        tunnelled(world, host, network)
    other = world.network()
    world.call("tunnel.create", transport(world, hosts[0]), other, "vxlan")
    assert [view(world, host).uplink.tunnel for host in hosts] == [
        TunnelView("vxlan", 1, "192.0.2.1", ("192.0.2.2", "192.0.2.3")),
        TunnelView("vxlan", 1, "192.0.2.2", ("192.0.2.1", "192.0.2.3")),
        TunnelView("vxlan", 1, "192.0.2.3", ("192.0.2.1", "192.0.2.2")),
    ]
    foreign = compile_switch(world.state, hosts[0], "xapi1")
    assert foreign.uplink.tunnel == TunnelView("vxlan", 4, "192.0.2.1")
    assert {pif.device for pif in world.state.all(PIF) if not pif.physical} == {"tunnel0", "tunnel1", "tunnel2", "tunnel3"}


def test_a_peer_goes_when_its_end_is_unplugged_or_loses_its_address(world, hosts, network):
    ends = [tunnelled(world, host, network) for host in hosts]
    world.call("PIF.unplug", ends[1].ref)
    assert view(world, hosts[0]).uplink.tunnel.peers == ("192.0.2.3",)
    assert compile_switch(world.state, hosts[1], "xapi0") is None
    assert world.state.where(Tunnel, "access_PIF", ends[1].ref)[0].status == {"active": "false"}
    world.call("PIF.reconfigure_ip", transport(world, hosts[2]), "DHCP", "", "", "", "")
    assert view(world, hosts[0]).uplink.tunnel.peers == ()
    assert view(world, hosts[2]).uplink is None, "no address, no tunnel; the switch is there"


def test_an_edit_of_one_host_s_end_concerns_the_others(world, hosts, network):
    for host in hosts:
        tunnelled(world, host, network)
    before = world.state
    outcome = world.start("PIF.reconfigure_ip", transport(world, hosts[2]), "Static", "192.0.2.30", "255.255.255.0", "", "")
    touched = {bridge for edit in outcome.change.edits for bridge in affected_bridges(before, world.state, edit)}
    assert "xapi0" in touched
    assert view(world, hosts[0]).uplink.tunnel.peers == ("192.0.2.2", "192.0.2.30")


def test_unplugging_the_transport_takes_the_tunnels_with_it(world, hosts, network):
    access = tunnelled(world, hosts[0], network)
    world.call("PIF.unplug", transport(world, hosts[0]))
    assert [world.get(PIF, ref).currently_attached for ref in (access.ref, transport(world, hosts[0]))] == [False, False]
    world.call("PIF.plug", access.ref)
    assert [world.get(PIF, ref).currently_attached for ref in (access.ref, transport(world, hosts[0]))] == [True, True]
    world.running(network, on=hosts[0])
    assert world.refusal("PIF.unplug", transport(world, hosts[0]))[0] == "VIF_IN_USE"


def test_a_transport_keeps_its_address_while_a_tunnel_uses_it(world, hosts, network):
    access, lower = tunnelled(world, hosts[0], network), transport(world, hosts[0])
    mode_none = ("PIF.reconfigure_ip", lower, "None", "", "", "", "")
    vm, (vif,) = world.running(network, on=hosts[0])
    assert world.refusal(*mode_none) == ["VIF_IN_USE", network, vif]
    world.call("VM.hard_shutdown", vm)
    code, blamed, text = world.refusal(*mode_none)
    assert (code, blamed) == ("PIF_CONFIGURATION_ERROR", lower)
    assert "tunnel0" in text
    assert world.get(PIF, lower).ip_configuration_mode == "Static"
    world.call("PIF.unplug", access.ref)
    world.call(*mode_none)
    assert world.get(PIF, lower).ip_configuration_mode == "None"


def test_destroy_leaves_the_network_and_the_transport(world, hosts, network):
    access = tunnelled(world, hosts[0], network)
    (tunnel,) = world.state.all(Tunnel)
    assert world.refusal("PIF.forget", transport(world, hosts[0])) == ["PIF_TUNNEL_STILL_EXISTS", transport(world, hosts[0])]
    world.call("tunnel.destroy", tunnel.ref)
    assert (world.state.find(Tunnel, tunnel.ref), world.state.find(PIF, access.ref)) == (None, None)
    again = tunnelled(world, hosts[0], network)
    assert again.device == "tunnel1", "a device's name is never given twice"


@pytest.mark.parametrize("verb", ["create", "destroy"])
def test_what_fails_on_the_host_has_not_happened(world, hosts, network, verb):
    if verb == "destroy":
        tunnelled(world, hosts[0], network)
    before = {cls: dict(world.state.tables.get(cls, {})) for cls in ("tunnel", "PIF")}
    call = ("tunnel.create", transport(world, hosts[0]), network, "vxlan") if verb == "create" else ("tunnel.destroy", *world.state.tables["tunnel"])
    world.start(*call)
    (ended,) = world.report(hosts[0], {network: "this kernel has no vxlan devices"})
    assert ended.failure is not None
    assert {cls: dict(world.state.tables.get(cls, {})) for cls in ("tunnel", "PIF")} == before


def test_the_order_of_refusals(world, hosts, network):
    """Each reason is taken away when it has been seen, so the next one shows."""
    lower, record = world.get(PIF, transport(world, hosts[0])), world.state.tables["network"][network]
    create = ("tunnel.create", lower.ref, network, "gre")
    other = world.get(PIF, world.pif(hosts[0], world.external(1)))
    put(world, Tunnel(uuid="tunnel", access_PIF=lower.ref))
    put(world, NetworkSriov(uuid="sriov", logical_PIF=lower.ref))
    put(world, VLAN(uuid="vlan", tagged_PIF=other.ref))
    put(world, NetworkSriov(uuid="sriov2", logical_PIF=other.ref))
    change(world, lower, managed=False, bond_slave_of=Ref("OpaqueRef:bond"), VLAN_master_of=Ref("OpaqueRef:vlan"), ip_configuration_mode="None")
    change(world, record, managed=False)
    change(world, other, network=network)
    assert world.refusal(*create) == ["NETWORK_UNMANAGED", network]
    change(world, world.state.tables["network"][network], managed=True)
    assert world.refusal(*create) == ["NETWORK_ALREADY_CONNECTED", hosts[0], other.ref]
    change(world, world.get(PIF, other.ref), host=hosts[1])
    for code, mended in (
        ("PIF_UNMANAGED", {"managed": True}),
        ("CANNOT_ADD_TUNNEL_TO_BOND_SLAVE", {"bond_slave_of": NULL}),
        ("IS_TUNNEL_ACCESS_PIF", None),
        ("CANNOT_ADD_TUNNEL_TO_SRIOV_LOGICAL", None),
        ("CANNOT_ADD_TUNNEL_TO_VLAN_ON_SRIOV_LOGICAL", {"VLAN_master_of": NULL}),
    ):
        assert world.refusal(*create) == [code, lower.ref]
        if mended:
            change(world, world.get(PIF, lower.ref), **mended)
        elif code == "IS_TUNNEL_ACCESS_PIF":
            world.state = world.state.with_record("tunnel", Ref("OpaqueRef:tunnel"), None)
        else:
            world.state = world.state.with_record("network_sriov", Ref("OpaqueRef:sriov"), None)
    assert world.refusal(*create) == ["NETWORK_INCOMPATIBLE_WITH_TUNNEL", network]
    change(world, world.get(PIF, other.ref), network=world.external(1), host=hosts[0])
    assert world.refusal(*create) == ["OPENVSWITCH_NOT_ACTIVE"]
    for host in hosts[:-1]:
        change(world, world.get(Host, host), software_version={"network_backend": "openvswitch"})
    assert world.refusal(*create) == ["OPENVSWITCH_NOT_ACTIVE"], "the last one has bridges, and no GRE"
    change(world, world.get(HostFacts, hosts[-1]), gre=True)
    assert world.refusal(*create) == ["TRANSPORT_PIF_NOT_CONFIGURED", lower.ref]
    change(world, world.get(PIF, lower.ref), ip_configuration_mode="Static")
    assert world.call(*create)


def test_a_tunnel_leaves_less_room_and_says_so(world, hosts, network):
    assert tunnelled(world, hosts[0], network).MTU == 1450, "the network's 1500, less what vxlan takes"
    vm, (vif,) = world.running(network, on=hosts[0])
    assert world.get(VIF, vif).MTU == 1450
    world.call("VM.hard_shutdown", vm)
    (access,) = (pif for pif in world.state.where(PIF, "network", network))
    world.call("PIF.unplug", access.ref)
    asked = {"mtu": "1500"}
    refusals = [world.refusal("PIF.set_other_config", access.ref, asked), world.refusal("PIF.add_to_other_config", access.ref, "mtu", "1500")]
    change(world, access, other_config=asked)
    for code, blamed, text in (*refusals, world.refusal("PIF.plug", access.ref)):
        assert (code, blamed) == ("PIF_CONFIGURATION_ERROR", access.ref)
        assert text.startswith("MTU 1500 of tunnel0, with the 50 octets of vxlan, is more than the 1500 of eth0")
    world.call("PIF.set_other_config", access.ref, {**asked, "what it said before": "may stay"})
    world.call("PIF.set_other_config", access.ref, {"mtu": "1450"})
    world.call("PIF.set_other_config", access.ref, {})
    world.call("network.set_MTU", world.external(0), 9000)
    world.call("PIF.plug", transport(world, hosts[0]))
    world.call("PIF.plug", access.ref)
    assert world.get(PIF, access.ref).MTU == 1500
    world.call("network.set_MTU", world.external(0), 1500)
    assert world.refusal("PIF.plug", transport(world, hosts[0]))[0] == "PIF_CONFIGURATION_ERROR", "what the tunnel carries would be lost"


def test_another_host_s_narrower_transport_counts(world, hosts, network):
    change(world, world.get(PIF, transport(world, hosts[1])), MTU=1400)
    tunnelled(world, hosts[1], network)
    assert tunnelled(world, hosts[0], network).MTU == 1350
