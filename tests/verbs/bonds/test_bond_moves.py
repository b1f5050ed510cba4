"""All that moves to a bond and back."""

from tests.verbs.bonds.words import MAC, bonded, static, upper
from tests.verbs.world import World
from xenet.model.derived import VLAN, Bond, Tunnel
from xenet.model.hidden import Lease
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.plan.compile import compile_switch
from xenet.plan.layer3 import dhcp_clients
from xenet.plan.reach import Reach, reach_of
from xenet.plan.view import UplinkView, VLANView


def test_addresses_of_both_kinds_move_there_and_back(world, host, eth, network):
    static(world, eth[1])
    world.call("PIF.reconfigure_ipv6", eth[1], "Static", "2001:db8::1/64", "2001:db8::fe", "2001:db8::53")
    had = world.get(PIF, eth[1])
    ref, master = bonded(world, network, eth[0], eth[1])
    assert world.get(Bond, ref).primary_slave == eth[1]
    assert master.MAC == had.MAC
    names = ("ip_configuration_mode", "IP", "netmask", "gateway", "DNS", "ipv6_configuration_mode", "IPv6", "ipv6_gateway")
    assert [getattr(master, name) for name in names] == [getattr(had, name) for name in names]
    assert [getattr(world.get(PIF, eth[1]), name) for name in names] == ["None", "", "", "", "", "None", (), ""]
    view = compile_switch(world.state, host, "xapi0")
    assert view is not None
    assert view.addresses == ("192.0.2.1/24", "2001:db8::1/64")
    world.call("Bond.destroy", ref)
    assert world.get(PIF, eth[1]) == had


def test_management_moves_there_and_back(world, host, eth, network):
    static(world, eth[1])
    world.call("host.management_reconfigure", eth[1])
    ref, master = bonded(world, network, eth[0], eth[1])
    assert master.management
    assert not world.get(PIF, eth[1]).management
    assert world.get(Host, host).address == "192.0.2.1"
    world.call("Bond.destroy", ref)
    assert world.get(PIF, eth[1]).management
    assert world.get(PIF, eth[1]).currently_attached
    assert world.get(Host, host).address == "192.0.2.1"


def test_the_way_to_the_host_leads_over_the_bond(world, host, eth, network):
    """What the agent's guard asks, and where the API answers."""
    static(world, eth[0])
    world.call("host.management_reconfigure", eth[0])
    before = reach_of(world.state, host)
    ref, master = bonded(world, network, eth[0], eth[1])
    assert reach_of(world.state, host) == Reach(master.uuid, "xapi0", MAC, "192.0.2.1", "192.0.2.254")
    world.call("Bond.destroy", ref)
    assert reach_of(world.state, host) == before


def test_an_address_by_dhcp_moves_with_the_lease(world, host, eth, network):
    world.call("PIF.reconfigure_ip", eth[0], "DHCP", "", "", "", "")
    world.give(world.get(PIF, eth[0]), Lease(("192.0.2.60/24",), "192.0.2.254"))
    world.report(host)
    _, master = bonded(world, network, eth[0], eth[1])
    assert (master.ip_configuration_mode, master.IP) == ("DHCP", "192.0.2.60")
    assert dhcp_clients(world.state, host) == {"xapi0": (master.uuid, "192.0.2.60")}


def test_disallow_unplug_moves_there_and_back(world, host, eth, network):
    world.call("PIF.set_disallow_unplug", eth[1], True)
    ref, master = bonded(world, network, eth[0], eth[1])
    assert master.disallow_unplug
    assert not world.get(PIF, eth[1]).disallow_unplug
    world.call("Bond.destroy", ref)
    assert world.get(PIF, eth[0]).disallow_unplug


