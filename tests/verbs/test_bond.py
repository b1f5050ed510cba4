"""Bonds: who may become one, all that moves to it and back, and that it is all or nothing."""

import msgspec
import pytest

from tests.verbs.world import ABSENT, World
from xenet.model.derived import VLAN, Bond, NetworkSriov, Tunnel
from xenet.model.hidden import NIC, BondLinks, HostFacts, Lease, Operation
from xenet.model.host import Host
from xenet.model.invariants import violations
from xenet.model.message import Message
from xenet.model.network import Network
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.state import PoolState
from xenet.model.types import NULL, Record, Ref, ref_of
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.plan.compile import compile_host, compile_switch
from xenet.plan.layer3 import dhcp_clients
from xenet.plan.reach import Reach, reach_of
from xenet.plan.view import BondView, UplinkView, VLANView
from xenet.verbs.host import hello
from xenet.verbs.report import timeout_failure

MAC = "02:00:00:00:01:00"
"""Of eth0 of host a."""


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0", "eth1", "eth2")


@pytest.fixture
def eth(world, host):
    return [world.pif(host, world.external(n)) for n in range(3)]


@pytest.fixture
def network(world, host):
    return world.network()


def change(world: World, cls: type[Record], ref: Ref, **fields: object) -> None:
    """Behind the verbs' back: what a state may be like."""
    world.state = world.state.with_record(cls.xenapi, ref, msgspec.structs.replace(world.get(cls, ref), **fields))


def put(world: World, record: Record) -> Ref:
    world.state = world.state.with_record(record.xenapi, record.ref, record)
    return record.ref


def bonded(world: World, network: Ref, *members: Ref, mac: str = "", mode: str = "balance-slb", **properties: str) -> tuple[Ref, PIF]:
    bond = world.call("Bond.create", network, members, mac, mode, {name.replace("_", "-"): value for name, value in properties.items()})
    assert violations(world.state) == []
    return bond, world.get(PIF, world.get(Bond, bond).master)


def static(world: World, pif: Ref, address: str = "192.0.2.1") -> None:
    world.call("PIF.reconfigure_ip", pif, "Static", address, "255.255.255.0", "192.0.2.254", "192.0.2.53")


def upper(world: World, vlan: Ref) -> PIF:
    return world.get(PIF, world.get(VLAN, vlan).untagged_PIF)


def tables(state: PoolState) -> dict[str, object]:
    return {cls: dict(state.tables.get(cls, {})) for cls in ("Bond", "PIF", "PIF_metrics", "VLAN", "tunnel", "VIF", "network", "host")}


def views(world: World, host: Ref) -> object:
    return compile_host(world.state, host)


# --- records -----------------------------------------------------------------------------------------


def test_a_bond_is_a_pif_above_its_slaves(world, host, eth, network):
    ref, master = bonded(world, network, eth[0], eth[1])
    bond = world.get(Bond, ref)
    assert (bond.mode, bond.properties, bond.primary_slave, bond.auto_update_mac) == ("balance-slb", {}, eth[0], True)
    assert (master.device, master.network, master.host, master.MAC) == ("bond0", network, host, MAC)
    assert (master.MTU, master.VLAN, master.physical, master.managed) == (1500, -1, False, True)
    assert (master.plugged, master.currently_attached, master.properties) == (True, True, {"gro": "on"})
    metrics = world.get(PIFMetrics, master.metrics)
    assert (metrics.vendor_id, metrics.device_id, metrics.pci_bus_path) == ("", "", "")
    assert set(world.state.back(ref, Bond.slaves)) == {eth[0], eth[1]}
    assert world.state.back(master.ref, PIF.bond_master_of) == [ref]
    for pif in (world.get(PIF, eth[0]), world.get(PIF, eth[1])):
        assert (pif.bond_slave_of, pif.plugged, pif.currently_attached) == (ref, False, False)
    assert world.get(PIF, eth[2]).currently_attached


