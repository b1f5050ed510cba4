"""Bonds: their records, their numbers, their MACs, their modes, and what a slave cannot do."""

import pytest

from tests.verbs.bonds.words import MAC, bond_of, bonded, tables
from xenet.model.derived import Bond
from xenet.model.invariants import violations
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.types import ref_of
from xenet.plan.compile import compile_switch
from xenet.plan.view import BondView, UplinkView


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


def test_an_unplugged_bond_leaves_its_slaves_unplugged(world, host, eth, network):
    ref, master = bonded(world, network, eth[0], eth[1])
    world.call("PIF.unplug", master.ref)
    assert compile_switch(world.state, host, "xapi0") is None
    world.leave(host)
    world.call("Bond.destroy", ref)
    assert [world.get(PIF, pif).plugged for pif in eth] == [False, False, True]


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
