"""What is known of a host, from messages alone: which devices are ours, which are NICs, what each notification changes."""

import socket
import struct

from xenet.datapath.addresses import Address, Route, add_route
from xenet.datapath.links import parse_link
from xenet.datapath.mark import DEAD, LIVE, is_remnant, port_alias, port_view, switch_alias, words
from xenet.datapath.netlink import DELLINK, NEWLINK, NEWROUTE, Request, attr, encode, text, u32
from xenet.datapath.nics import find_nics, nic_facts
from xenet.datapath.table import Table
from xenet.plan.view import BROKEN, PortView, RouteView, TunnelView

PORT = PortView("vif1.0", "vif-1", "vm-1", 0, "02:00:00:00:00:01")


def link(index: int, name: str, *more: bytes, up: bool = True, family: int = 0, kind: str = "") -> bytes:
    """A message of the kernel about a device."""
    info = attr(18, text(1, kind)) if kind else b""
    return encode(Request(NEWLINK, 0, struct.pack("=BxHiII", family, 1, index, int(up), 0) + text(3, name) + b"".join(more) + info), 0, 0)


def bridge(index: int = 10, alias: str = "xenet network=net-a", group: int = LIVE, **fields) -> bytes:
    return link(index, f"xapi{index}", u32(27, group), text(20, alias), kind="bridge", **fields)


def vif(index: int = 11, master: int = 10, group: int = LIVE, name: str = PORT.device, alias: str = port_alias(PORT)) -> bytes:
    return link(index, name, u32(4, 1500), u32(10, master), u32(27, group), text(20, alias), kind="veth")


def table(*links: bytes, addresses: tuple[Address, ...] = (), routes: tuple[Route, ...] = ()) -> Table:
    found = Table()
    found.load(links, addresses, routes)
    found.touched()
    return found


def test_the_mark_says_what_a_device_is():
    assert port_view(parse_link(vif())) == PORT
    assert port_view(parse_link(vif(name="tap7.3"))).kind == "tap"
    for other in (vif(group=0), vif(group=DEAD), vif(alias=""), vif(alias="xenet vif=1"), vif(name="eth0"), vif(name="vif1.0x"), bridge()):
        assert port_view(parse_link(other)) is None
    assert words(switch_alias("net-a", "eth0")) == {"network": "net-a", "uplink": "eth0"}
    assert words("my xenet network=net-a") == {}
    remnants = [is_remnant(parse_link(each)) for each in (vif(), bridge(), vif(group=0), vif(alias=""), vif(group=DEAD), bridge(alias="xenet"))]
    assert remnants == [False, False, False, True, True, True]


def test_only_ours_is_seen():
    known = table(bridge(), bridge(20, group=0), vif(), vif(12, name="vif1.1", alias=""), vif(13, name="vif1.2", group=0), vif(14, 20, name="vif1.3"))
    assert {name: set(view.ports) for name, view in known.switches().items()} == {"xapi10": {"vif1.0"}, "xapi20": {"vif1.3"}}
    assert {name: view.foreign for name, view in known.switches().items()} == {"xapi10": False, "xapi20": True}
    assert [each.name for each in known.remnants()] == ["vif1.1"]


def test_a_bridge_speaking_of_its_port_is_not_the_device_speaking():
    known = table(bridge(), vif())
    known.take(DELLINK, link(11, "vif1.0", family=socket.AF_BRIDGE))
    known.take(NEWLINK, link(11, "vif1.0", family=socket.AF_BRIDGE, up=False))
    assert known.touched() == set()
    assert known.unsure == set()
    assert known.switches()["xapi10"].ports == {"vif1.0": PORT}


def test_a_bridge_speaking_of_a_way_to_a_peer_has_it_asked_for_anew():
    way = link(12, "t0-c0000202", u32(10, 10), u32(27, LIVE), kind="gretap")
    known = table(bridge(alias="xenet network=net-a uplink=tunnel0 gre=7@192.0.2.1"), way)
    known.take(NEWLINK, link(12, "t0-c0000202", family=socket.AF_BRIDGE))
    assert known.unsure == {12}
    uplink = known.switches()["xapi10"].uplink
    assert uplink and uplink.tunnel == TunnelView("gre", 7, "192.0.2.1", (BROKEN,)), "it is not isolated, and leads to nobody"