def test_its_switch_has_the_bond_and_the_slaves_have_none(world, host, eth, network):
    bonded(world, network, eth[0], eth[1])
    view = compile_switch(world.state, host, "xapi0")
    assert view is not None
    assert (view.mac, view.mtu) == (MAC, 1500)
    gro = {"eth0": {"gro": "on"}, "eth1": {"gro": "on"}}
    assert view.uplink == UplinkView("bond0", 1500, bond=BondView(("eth0", "eth1"), "balance-slb", MAC, "eth0"), ethtool=gro)
    assert compile_switch(world.state, host, "xenbr0") is None
    assert compile_switch(world.state, host, "xenbr1") is None
    assert compile_switch(world.state, host, "xenbr2") is not None


def test_destroy_leaves_the_network_and_plugs_the_slaves(world, host, eth, network):
    before = tables(world.state)
    ref, master = bonded(world, network, eth[0], eth[1])
    world.call("Bond.destroy", ref)
    assert violations(world.state) == []
    assert tables(world.state) == before
    assert world.state.find(PIF, master.ref) is None
    assert world.state.find(PIFMetrics, master.metrics) is None
    bonded(world, network, eth[0], eth[1])


def test_numbers_of_bonds_are_the_smallest_unused(world, host, eth, network):
    first, one = bonded(world, network, eth[0])
    _, two = bonded(world, world.network(), eth[1])
    assert (one.device, two.device) == ("bond0", "bond1")
    world.call("Bond.destroy", first)
    assert bonded(world, network, eth[2])[1].device == "bond0"


def test_nics_that_are_unplugged_and_one_alone_and_one_named_twice(world, host, eth, network):
    world.call("PIF.unplug", eth[0])
    ref, master = bonded(world, network, eth[0], eth[0])
    assert world.state.back(ref, Bond.slaves) == [eth[0]]
    assert master.currently_attached


def test_a_mac_of_its_own(world, host, eth, network):
    ref, master = bonded(world, network, eth[0], eth[1], mac="02:AA:00:00:00:01")
    assert (master.MAC, world.get(Bond, ref).auto_update_mac) == ("02:AA:00:00:00:01", False)
    view = compile_switch(world.state, host, "xapi0")
    assert view is not None
    assert view.uplink is not None
    assert view.uplink.bond is not None
    assert (view.mac, view.uplink.bond.mac) == ("02:aa:00:00:00:01", "02:aa:00:00:00:01")


# --- refusals ----------------------------------------------------------------------------------------


