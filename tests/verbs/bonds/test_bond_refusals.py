"""Who may become a bond: every refusal, in order."""

import pytest

from tests.verbs.bonds.words import bonded, change, put, static
from tests.verbs.world import ABSENT
from xenet.model.derived import VLAN, Bond, NetworkSriov, Tunnel
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.types import NULL


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