def test_views_are_built_anew_only_where_something_changed():
    known = table(bridge(), bridge(20), vif())
    before = known.switches()
    known.take(NEWLINK, vif())
    assert known.touched() == set()
    assert known.switches()["xapi10"] is before["xapi10"]
    known.take(NEWLINK, vif(master=20))
    assert known.touched() == {"xapi10", "xapi20"}
    assert [set(known.switches()[name].ports) for name in ("xapi10", "xapi20")] == [set(), {"vif1.0"}]
    known.take(DELLINK, vif(master=20))
    assert known.touched() == {"xapi20"}
    assert known.link("vif1.0") is known.link(11) is None


def test_a_name_may_pass_from_one_device_to_another():
    known = table(bridge(), vif(11))
    known.take(NEWLINK, vif(12))
    known.take(DELLINK, vif(11))
    found = known.link("vif1.0")
    assert found is not None and found.index == 12
    assert known.switches()["xapi10"].ports == {"vif1.0": PORT}


def test_routes_replace_and_vanish():
    old, new = RouteView("0.0.0.0/0", "10.0.0.1"), RouteView("0.0.0.0/0", "10.0.0.2")
    six, private = RouteView("::/0", "fe80::1"), RouteView("10.9.0.0/16", "10.0.0.1")
    known = table(bridge(), bridge(20), routes=(Route(10, old, 0), Route(10, private, 0), Route(10, six, 1024)))
    assert known.switches()["xapi10"].routes == (old, private, six)
    known.take(NEWROUTE, encode(add_route(20, new), 0, 0))
    assert known.touched() == {"xapi10", "xapi20"}
    assert [known.switches()[name].routes for name in ("xapi10", "xapi20")] == [(private, six), (new,)]
    known.take(NEWLINK, bridge(up=False))  # the kernel tells of IPv6 routes itself
    assert known.switches()["xapi10"].routes == (six,)


def test_routes_vanish_where_a_device_is_up_again_before_anybody_looks():
    known = table(bridge(), routes=(Route(10, RouteView("0.0.0.0/0", "10.0.0.1"), 0),))
    assert known.switches()["xapi10"].routes
    known.take(NEWLINK, bridge(up=False))
    known.take(NEWLINK, bridge())
    assert known.touched() == {"xapi10"}
    assert known.switches()["xapi10"].routes == ()


def test_addresses_that_change_in_a_dump_are_news():
    links = bridge(), bridge(20)
    known = table(*links, addresses=(Address(10, "10.0.0.5/24", 0), Address(10, "fe80::1/64", 253)))
    assert known.switches()["xapi10"].addresses == ("10.0.0.5/24",)
    known.load(links, (Address(20, "10.0.0.5/24", 0),), ())
    assert known.touched() == {"xapi10", "xapi20"}
    assert [known.switches()[name].addresses for name in ("xapi10", "xapi20")] == [(), ("10.0.0.5/24",)]


def test_nics_are_the_hardware_and_without_any_the_cables():
    cables = link(3, "wan0", kind="veth"), link(4, "in-br0", u32(10, 20), kind="veth"), bridge(20, group=0), vif(), bridge()
    assert [each.name for each in find_nics(table(*cables))] == ["wan0"]
    hardware = link(2, "eth9", attr(1, bytes(6)), text(56, "none-such"), text(57, "pci"))
    known = table(*cables, hardware, routes=(Route(2, RouteView("0.0.0.0/0", "10.0.0.1"), 0), Route(2, RouteView("::/0", "fe80::1"), 0)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ioctl:
        (nic,) = nic_facts(known, ioctl, [])
        assert (nic.device, nic.mac, nic.gateway, nic.pci_bus_path, nic.speed) == ("eth9", "00:00:00:00:00:00", "10.0.0.1", "", 0)
        assert [each.device for each in nic_facts(known, ioctl, ["wan0", "none"])] == ["wan0"]