def test_the_order_of_refusals(world, host, eth, network):
    """Each reason is taken away when it has been seen, so the next one shows."""
    one, two = eth[0], eth[1]
    elsewhere = world.host("bb", "eth0")
    far = world.pif(elsewhere, world.external(0))
    create = ("Bond.create", network, (one, two), "x", "balance-slb", {"lacp-time": "fast"})
    assert world.refusal("Bond.create", network, (), "x", "balance-slb", {}) == ["PIF_BOND_NEEDS_MORE_MEMBERS"]
    vlan = put(world, VLAN(uuid="vlan"))
    bond = put(world, Bond(uuid="bond"))
    tunnel = put(world, Tunnel(uuid="tunnel", access_PIF=two))
    sriov = put(world, NetworkSriov(uuid="sriov", logical_PIF=two))
    static(world, one)
    change(world, PIF, two, managed=False, bond_slave_of=bond, VLAN_master_of=vlan, properties={}, primary_address_type="IPv6")
    change(world, PIF, eth[2], network=network)
    change(world, PIF, far, network=network, VLAN_master_of=vlan)
    change(world, Network, network, managed=False)
    assert world.refusal(*create) == ["NETWORK_UNMANAGED", network]
    change(world, Network, network, managed=True)
    assert world.refusal(*create) == ["NETWORK_ALREADY_CONNECTED", host, eth[2]]
    change(world, PIF, eth[2], network=ABSENT)
    assert world.refusal(*create) == ["NETWORK_INCOMPATIBLE_WITH_BOND", network]
    change(world, PIF, far, network=world.external(0), VLAN_master_of=NULL)
    assert world.refusal(*create) == ["MAC_INVALID", "x"]
    create = (*create[:3], "", *create[4:])
    assert world.refusal(*create) == ["INVALID_VALUE", "properties", "lacp-time = fast"]
    create = (*create[:5], {})
    assert world.refusal(*create) == ["PIF_INCOMPATIBLE_PRIMARY_ADDRESS_TYPE", two]
    change(world, PIF, two, primary_address_type="IPv4")
    assert world.refusal(*create) == ["PIF_UNMANAGED", two]
    change(world, PIF, two, managed=True)
    assert world.refusal(*create) == ["PIF_ALREADY_BONDED", two]
    change(world, PIF, two, bond_slave_of=NULL)
    assert world.refusal(*create) == ["PIF_VLAN_EXISTS", "eth1"]
    change(world, PIF, two, VLAN_master_of=NULL)
    assert world.refusal(*create) == ["IS_TUNNEL_ACCESS_PIF", two]
    change(world, Tunnel, tunnel, access_PIF=NULL)
    assert world.refusal(*create) == ["PIF_IS_SRIOV_LOGICAL", two]
    change(world, NetworkSriov, sriov, logical_PIF=NULL)
    change(world, PIF, two, host=elsewhere)
    assert world.refusal(*create) == ["PIF_CANNOT_BOND_CROSS_HOST"]
    change(world, PIF, two, host=host)
    assert world.refusal(*create) == ["INCOMPATIBLE_PIF_PROPERTIES"]
    change(world, PIF, two, properties={"gro": "on"}, ipv6_configuration_mode="Autoconf")
    assert world.refusal(*create) == ["PIF_BOND_MORE_THAN_ONE_IP"]
    change(world, PIF, two, ipv6_configuration_mode="None")
    world.leave(host)
    assert world.refusal(*create) == ["HOST_OFFLINE", host]


@pytest.mark.parametrize("mac", ["02:00", "03:00:00:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"])
def test_macs_that_no_device_can_have(world, host, eth, network, mac):
    assert world.refusal("Bond.create", network, (eth[0],), mac, "balance-slb", {}) == ["MAC_INVALID", mac]


def test_what_is_not_there(world, host, eth, network):
    assert world.refusal("Bond.create", ABSENT, (eth[0],), "", "balance-slb", {}) == ["HANDLE_INVALID", "network", ABSENT]
    assert world.refusal("Bond.create", network, (ABSENT,), "", "balance-slb", {}) == ["HANDLE_INVALID", "PIF", ABSENT]
    assert world.refusal("Bond.destroy", ABSENT) == ["HANDLE_INVALID", "Bond", ABSENT]


@pytest.mark.parametrize("leaving", ["VLAN.destroy", "Bond.destroy", "tunnel.destroy", "PIF.forget"])
def test_a_network_that_a_pif_may_come_back_to_gets_no_other(world, host, eth, network, leaving):
    static(world, eth[2])
    made = {
        "VLAN.destroy": lambda: world.call("VLAN.create", eth[2], 42, network),
        "Bond.destroy": lambda: bonded(world, network, eth[2])[0],
        "tunnel.destroy": lambda: world.call("tunnel.create", eth[2], network, "vxlan"),
        "PIF.forget": lambda: eth[2],
    }
    on = world.external(2) if leaving == "PIF.forget" else network
    world.start(leaving, made[leaving]())
    for call in (
        ("Bond.create", on, (eth[0],), "", "balance-slb", {}),
        ("VLAN.create", eth[0], 7, on),
        ("tunnel.create", eth[0], on, "vxlan"),
    ):
        assert world.refusal(*call)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "network", on], call
    world.report(host)
    world.call("VLAN.create", eth[0], 7, on)


