"""Our encoder and decoder against pyroute2's, an independent reading of the same kernel headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from tests.netns import Namespace, namespaces
from xenet.datapath import netlink as nl
from xenet.datapath.addresses import GLOBAL, add_address, add_route, parse_address, parse_route, remove_route
from xenet.datapath.links import (
    EUI64,
    NO_ADDRESS,
    GuestEnd,
    create_bridge,
    create_gretap,
    create_veth,
    create_vxlan,
    delete_group,
    delete_link,
    get_link,
    link_index,
    parse_link,
    set_link,
)
from xenet.datapath.netlink import NetlinkError, Overrun, Request, Socket, attr, attributes, encode
from xenet.plan.view import RouteView

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789.", min_size=1, max_size=15)
macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
mtus = st.integers(68, 65535)
groups = st.integers(0, 2**31 - 1)
indexes = st.integers(1, 2**31 - 1)


def link(request: Request) -> ifinfmsg:
    """As pyroute2 reads the message that our socket would send."""
    message = ifinfmsg(encode(request, nl.ACK, 7))
    message.decode()
    assert message["header"]["type"] == request.kind
    assert message["header"]["flags"] == nl.REQUEST | nl.ACK | request.flags
    assert message["header"]["sequence_number"] == 7
    return message


@given(names, macs, mtus, groups, names, macs, mtus, st.none() | st.integers(0, 1023), st.none() | st.integers(0, 1023))
def test_veth_as_pyroute2_reads_it(name, mac, mtu, group, far, far_mac, far_mtu, fd, home):
    read = link(create_veth(name, mac, mtu, group, GuestEnd(fd, far, far_mac, far_mtu), home))
    assert [read.get(key) for key in ("ifname", "address", "mtu", "net_ns_fd")] == [far, far_mac, far_mtu, fd]
    assert (read["flags"], read["change"]) == (1, 1) and read["header"]["flags"] & (nl.CREATE | nl.EXCL) == nl.CREATE | nl.EXCL
    info = read.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert peer["flags"] == 0
    assert [peer.get(key) for key in ("ifname", "address", "mtu", "group", "net_ns_fd")] == [name, mac, mtu, group, home]


@given(names, st.one_of(st.just(""), macs), mtus, groups)
def test_bridge_as_pyroute2_reads_it(name, mac, mtu, group):
    read = link(create_bridge(name, mac, mtu, group))
    assert [read.get(key) for key in ("ifname", "address", "mtu", "group")] == [name, mac or None, mtu, group]
    data = read.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    assert [data.get(key) for key in ("br_forward_delay", "br_mcast_snooping")] == [0, 0]


@given(names, st.integers(0, 2**24 - 1), st.ip_addresses(v=4).map(str), mtus, groups)
def test_vxlan_as_pyroute2_reads_it(name, vni, local, mtu, group):
    read = link(create_vxlan(name, vni, local, mtu, group))
    assert [read.get(key) for key in ("ifname", "mtu", "group")] == [name, mtu, group]
    info = read.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA")
    assert info.get_attr("IFLA_INFO_KIND") == "vxlan"
    assert [data.get(key) for key in ("vxlan_id", "vxlan_local", "vxlan_learning", "vxlan_port")] == [vni, local, 1, 4789]


@given(names, st.integers(0, 2**32 - 1), st.ip_addresses(v=4).map(str), st.ip_addresses(v=4).map(str), mtus, groups)
def test_gretap_as_pyroute2_reads_it(name, key, local, remote, mtu, group):
    request = create_gretap(name, key, local, remote, mtu, group)
    read = link(request)
    assert [read.get(word) for word in ("ifname", "mtu", "group")] == [name, mtu, group]
    info = read.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA")
    assert info.get_attr("IFLA_INFO_KIND") == "gretap"
    assert [data.get(word) for word in ("gre_local", "gre_remote", "gre_ikey", "gre_okey", "gre_ttl")] == [local, remote, key, key, 64]
    assert [data.get(word) for word in ("gre_iflags", "gre_oflags")] == [0x2000, 0x2000]
    seen = parse_link(encode(request, 0, 0))
    assert (seen.kind, seen.tag, seen.local, seen.remote) == ("gretap", key, local, remote)


@given(
    indexes, st.one_of(st.none(), indexes, st.just(0)), st.sampled_from([None, True, False]), names, st.sampled_from([None, EUI64, NO_ADDRESS]), mtus
)
def test_set_as_pyroute2_reads_it(index, master, up, alias, mode, mtu):
    read = link(set_link(index, master=master, up=up, alias=alias, addr_gen_mode=mode, mtu=mtu, mac="02:00:00:00:00:01", group=5, name="new"))
    assert read["index"] == index
    assert (read["flags"], read["change"]) == (int(bool(up)), int(up is not None))
    assert [read.get(key) for key in ("master", "ifalias", "mtu", "address", "group", "ifname")] == [
        master,
        alias,
        mtu,
        "02:00:00:00:00:01",
        5,
        "new",
    ]
    spec = read.get_attr("IFLA_AF_SPEC")
    assert (None if spec is None else spec.get_attr("AF_INET6").get_attr("IFLA_INET6_ADDR_GEN_MODE")) == mode


def test_a_device_is_named_or_numbered():
    for make in (set_link, delete_link, get_link):
        by_name, by_index = link(make("vif1.0")), link(make(9))
        assert (by_name["index"], by_name.get("ifname")) == (0, "vif1.0")
        assert (by_index["index"], by_index.get("ifname")) == (9, None)
    assert link(delete_group(5)).get("group") == 5


@pytest.mark.parametrize(("cidr", "family", "bits"), [("10.0.0.1/24", 2, 24), ("2001:db8::1/64", 10, 64), ("192.0.2.1", 2, 32)])
def test_address_as_pyroute2_reads_it(cidr, family, bits):
    message = ifaddrmsg(encode(add_address(3, cidr), 0, 1))
    message.decode()
    assert (message["family"], message["prefixlen"], message["scope"], message["index"]) == (family, bits, GLOBAL, 3)
    assert message.get("address") == message.get("local") == cidr.partition("/")[0]


@pytest.mark.parametrize("route", [RouteView("0.0.0.0/0", "10.0.0.1"), RouteView("10.9.0.0/16", "10.0.0.1"), RouteView("::/0", "2001:db8::1")])
def test_route_as_pyroute2_reads_it(route):
    for make in (add_route, remove_route):
        message = rtmsg(encode(make(3, route), 0, 1))
        message.decode()
        bits = int(route.destination.partition("/")[2])
        assert (message["dst_len"], message["table"]) == (bits, 254)
        assert (message.get("dst") or "") == (route.destination.partition("/")[0] if bits else "")
        assert (message.get("gateway"), message.get("oif")) == (route.gateway, 3)


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_come_back(found):
    assert attributes(b"".join(attr(kind, data) for kind, data in found.items()), 0) == found


def test_attributes_that_lie_about_their_size_are_refused():
    with pytest.raises(ValueError, match="attribute of 2 bytes"):
        attributes(b"\x02\0\x01\0" + bytes(4), 0)


def populated(ns: Namespace) -> None:
    ns.ip("link", "add", "br0", "address", "02:00:00:00:00:aa", "group", "7", "type", "bridge")
    ns.ip("link", "add", "a0", "mtu", "1400", "type", "veth", "peer", "name", "a1")
    ns.ip("link", "set", "a0", "master", "br0", "alias", "some thing", "up")
    ns.ip("link", "set", "br0", "up")
    ns.ip("address", "add", "10.1.0.1/24", "dev", "br0")
    ns.ip("address", "add", "2001:db8::1/64", "dev", "br0", "nodad")
    ns.ip("route", "add", "10.9.0.0/16", "via", "10.1.0.9")
    ns.ip("-6", "route", "add", "default", "via", "2001:db8::9", "dev", "br0")


@pytest.mark.kernel
def test_a_dump_read_by_both():
    with namespaces(1) as (ns,):
        populated(ns)
        with ns(Socket) as sock:
            raw = sock.dump(get_link(0))
            ours = [parse_link(message) for message in raw]
            assert [link.name for link in ours] == ["lo", "br0", "a1", "a0"]
            for message, mine in zip(raw, ours, strict=True):
                theirs = ifinfmsg(message)
                theirs.decode()
                info = theirs.get_attr("IFLA_LINKINFO")
                assert mine.index == theirs["index"] == link_index(message)
                assert mine.up == bool(theirs["flags"] & 1)
                assert mine.kind == (info.get_attr("IFLA_INFO_KIND") if info else "")
                assert mine.carrier == bool(theirs.get("carrier"))
                assert [mine.name, mine.mac, mine.mtu, mine.group] == [theirs.get(k) for k in ("ifname", "address", "mtu", "group")]
                assert [mine.master, mine.alias, mine.peer] == [theirs.get("master") or 0, theirs.get("ifalias") or "", theirs.get("link") or 0]
            assert [parse_link(m) for m in (sock.get(get_link("a0")), sock.get(get_link(ours[1].index))) if m] == [ours[3], ours[1]]
            assert sock.get(get_link("none")) is None


@pytest.mark.kernel
def test_addresses_and_routes_of_a_dump():
    with namespaces(1) as (ns,):
        populated(ns)
        with ns(Socket) as sock:
            found = {a.cidr: a.scope for m in sock.dump(Request(nl.GETADDR, 0, bytes(8))) if (a := parse_address(m))}
            assert found["10.1.0.1/24"] == found["2001:db8::1/64"] == GLOBAL
            assert found["127.0.0.1/8"] != GLOBAL
            routes = {r.view for m in sock.dump(Request(nl.GETROUTE, 0, bytes(12))) if (r := parse_route(m))}
            assert routes == {RouteView("10.9.0.0/16", "10.1.0.9"), RouteView("::/0", "2001:db8::9")}


@pytest.mark.kernel
def test_each_of_several_messages_has_its_own_outcome():
    with namespaces(1) as (ns,), ns(Socket) as sock:
        wanted = [create_bridge(f"br{i % 100}", "", 1500, 0) for i in range(150)]
        outcomes = sock.do(wanted)
        assert [error is None for error in outcomes] == [i < 100 for i in range(150)]
        assert {(error.errno, error.strerror) for error in outcomes if error} == {(17, "File exists")}
        with pytest.raises(NetlinkError, match="mtu greater than device maximum"):
            sock.run(set_link("br0", mtu=100_000))


@pytest.mark.kernel
def test_notifications_come_and_an_overrun_is_told():
    with namespaces(1) as (ns,), ns(Socket, [nl.LINK_NEWS], 4096) as news, ns(Socket) as sock:
        sock.run(create_bridge("br0", "", 1500, 0))
        assert [(kind, parse_link(message).name) for kind, message in news.news()] == [(nl.NEWLINK, "br0")]
        assert list(news.news()) == []
        sock.do([set_link("br0", mtu=1000 + i) for i in range(50)])
        with pytest.raises(Overrun):
            list(news.news())