def test_vlans_move_as_new_records_with_all_that_they_had(world, host, eth, network):
    on = world.network()
    vlan = world.call("VLAN.create", eth[1], 42, on)
    old = upper(world, vlan)
    static(world, old.ref, "198.51.100.1")
    world.call("PIF.set_other_config", old.ref, {"defaultroute": "true"})
    _, (vif,) = world.running(on, on=host)
    ref, master = bonded(world, network, eth[0], eth[1])
    assert (world.state.find(VLAN, vlan), world.state.find(PIF, old.ref)) == (None, None)
    (moved,) = world.state.all(VLAN)
    new = upper(world, moved.ref)
    assert (moved.tag, moved.tagged_PIF) == (42, master.ref)
    assert (new.device, new.network, new.VLAN, new.IP, new.metrics) == ("bond0", on, 42, "198.51.100.1", master.metrics)
    assert (new.currently_attached, new.other_config) == (True, {"defaultroute": "true"})
    assert world.get(VIF, vif).network == on
    view = compile_switch(world.state, host, world.get(Network, on).bridge)
    assert view is not None
    assert view.uplink == UplinkView("bond0.42", 1500, vlan=VLANView("bond0", 42))
    world.call("Bond.destroy", ref)
    (back,) = world.state.all(VLAN)
    assert (back.tagged_PIF, upper(world, back.ref).device) == (eth[0], "eth0")
    assert upper(world, back.ref).IP == "198.51.100.1"


def test_management_on_a_vlan_moves_with_it(world, host, eth, network):
    on = world.network()
    pool = next(iter(world.state.tables["pool"]))
    world.call("pool.add_to_other_config", pool, "management-on-vlan", "true")
    pif = upper(world, world.call("VLAN.create", eth[0], 42, on)).ref
    static(world, pif)
    world.call("host.management_reconfigure", pif)
    bonded(world, network, eth[0], eth[1])
    (vlan,) = world.state.all(VLAN)
    assert upper(world, vlan.ref).management
    assert world.get(Host, host).address == "192.0.2.1"


def test_of_two_vlans_with_one_tag_the_second_goes_and_its_vifs_come_over(world, host, eth, network):
    first, second = world.network(), world.network()
    world.call("VLAN.create", eth[0], 42, first)
    world.call("VLAN.create", eth[1], 42, second)
    _, (here, other) = world.running(second, first, on=host)
    bonded(world, network, eth[0], eth[1])
    assert [vlan.tag for vlan in world.state.all(VLAN)] == [42]
    assert (world.get(VIF, here).network, world.get(VIF, other).network) == (first, first)
    assert world.state.refs_where("PIF", "network", second) == []
    assert compile_switch(world.state, host, world.get(Network, second).bridge) is None


def test_the_vlan_that_has_an_address_is_the_first(world, host, eth, network):
    first, second = world.network(), world.network()
    world.call("VLAN.create", eth[0], 42, first)
    pif = upper(world, world.call("VLAN.create", eth[1], 42, second)).ref
    static(world, pif)
    bonded(world, network, eth[0], eth[1])
    (vlan,) = world.state.all(VLAN)
    assert (upper(world, vlan.ref).network, upper(world, vlan.ref).IP) == (second, "192.0.2.1")


def test_no_address_is_lost_with_a_vlan(world, host, eth, network):
    for n in (0, 1):
        static(world, upper(world, world.call("VLAN.create", eth[n], 42, world.network())).ref, f"192.0.2.{n + 1}")
    assert world.refusal("Bond.create", network, (eth[0], eth[1]), "", "balance-slb", {}) == ["PIF_BOND_MORE_THAN_ONE_IP"]


def test_a_vlan_too_large_for_the_bond_is_told_of(world, host, eth, network):
    world.call("network.set_MTU", world.external(0), 9000)
    world.call("PIF.plug", eth[0])
    world.call("VLAN.create", eth[0], 42, world.network(MTU=9000))
    code, blamed, text = world.refusal("Bond.create", network, (eth[0],), "", "balance-slb", {})
    assert (code, blamed, "MTU 9000 of VLAN 42 is more than the 1500 of bond0" in text) == ("PIF_CONFIGURATION_ERROR", eth[0], True)