def test_a_nic_whose_network_has_a_bond_by_now_is_left_alone(world, host, eth):
    world.call("PIF.forget", eth[2])
    _, master = bonded(world, world.external(2), eth[0], eth[1])
    assert world.refusal("PIF.introduce", host, "", "eth2", True) == ["NETWORK_ALREADY_CONNECTED", host, master.ref]
    world.call("PIF.scan", host)
    world.host("a", "eth0", "eth1", "eth2")
    assert [pif.device for pif in world.state.where(PIF, "host", host) if pif.device == "eth2"] == []
    assert world.get(PIF, world.call("PIF.introduce", host, "", "eth2", False)).managed is False


def test_no_bond_of_bonds(world, host, eth, network):
    ref, master = bonded(world, network, eth[0])
    assert world.refusal("Bond.create", world.network(), (master.ref, eth[1]), "", "balance-slb", {}) == ["PIF_ALREADY_BONDED", master.ref]
    assert world.refusal("Bond.create", world.network(), (eth[1], eth[0]), "", "balance-slb", {}) == ["PIF_ALREADY_BONDED", eth[0]]
    assert world.get(Bond, ref).master == master.ref


# --- what moves --------------------------------------------------------------------------------------


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
    code, _, text = world.refusal("Bond.create", network, (eth[0],), "", "balance-slb", {})
    assert (code, "MTU 9000 of VLAN 42 is more than the 1500 of bond0" in text) == ("PIF_CONFIGURATION_ERROR", True)


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


# --- all or nothing ----------------------------------------------------------------------------------


def busy(world: World, host: Ref, eth: list[Ref]) -> None:
    """A host on which everything moves."""
    static(world, eth[0])
    world.call("host.management_reconfigure", eth[0])
    world.call("PIF.set_disallow_unplug", eth[0], True)
    for n in (0, 1):
        world.call("VLAN.create", eth[n], 42, world.network())
    world.running(world.external(0), world.external(1), on=host)
    world.vif(world.vm(), world.external(1))


@pytest.mark.parametrize("verb", ["create", "destroy"])
@pytest.mark.parametrize("what", ["the bond's network", "a slave's network", "a VLAN's network", "a VIF", "time"])
def test_what_fails_on_the_host_has_not_happened(world, host, eth, network, verb, what):
    busy(world, host, eth)
    ref = bonded(world, network, eth[0], eth[1])[0] if verb == "destroy" else NULL
    vlan = next(upper(world, vlan.ref).network for vlan in world.state.all(VLAN))
    before, seen = tables(world.state), views(world, host)
    create = ("Bond.create", network, (eth[0], eth[1]), "", "balance-slb", {})
    outcome = world.start("Bond.destroy", ref) if verb == "destroy" else world.start(*create)
    vif = next(vif for vif in world.get(Operation, outcome.operation).objects if world.state.find(VIF, vif))
    blamed = {"the bond's network": network, "a slave's network": world.external(1), "a VLAN's network": vlan, "a VIF": vif}
    if what == "time":
        world.leave(host)
        world.host("a", "eth0", "eth1", "eth2")
    else:
        (ended,) = world.report(host, {blamed[what]: "no"})
        assert ended.failure is not None
        assert ended.failure.code in ("PIF_CONFIGURATION_ERROR", "INTERNAL_ERROR")
        world.report(host)
    assert tables(world.state) == before
    assert views(world, host) == seen
    assert violations(world.state) == []


def test_no_vif_is_to_blame_when_a_host_takes_too_long(world, host, eth, network):
    world.running(world.external(0), on=host)
    outcome = world.start("Bond.create", network, (eth[0],), "", "balance-slb", {})
    operation = world.get(Operation, outcome.operation)
    assert timeout_failure(world.frame("time-out"), operation).description == ["CANNOT_CONTACT_HOST", host]


