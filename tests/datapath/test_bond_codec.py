"""Bonds in the kernel's words: what is sent, as pyroute2 reads it; what is read, as it was sent; the delays as the driver rounds them."""

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from xenet.datapath.bonding import LACP, XOR, Options, active_slave, bond_data, needs_down, options_of, parse_options, parse_slave
from xenet.datapath.fence import forget, listen, rules
from xenet.datapath.links import Link, create_bond, set_bond
from xenet.datapath.mark import DEAD, LIVE, asked_of, bond_alias, is_remnant
from xenet.datapath.netlink import CREATE, EXCL, attr, encode
from xenet.datapath.uplinks import seen
from xenet.plan.view import BondView

MAC = "02:00:00:00:ee:00"
SLB = BondView(("eth0", "eth1"), "balance-slb", MAC, "eth0")
BACKUP = BondView(("eth0", "eth1"), "active-backup", MAC, "eth1", miimon=30, updelay=100)
LAG = BondView(("eth0", "eth1"), "lacp", MAC, hashing="tcpudp_ports", lacp_time="fast", lacp_key=7)


def data(request):
    message = ifinfmsg(encode(request, 0, 1))
    message.decode()
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "bond"
    return message, info.get_attr("IFLA_INFO_DATA")


def read(told, *names: str):
    return [told.get_attr(f"IFLA_BOND_{name.upper()}") for name in names]


def test_each_mode_as_pyroute2_reads_it():
    message, told = data(create_bond("bond0", MAC, 9000, 5, bond_data(options_of(SLB, 0))))
    assert [message.get(key) for key in ("ifname", "address", "mtu", "group")] == ["bond0", MAC, 9000, 5]
    assert message["header"]["flags"] & (CREATE | EXCL) == CREATE | EXCL
    assert read(told, "mode", "miimon", "updelay", "downdelay", "xmit_hash_policy", "primary") == [2, 100, 31000, 200, 5, None]
    message, told = data(set_bond(9, bond_data(options_of(BACKUP, 4))))
    assert message["index"] == 9
    assert read(told, "mode", "miimon", "updelay", "downdelay", "primary") == [1, 30, 90, 180, 4]
    _, told = data(set_bond(9, bond_data(options_of(LAG, 0))))
    assert read(told, "mode", "xmit_hash_policy", "ad_lacp_rate", "ad_user_port_key") == [4, 1, 1, 7]
    _, told = data(set_bond(9, active_slave(4)))
    assert read(told, "active_slave") == [4]


def test_what_must_not_be_touched_while_it_works_is_left_out():
    have = options_of(LAG, 0)
    _, told = data(set_bond(9, bond_data(have, have)))
    assert read(told, "mode", "ad_lacp_rate", "ad_user_port_key", "miimon") == [None, None, None, 100]


@pytest.mark.parametrize("options", [options_of(SLB, 0), options_of(BACKUP, 4), options_of(LAG, 0), Options(LACP, policy=1)])
def test_settings_come_back_as_they_were_sent(options):
    assert parse_options(bond_data(options)) == options


def test_a_key_that_is_not_told_is_left_alone():
    have = parse_options(attr(1, b"\4"))
    assert have.key is None
    want = seen(options_of(LAG, 0), have)
    _, told = data(set_bond(9, bond_data(want, have)))
    assert read(told, "ad_user_port_key", "ad_lacp_rate") == [None, 1]
    assert needs_down(seen(options_of(LAG, 0), Options(LACP, fast=True)), Options(LACP, fast=True)), "the first key of a bond that had none"


def test_what_leads_over_a_bond_that_is_down():
    assert needs_down(Options(XOR), Options(LACP))
    assert needs_down(Options(LACP, fast=True), Options(LACP))
    assert not needs_down(Options(XOR, miimon=10), Options(XOR))


def test_a_slave():
    said = attr(1, b"\0") + attr(2, b"\0") + attr(4, bytes.fromhex("02000000ee01"))
    assert parse_slave(said) == (slave := parse_slave(said))
    assert (slave.active, slave.up, slave.mac) == (True, True, "02:00:00:00:ee:01")
    assert not parse_slave(attr(1, b"\1") + attr(2, b"\3")).up


@pytest.mark.parametrize("bond", [SLB, BACKUP, LAG, BondView((), "lacp", "", lacp_fallback=False, lacp_key=65535, rebalance=1)])
def test_an_alias_says_what_was_asked_for(bond):
    alias = bond_alias(bond)
    assert len(alias) < 256
    link = Link(3, "bond0", "bond", MAC, group=LIVE, alias=alias, master=7)
    asked = asked_of(link)
    assert asked is not None
    assert (asked.mode, asked.primary, asked.miimon, asked.lacp_key, asked.lacp_fallback) == (
        bond.mode, bond.primary, bond.miimon, bond.lacp_key, bond.lacp_fallback)  # fmt: skip
    assert not is_remnant(link)


def test_what_a_killed_agent_left():
    assert asked_of(Link(3, "bond0", "bond", group=LIVE)) is None
    assert is_remnant(Link(3, "bond0", "bond", group=LIVE))
    assert is_remnant(Link(3, "bond0", "bond", group=DEAD, master=7))
    assert asked_of(Link(3, "bond0", "bond", alias=bond_alias(SLB))) is None, "somebody else's"


def test_a_fence_in_words():
    whole = rules("bond0", ("eth0", "eth1", "eth2"), "eth1")
    assert 'devices = { "eth0", "eth2" }' in whole
    assert "devices" not in rules("bond0", ("eth0",), "eth0"), "a slave alone hears all"
    assert 'devices = { "eth1", "eth2" }' in listen("bond0", ("eth0", "eth1", "eth2"), "eth0")
    lines = forget("bond0", [MAC], [10]).splitlines()
    assert [line.split()[0] for line in lines] == ["add", "delete"] * 2
    assert lines[-1] == f"delete element netdev xenet_bond0 sent_tagged {{ 10 . {MAC} }}"