def test_tunnels_move_as_new_records(world, host, eth, network):
    over, on = world.network(MTU=1400), world.network(MTU=1300)
    static(world, eth[1])
    old = world.call("tunnel.create", eth[1], over, "vxlan")
    key, access = world.get(Tunnel, old).key, world.get(PIF, world.get(Tunnel, old).access_PIF)
    vlan = upper(world, world.call("VLAN.create", eth[0], 42, world.network())).ref
    static(world, vlan, "198.51.100.1")
    world.call("tunnel.create", vlan, on, "vxlan")
    _, (vif, _) = world.running(over, on, on=host)
    ref, master = bonded(world, network, eth[0], eth[1])
    first, second = tunnel_over(world, over), tunnel_over(world, on)
    assert (first.transport_PIF, first.protocol, first.key) == (master.ref, "vxlan", key)
    assert world.get(PIF, second.transport_PIF).VLAN == 42
    new = world.get(PIF, first.access_PIF)
    assert (new.device, new.MAC, new.metrics, new.currently_attached) == (access.device, access.MAC, master.metrics, True)
    assert (world.state.find(PIF, access.ref), world.state.find(Tunnel, old)) == (None, None)
    assert world.get(VIF, vif).currently_attached
    world.call("Bond.destroy", ref)
    assert tunnel_over(world, over).transport_PIF == eth[1]
    assert world.get(PIF, tunnel_over(world, over).access_PIF).metrics == world.get(PIF, eth[1]).metrics


def tunnel_over(world: World, network: Ref) -> Tunnel:
    (tunnel,) = (tunnel for tunnel in world.state.all(Tunnel) if world.get(PIF, tunnel.access_PIF).network == network)
    return tunnel


def test_a_tunnel_over_a_bond_carries_what_the_bond_has_room_for(world, host, eth):
    static(world, eth[0])
    world.call("tunnel.create", eth[0], world.network(), "vxlan")
    world.call("Bond.create", world.network(MTU=1400), (eth[0],), "", "balance-slb", {})
    (tunnel,) = world.state.all(Tunnel)
    assert world.get(PIF, tunnel.access_PIF).MTU == 1350


def test_local_vifs_move_there_and_back_and_live_ones_stay_live(world, host, eth, network):
    _, (live,) = world.running(world.external(1), on=host)
    halted = world.vif(world.vm(), world.external(0))
    ref, _ = bonded(world, network, eth[0], eth[1])
    assert {world.get(VIF, vif).network for vif in (live, halted)} == {network}
    assert world.get(VIF, live).currently_attached
    view = compile_switch(world.state, host, "xapi0")
    assert view is not None
    assert [port.vif for port in view.ports.values()] == [world.get(VIF, live).uuid]
    world.call("Bond.destroy", ref)
    assert {world.get(VIF, vif).network for vif in (live, halted)} == {world.external(0)}
    assert world.get(VIF, live).currently_attached


def test_vifs_of_vms_that_may_be_elsewhere_stay(world, host, eth, network):
    """A VM that runs on another host, or that could start there."""
    other = world.host("bb", "eth0")
    _, (away,) = world.running(world.external(0), on=other)
    either = world.vm()
    anywhere = world.vif(either, world.external(0))
    only_here = world.vif(world.vm(), world.external(1))
    bonded(world, network, eth[0], eth[1])
    assert [world.get(VIF, vif).network for vif in (away, anywhere, only_here)] == [world.external(0), world.external(0), network]
    assert world.refusal("VM.start_on", either, host, False, False) == ["HOST_CANNOT_ATTACH_NETWORK", host, world.external(0)]
    world.call("VM.start", either, False, False)
    assert world.refusal("VIF.move", anywhere, network) == ["HOST_CANNOT_ATTACH_NETWORK", other, network]


def test_vms_that_can_start_nowhere_are_local(world, host, eth, network):
    """As in XenServer: their network has no other way to them."""
    vm = world.vm()
    vif = world.vif(vm, world.external(0))
    world.call("host.disable", host, True)
    bonded(world, network, eth[0], eth[1])
    assert world.get(VIF, vif).network == network


def test_the_slaves_networks_get_the_bonds_mtu(world, host, eth):
    _, master = bonded(world, world.network(MTU=9000), eth[0], eth[1])
    assert [world.get(Network, world.external(n)).MTU for n in range(3)] == [9000, 9000, 1500]
    assert master.MTU == 9000
    world.call("network.set_MTU", master.network, 4000)
    world.call("PIF.plug", master.ref)
    assert [world.get(Network, world.external(n)).MTU for n in range(3)] == [4000, 4000, 1500]