def test_nothing_that_moves_can_be_touched_meanwhile(world, host, eth, network):
    busy(world, host, eth)
    waiting = world.vm()
    halted = world.vif(waiting, world.external(0))
    spare = world.network()
    ref = world.start("Bond.create", network, (eth[0], eth[1]), "", "balance-slb", {}).result
    master = world.get(Bond, ref).master
    (vlan,) = world.state.all(VLAN)
    for call in (
        ("PIF.plug", master),
        ("PIF.unplug", upper(world, vlan.ref).ref),
        ("PIF.set_disallow_unplug", eth[1], True),
        ("PIF.reconfigure_ip", eth[1], "Static", "192.0.2.9", "255.255.255.0", "", ""),
        ("PIF.scan", host),
        ("Bond.destroy", ref),
        ("Bond.set_mode", ref, "lacp"),
        ("VLAN.create", master, 7, spare),
        ("VIF.move", halted, spare),
        ("VIF.destroy", halted),
        ("VM.destroy", waiting),
        ("VM.start", waiting, False, False),
    ):
        assert world.refusal(*call)[0] == "OTHER_OPERATION_IN_PROGRESS", call
    world.report(host)
    world.call("VM.start", waiting, False, False)


def test_a_bond_waits_for_nobody_who_is_on_the_way(world, host, eth, network):
    """What could come back to a slave's network, or is about to be there."""
    _, (vif,) = world.running(world.external(0), on=host)
    create = ("Bond.create", network, (eth[0], eth[1]), "", "balance-slb", {})
    world.start("VIF.move", vif, world.external(2))
    assert world.refusal(*create)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "network", world.external(0)]
    world.report(host)
    vm = world.vm()
    coming = world.vif(vm, world.external(1))
    world.start("VM.start", vm, False, False)
    assert world.refusal(*create)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "VIF", coming]
    world.report(host)
    world.call(*create)


@pytest.mark.parametrize("there", [0, 1])
def test_a_vm_between_two_hosts_is_waited_for_on_both(world, there):
    """In every phase of its migration in which it may yet go back."""
    hosts = [world.host(name, "eth0", guests="namespace") for name in ("a", "bb")]
    vm, (vif,) = world.running(world.external(0), on=hosts[0])
    network = world.network()
    create = ("Bond.create", network, (world.pif(hosts[there], world.external(0)),), "", "balance-slb", {})
    outcome = world.start("VM.pool_migrate", vm, hosts[1], {})
    while world.get(VM, vm).peer != NULL:
        assert world.refusal(*create)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "VIF", vif]
        world.report(world.get(Operation, outcome.operation).waiting[0])
    for host in hosts:
        world.report(host)
    world.call(*create)
    assert world.get(VIF, vif).network == (network if there else world.external(0))


def test_what_may_come_back_to_a_pif_is_waited_for(world, host, eth, network):
    """A VLAN or tunnel that the host has yet to take down stands on its PIF again if that fails."""
    static(world, eth[1])
    on, over = world.network(), world.network()
    vlan = world.call("VLAN.create", eth[1], 42, on)
    tunnel = world.call("tunnel.create", eth[1], over, "vxlan")
    for destroy in (("tunnel.destroy", tunnel), ("VLAN.destroy", vlan)):
        world.start(*destroy)
        for call in (
            ("Bond.create", network, (eth[0], eth[1]), "", "balance-slb", {}),
            ("host.reset_networking", host),
            *([("PIF.forget", eth[1]), ("VLAN.create", eth[1], 42, network)] if destroy[1] == vlan else []),
        ):
            assert world.refusal(*call)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "PIF", eth[1]], (destroy, call)
        world.report(host)
    world.start("VLAN.create", eth[1], 42, network)
    world.report(host)
    ref, master = bonded(world, on, eth[0], eth[1])
    (vlan,) = world.state.all(VLAN)
    world.start("VLAN.destroy", vlan.ref)
    assert world.refusal("Bond.destroy", ref)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "PIF", master.ref]


def test_a_vlan_that_carries_a_tunnel_stays(world, host, eth, network):
    vlan = world.call("VLAN.create", eth[1], 42, network)
    static(world, upper(world, vlan).ref)
    world.call("tunnel.create", upper(world, vlan).ref, world.network(), "vxlan")
    assert world.refusal("VLAN.destroy", vlan) == ["PIF_TUNNEL_STILL_EXISTS", upper(world, vlan).ref]


def test_a_network_that_a_bond_may_come_back_to_is_waited_for(world, host, eth, network):
    """The bond itself is unplugged and stays so if it comes back: then no VIF may have come meanwhile."""
    ref, master = bonded(world, network, eth[0], eth[1])
    world.call("VLAN.create", master.ref, 42, world.network())
    world.call("PIF.unplug", master.ref)
    vm = world.vm()
    world.vif(vm, network)
    vm2 = world.vm()
    world.start("Bond.destroy", ref)
    assert world.refusal("VM.start", vm, False, False)[0] == "OTHER_OPERATION_IN_PROGRESS"
    vif = world.vif(vm2, network)
    assert world.refusal("VM.start", vm2, False, False)[0] == "OTHER_OPERATION_IN_PROGRESS"
    world.report(host, {network: "no"})
    assert world.get(VIF, vif).network == network
    assert not world.get(PIF, master.ref).plugged
    assert violations(world.state) == []


# --- an unplugged bond -------------------------------------------------------------------------------


def test_an_unplugged_bond_leaves_its_slaves_unplugged(world, host, eth, network):
    ref, master = bonded(world, network, eth[0], eth[1])
    world.call("PIF.unplug", master.ref)
    assert compile_switch(world.state, host, "xapi0") is None
    world.leave(host)
    world.call("Bond.destroy", ref)
    assert [world.get(PIF, pif).plugged for pif in eth] == [False, False, True]


# --- modes -------------------------------------------------------------------------------------------


def test_modes_and_their_properties(world, host, eth, network):
    ref, master = bonded(world, network, eth[0], eth[1], mode="lacp", lacp_time="fast", lacp_aggregation_key="7")
    own = {"hashing_algorithm": "tcpudp_ports", "lacp-time": "fast", "lacp-fallback-ab": "true", "lacp-aggregation-key": "7"}
    assert world.get(Bond, ref).properties == own
    assert bond_of(world, host) == BondView(("eth0", "eth1"), "lacp", MAC, "eth0", hashing="tcpudp_ports", lacp_time="fast", lacp_key=7)
    world.call("Bond.set_property", ref, "hashing_algorithm", "src_mac")
    world.call("Bond.set_property", ref, "lacp-fallback-ab", "false")
    view = bond_of(world, host)
    assert (view.hashing, view.lacp_fallback) == ("src_mac", False)
    world.call("Bond.set_mode", ref, "active-backup")
    assert (world.get(Bond, ref).mode, world.get(Bond, ref).properties) == ("active-backup", {})
    assert bond_of(world, host) == BondView(("eth0", "eth1"), "active-backup", MAC, "eth0")
    world.call("Bond.set_mode", ref, "lacp")
    assert world.get(Bond, ref).properties == {"hashing_algorithm": "tcpudp_ports", "lacp-time": "slow", "lacp-fallback-ab": "true"}
    assert world.get(PIF, master.ref).currently_attached


@pytest.mark.parametrize(
    ("mode", "name", "value"),
    [
        ("balance-slb", "hashing_algorithm", "src_mac"),
        ("active-backup", "lacp-time", "fast"),
        ("lacp", "lacp-time", "sometimes"),
        ("lacp", "lacp-aggregation-key", "-1"),
        ("lacp", "lacp-aggregation-key", "65536"),
        ("lacp", "speed", "1"),
        ("lacp", "hashing_algorithm", "src_mac|tcpudp_ports"),
    ],
)
def test_properties_that_are_none(world, host, eth, network, mode, name, value):
    refusal = ["INVALID_VALUE", "properties", f"{name} = {value}"]
    assert world.refusal("Bond.create", network, (eth[0],), "", mode, {name: value}) == refusal
    ref, _ = bonded(world, network, eth[0], mode=mode)
    assert world.refusal("Bond.set_property", ref, name, value) == refusal


def test_a_mode_that_the_host_cannot_do_is_not_set(world, host, eth, network):
    ref, master = bonded(world, network, eth[0], eth[1])
    world.start("Bond.set_mode", ref, "lacp")
    (ended,) = world.report(host, {network: "no 802.3ad here"})
    assert ended.failure is not None
    assert ended.failure.description == ["PIF_CONFIGURATION_ERROR", master.ref, "no 802.3ad here"]
    assert (world.get(Bond, ref).mode, world.get(Bond, ref).properties) == ("balance-slb", {})


def test_the_links_settings_are_overridden_by_the_pifs_other_config(world, host, eth, network):
    _, master = bonded(world, network, eth[0], eth[1])
    own = {"bond-miimon": "20", "bond-updelay": "0", "bond-downdelay": "soon", "bond-mode": "active-backup", "bond-rebalance-interval": "60000"}
    world.call("PIF.set_other_config", master.ref, own)
    view = bond_of(world, host)
    assert (view.miimon, view.updelay, view.downdelay, view.mode, view.rebalance) == (20, 0, 200, "active-backup", 60000)
    world.call("PIF.set_other_config", master.ref, {"bond-mode": "lacp", "bond-lacp-time": "fast", "bond-hashing-algorithm": "src_mac"})
    view = bond_of(world, host)
    assert (view.mode, view.lacp_time, view.hashing) == ("lacp", "fast", "src_mac")


def bond_of(world: World, host: Ref) -> BondView:
    view = compile_switch(world.state, host, "xapi0")
    assert view is not None
    assert view.uplink is not None
    assert view.uplink.bond is not None
    return view.uplink.bond


# --- slaves elsewhere --------------------------------------------------------------------------------


def test_what_a_slave_cannot(world, host, eth, network):
    ref, master = bonded(world, network, eth[0], eth[1])
    world.call("PIF.reconfigure_ip", eth[1], "Static", "192.0.2.9", "255.255.255.0", "", "")
    assert world.refusal("PIF.plug", eth[1]) == ["CANNOT_PLUG_BOND_SLAVE", eth[1]]
    assert world.refusal("host.management_reconfigure", eth[1]) == ["CANNOT_PLUG_BOND_SLAVE", eth[1]]
    assert world.refusal("VLAN.create", eth[1], 7, world.network()) == ["CANNOT_ADD_VLAN_TO_BOND_SLAVE", eth[1]]
    for pif in (eth[1], master.ref):
        assert world.refusal("PIF.forget", pif) == ["PIF_ALREADY_BONDED", pif]
        assert world.refusal("PIF.db_forget", pif) == ["PIF_ALREADY_BONDED", pif]
    assert world.refusal("PIF.introduce", host, "", "eth1", True) == ["DUPLICATE_PIF_DEVICE_NAME", "eth1"]
    world.call("PIF.scan", host)
    assert len(world.state.where(PIF, "host", host)) == 4
    vm = world.vm()
    vif = world.vif(vm, world.external(1))
    assert world.refusal("VM.start", vm, False, False) == ["NO_HOSTS_AVAILABLE"]
    assert world.refusal("VM.start_on", vm, host, False, False) == ["HOST_CANNOT_ATTACH_NETWORK", host, world.external(1)]
    assert world.refusal("VM.assert_can_boot_here", vm, host) == ["HOST_CANNOT_ATTACH_NETWORK", host, world.external(1)]
    world.call("VIF.move", vif, network)
    world.call("VM.start", vm, False, False)
    other = world.vif(vm, world.external(0), "1")
    assert world.refusal("VIF.plug", other) == ["CANNOT_PLUG_BOND_SLAVE", eth[0]]
    assert world.refusal("VIF.move", vif, world.external(0)) == ["HOST_CANNOT_ATTACH_NETWORK", host, world.external(0)]
    world.call("PIF.unplug", eth[1])
    assert violations(world.state) == []
    assert ref_of(world.get(Bond, ref).uuid) == ref


# --- a pool ------------------------------------------------------------------------------------------


def bond_on(world: World, network: Ref, host: Ref) -> tuple[Bond, list[str]]:
    master = world.pif(host, network)
    (bond,) = world.state.where(Bond, "master", master)
    return bond, sorted(slave.device for slave in world.state.where(PIF, "bond_slave_of", bond.ref))


def test_a_host_that_comes_gets_the_coordinators_bonds_and_the_vlans_on_them(world, host, eth, network):
    _, master = bonded(world, network, eth[1], eth[0], mode="lacp", lacp_time="fast")
    world.call("VLAN.create", master.ref, 42, world.network())
    late = world.host("late", "eth0", "eth1", "eth3")
    bond, slaves = bond_on(world, network, late)
    assert (slaves, bond.mode, bond.properties["lacp-time"]) == (["eth0", "eth1"], "lacp", "fast")
    assert world.get(PIF, bond.primary_slave).device == "eth1"
    pif = world.get(PIF, bond.master)
    assert (pif.device, pif.MAC, pif.currently_attached) == ("bond0", "02:00:00:00:04:01", True)
    assert [world.get(PIF, vlan.tagged_PIF).ref for vlan in world.state.all(VLAN)].count(bond.master) == 1
    assert violations(world.state) == []
    before = tables(world.state)
    world.host("late", "eth0", "eth1", "eth3")
    assert tables(world.state) == before, "once"


def test_a_host_without_all_the_nics_gets_a_smaller_bond(world, host, eth, network):
    bonded(world, network, eth[0], eth[1])
    assert bond_on(world, network, world.host("few", "eth1"))[1] == ["eth1"]
    none = world.host("none", "eth7")
    assert all(pif.host != none for pif in world.state.where(PIF, "network", network))


def test_a_hosts_bond_with_other_slaves_is_made_anew(world, host, eth, network):
    late = world.host("late", "eth0", "eth1", "eth2")
    own = [world.pif(late, world.external(n)) for n in range(3)]
    static(world, own[1])
    world.call("host.management_reconfigure", own[1])
    old, _ = bonded(world, network, own[1], own[2])
    bonded(world, network, eth[0], eth[1])
    world.host("late", "eth0", "eth1", "eth2")
    bond, slaves = bond_on(world, network, late)
    assert (slaves, world.state.find(Bond, old)) == (["eth0", "eth1"], None)
    assert world.get(PIF, bond.master).management
    assert world.get(Host, late).address == "192.0.2.1"
    assert world.get(PIF, own[2]).plugged
    assert violations(world.state) == []


def test_what_speaks_against_a_bond_leaves_the_host_as_it_was(world, host, eth, network):
    late = world.host("late", "eth0", "eth1")
    world.call("VLAN.create", world.pif(late, world.external(0)), 42, world.network(MTU=1500))
    for n in (0, 1):
        static(world, world.pif(late, world.external(n)), f"192.0.2.{n + 1}")
    bonded(world, network, eth[0], eth[1])
    before = tables(world.state)
    world.host("late", "eth0", "eth1")
    assert tables(world.state) == before


def test_a_hosts_bond_waits_for_what_is_under_way_there(world, host, eth, network):
    """A server that was killed and started hears of its hosts while their operations wait."""
    late = world.host("late", "eth0", "eth1")
    _, (vif,) = world.running(world.external(0), on=late)
    bonded(world, network, eth[0], eth[1])
    world.start("VIF.unplug", vif)
    world.take(hello(world.frame("hello"), "host-late", "late", "bridge", world.get(HostFacts, late).nics, "tap"))
    assert all(pif.host != late for pif in world.state.where(PIF, "network", network))
    world.report(late)
    world.host("late", "eth0", "eth1")
    assert bond_on(world, network, late)[1] == ["eth0", "eth1"]
    assert world.get(VIF, vif).network == network


# --- links -------------------------------------------------------------------------------------------


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
