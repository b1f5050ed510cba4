"""The bridge datapath on the real kernel, in network namespaces of the test's own, with real frames; and what holds of any datapath."""

import json
import re
from collections.abc import Iterator
from random import Random

import pytest
from msgspec import structs

from tests.datapath.bridge_host import NETWORKS, Host, create, external, hosts, needs_tap, port, remove, switch, tap
from tests.netns import ping
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import GuestEnd, create_bridge, create_veth, set_link
from xenet.datapath.mark import DEAD, HOST_MAC, LIVE, port_alias, switch_alias
from xenet.datapath.netlink import Socket
from xenet.plan.diff import diff_host
from xenet.plan.steps import (
    AddAddress,
    AddRoute,
    AttachUplink,
    CreatePort,
    CreateSwitch,
    DeleteSwitch,
    DetachUplink,
    RemoveAddress,
    RemovePort,
    RemoveRoute,
    SetPort,
    SetSwitch,
    Step,
)
from xenet.plan.view import HostView, PortView, RouteView, SwitchView, UplinkView

pytestmark = pytest.mark.kernel


@pytest.fixture
def host() -> Iterator[Host]:
    with hosts() as made:
        yield made


# --- frames ----------------------------------------------------------------------------------------


def test_guests_reach_each_other_the_host_and_the_world(either):
    either.reach(external(either, port(1), port(2), addresses=("10.0.0.9/24",)))
    for number, ns in enumerate(either.guests, 1):
        ns.ip("address", "add", f"10.0.0.{number}/24", "dev", "eth0")
    either.far.ip("address", "add", "10.0.0.7/24", "dev", "wire")
    first, second = either.guests
    assert ping(first, "10.0.0.2")
    assert ping(second, "10.0.0.7")
    assert ping(either.far, "10.0.0.9")
    either.ok(remove(port(2)))
    assert not ping(first, "10.0.0.2", wait=0.5)


def test_a_moved_port_keeps_its_device_and_leaves_its_old_neighbours(either):
    either.reach(switch(0, port(1), port(2)), switch(1))
    for number, ns in enumerate(either.guests, 1):
        ns.ip("address", "add", f"10.0.0.{number}/24", "dev", "eth0")
    before = {link["ifname"]: link["ifindex"] for link in either.json("link")}
    assert ping(either.guests[0], "10.0.0.2")
    either.reach(switch(0, port(1)), switch(1, port(2)))
    assert not ping(either.guests[0], "10.0.0.2", wait=0.5)
    either.reach(switch(0), switch(1, port(1), port(2)))
    assert ping(either.guests[0], "10.0.0.2")
    assert {link["ifname"]: link["ifindex"] for link in either.json("link")} == before


def test_the_mac_table_tells_who_was_heard_where(host):
    host.reach(external(host, port(1), port(2)))
    for number, ns in enumerate(host.guests, 1):
        ns.ip("address", "add", f"10.0.0.{number}/24", "dev", "eth0")
    assert ping(host.guests[0], "10.0.0.2")
    table = {(entry.mac, entry.device): entry for entry in host.datapath.fdb("xapi0")}
    for view in (port(1), port(2)):
        entry = table[view.mac, view.device]
        assert not entry.local and 0 <= entry.age < 10
    assert table[host.mac, "xapi0"].local
    assert table[HOST_MAC, "vif1.0"].local
    assert host.datapath.fdb("eth0") == host.datapath.fdb("none") == []


# --- what the devices are like ---------------------------------------------------------------------


@needs_tap
def test_devices_are_as_xenserver_makes_them(host):
    host.ns.ip("address", "add", "fe80::5/64", "dev", "eth0")
    host.reach(external(host, port(1, mtu=1400), tap(2)))
    for ns in (host.guests[0], host.far):
        ns.ip("address", "add", f"10.0.0.{1 + (ns is host.far)}/24", "dev", "eth0" if ns is not host.far else "wire")
    assert ping(host.guests[0], "10.0.0.2")  # so that whatever addresses the kernel gives are given by now
    links = {link["ifname"]: link for link in host.json("address")}
    assert links["xapi0"]["address"] == links["eth0"]["address"] == host.mac
    assert links["vif1.0"]["address"] == links["tap2.0"]["address"] == HOST_MAC
    assert links["eth0"]["promiscuity"] == 1
    for name in ("xapi0", "eth0", "vif1.0", "tap2.0"):
        assert [address for address in links[name]["addr_info"] if address["family"] == "inet6"] == [], name
        assert links[name].get("inet6_addr_gen_mode", "none") == "none"
    data = links["xapi0"]["linkinfo"]["info_data"]
    assert (data["forward_delay"], data["mcast_snooping"], data["no_linklocal_learn"]) == (0, 0, 1)
    far = json.loads(host.guests[0].ip("-j", "link", "show", "eth0"))[0]
    assert (far["address"], far["mtu"], links["vif1.0"]["mtu"]) == (port(1).mac, 1400, 1400)
    assert links["tap2.0"]["linkinfo"]["info_data"]["persist"] is True


def test_a_nic_goes_back_as_it_was(host):
    def nic() -> dict:
        found = host.json("link", "show", "eth0")[0]
        return {key: found[key] for key in ("mtu", "promiscuity", "inet6_addr_gen_mode", "flags", "address")} | {"master": found.get("master")}

    before = nic()
    host.reach(external(host))
    assert nic()["master"] == "xapi0"
    host.ok(DetachUplink(object="n", bridge="xapi0", device="eth0"))
    assert nic() == before
    view = host.datapath.switch("xapi0")
    assert view is not None and view.uplink is None
    host.ok(DetachUplink(object="n", bridge="xapi0", device="eth0"))


def test_an_address_moves_from_the_nic_to_its_bridge_and_back(either):
    either.far.ip("address", "add", "10.0.0.1/24", "dev", "wire")
    either.ns.ip("address", "add", "10.0.0.5/24", "dev", "eth0")
    either.ns.ip("route", "add", "default", "via", "10.0.0.1")
    either.datapath.refresh()
    nic = either.datapath.nics(["eth0"])[0]
    assert (nic.mac, nic.addresses, nic.gateway, nic.carrier) == (either.mac, ("10.0.0.5/24",), "10.0.0.1", True)
    wanted = external(either, addresses=nic.addresses, routes=(RouteView("0.0.0.0/0", nic.gateway),))
    steps = diff_host(HostView({"xapi0": wanted}), HostView(), {"eth0": nic.addresses})
    either.ok(*steps)
    assert either.datapath.switch("xapi0") == wanted
    assert either.datapath.nics(["eth0"])[0].addresses == ()
    assert ping(either.far, "10.0.0.5")
    back = [AddAddress(object="e", bridge="eth0", address="10.0.0.5/24"), AddRoute(object="e", bridge="eth0", route=wanted.routes[0])]
    either.ok(*diff_host(HostView(), HostView({"xapi0": wanted})), *back)
    assert either.datapath.nics(["eth0"]) == [nic]
    assert ping(either.far, "10.0.0.5")


def test_addresses_and_routes_are_idempotent(either):
    route, other = RouteView("0.0.0.0/0", "10.0.0.1"), RouteView("0.0.0.0/0", "10.0.0.2")
    add = AddAddress(object="n", bridge="xapi0", address="10.0.0.5/24")
    six = AddAddress(object="n", bridge="xapi0", address="2001:db8::5/64")
    either.reach(switch(0, port(1)))
    either.ok(add, add, six, six, AddRoute(object="n", bridge="xapi0", route=route), AddRoute(object="n", bridge="xapi0", route=route))
    assert either.datapath.switch("xapi0") == either.truth()["xapi0"]
    either.ok(AddRoute(object="n", bridge="xapi0", route=other))
    view = either.datapath.switch("xapi0")
    assert view is not None and (view.addresses, view.routes) == (("10.0.0.5/24", "2001:db8::5/64"), (other,))
    assert view == either.truth()["xapi0"]
    gone = [RemoveRoute(object="n", bridge="xapi0", route=other), RemoveAddress(object="n", device="xapi0", address=add.address)]
    either.ok(*gone, *gone, RemoveAddress(object="n", device="none", address=add.address), RemoveRoute(object="n", bridge="none", route=other))
    view = either.datapath.switch("xapi0")
    assert view is not None and (view.addresses, view.routes) == (("2001:db8::5/64",), ())


def test_ipv4_routes_that_vanish_without_a_word_are_not_seen_any_more(either):
    either.reach(switch(0, port(1), addresses=("10.0.0.5/24",), routes=(RouteView("0.0.0.0/0", "10.0.0.1"),)))
    either.ns.ip("link", "set", "xapi0", "down")
    either.datapath.refresh()
    assert either.datapath.switch("xapi0") == either.truth()["xapi0"]
    either.reach(switch(0, port(1), addresses=("10.0.0.5/24",), routes=(RouteView("0.0.0.0/0", "10.0.0.1"),)))


# --- again and again -------------------------------------------------------------------------------


@needs_tap
def test_plugged_and_unplugged_a_hundred_times(host):
    """Each time the device before is still there, waiting for its deletion, on both sides."""
    host.reach(switch(0, port(1), tap(2)), switch(1))
    for round_ in range(100):
        old, new = f"xapi{round_ % 2}", f"xapi{(round_ + 1) % 2}"
        host.ok(remove(port(1), old), remove(tap(2), old), create(port(1), new), create(tap(2), new))
    assert host.names() == {"lo", "eth0", "xapi0", "xapi1", "vif1.0", "tap2.0"}
    assert host.datapath.switches() == host.truth()
    assert {name: set(view.ports) for name, view in host.datapath.switches().items()} == {"xapi0": {"vif1.0", "tap2.0"}, "xapi1": set()}


def test_devices_out_of_service_are_reaped_together(either):
    ports = [port(vm, index) for vm in (1, 2) for index in range(20)]
    either.reach(switch(0, *ports))
    either.ok(*map(remove, ports))
    assert either.datapath.switch("xapi0") == switch(0, mac=either.datapath.switches()["xapi0"].mac)
    groups = {link["ifname"]: (link["group"], link["flags"]) for link in either.json("link") if link["ifname"].startswith("vif")}
    assert len(groups) == 40 and all(group == str(DEAD) and "UP" not in flags for group, flags in groups.values())
    assert either.ns(either.datapath.reap) == 0
    assert either.names() == {"lo", "eth0", "xapi0"}
    assert either.ns(either.datapath.reap) == 0
    either.ok(*map(remove, ports))  # what is gone is no failure


def wish(random: Random, host: Host) -> list[SwitchView]:
    """Any state that a host may be wanted in: three networks, one of them on the NIC; each VIF on one of them or on none."""
    views = [*(port(vm, index, random.choice((1500, 1400))) for vm in (1, 2) for index in range(3)), tap(3), tap(4)]
    chosen: list[list[PortView]] = [[], [], []]
    for view in views:
        if (number := random.randrange(-1, 3)) >= 0:
            renamed = f"{view.vif}-{random.randrange(3)}" if random.random() < 0.3 else view.vif  # another VIF of the same name
            told = random.choice(({}, {"tx": "off"}, {"tx": "on", "gso": "off"}))
            chosen[number].append(structs.replace(view, vif=renamed, rate=random.choice((0, 0, 102400, 12_800_000)), ethtool=told))
    here = [number for number in range(3) if chosen[number] or random.random() < 0.5]
    outside = external(host, *chosen[0], addresses=random_addresses(random), ethtool=random.choice(({}, {"tso": "off"})))
    nic = UplinkView("eth0", ethtool={"eth0": {"gro": random.choice(("on", "off"))}})
    return [structs.replace(outside, uplink=nic) if n == 0 else switch(n, *chosen[n]) for n in here]


def random_addresses(random: Random) -> tuple[str, ...]:
    return tuple(sorted(random.sample(("10.0.0.5/24", "10.0.1.5/24", "2001:db8::5/64"), random.randrange(3))))


@needs_tap
@pytest.mark.parametrize("seed", range(3))
def test_from_any_state_to_any_other(either, seed):
    """What notifications told is what a fresh look shows, after every plan; and at the end nothing is left over."""
    random = Random(seed)
    for _ in range(15):
        either.reach(*wish(random, either))
        if random.random() < 0.3:
            either.ns(either.datapath.reap)
        assert either.datapath.switches() == either.truth()
    either.reach()
    either.ns(either.datapath.reap)
    assert either.names() == {"lo", "eth0"}
    assert "master" not in either.json("link", "show", "eth0")[0]


# --- half-made -------------------------------------------------------------------------------------


def test_half_made_devices_are_mended_or_deleted(either):
    """What a kill between two messages leaves."""
    with either.ns(Socket) as sock:
        sock.run(create_bridge("xapi0", "", 1500, LIVE))
        sock.run(create_veth("vif1.0", HOST_MAC, 1500, LIVE, GuestEnd(either.guests[0].fd, "eth0", port(1).mac, 1500)))
        sock.run(create_veth("vif9.9", HOST_MAC, 1500, LIVE, GuestEnd(either.guests[1].fd, "eth0", port(2).mac, 1500)))
        sock.run(create_veth("vif8.8", HOST_MAC, 1500, LIVE, GuestEnd(either.guests[1].fd, "eth7", port(2).mac, 1500)))
    either.restart()
    assert either.datapath.switches() == {}
    either.reach(switch(0, port(1), port(2)))
    assert either.names() == {"lo", "eth0", "xapi0", "vif1.0", "vif2.0", "vif8.8"}
    assert either.ns(either.datapath.reap) == 0
    assert either.names() == {"lo", "eth0", "xapi0", "vif1.0", "vif2.0"}
    assert switch(0, port(1), port(2), mac=either.datapath.switches()["xapi0"].mac) == either.truth()["xapi0"]


def test_both_names_of_a_port_are_held_by_different_remnants(either):
    with either.ns(Socket) as sock:
        sock.run(create_veth("vif1.0", HOST_MAC, 1500, LIVE, GuestEnd(either.guests[0].fd, "eth9", port(1).mac, 1500)))
        sock.run(create_veth("vif9.0", HOST_MAC, 1500, DEAD, GuestEnd(either.guests[0].fd, "eth5", port(1).mac, 1500)))
    either.guests[0].ip("link", "set", "eth5", "down")
    either.guests[0].ip("link", "set", "eth5", "name", "eth0")
    either.restart()
    either.reach(switch(0, port(1)))
    assert either.names() == {"lo", "eth0", "xapi0", "vif1.0"}


def test_a_bridge_that_waits_for_its_deletion_gives_its_name_up(either):
    with either.ns(Socket) as sock:
        sock.run(create_bridge("xapi0", "", 1500, DEAD))
    either.reach(switch(0))
    assert either.json("link", "show", "xapi0")[0]["group"] == str(LIVE)


def test_a_failed_creation_leaves_nothing(either):
    """The guest has an eth0 of its own: the pair cannot be made. It has none, but the bridge is full of another's name: nothing stays."""
    either.guests[0].ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    either.reach(switch(0))
    failures = either.do(create(port(1)), create(port(2)))
    assert [(failure.step, failure.retry) for failure in failures] == [(create(port(1)), False)]
    assert "the guest's eth0 exists already" in failures[0].text
    assert either.names() == {"lo", "eth0", "xapi0", "vif2.0"}
    assert {link["ifname"] for link in json.loads(either.guests[0].ip("-j", "link"))} == {"lo", "eth0", "other"}


# --- what is another's -----------------------------------------------------------------------------


def still(links: list[dict]) -> list[dict]:
    """Without what changes by itself."""
    text = json.dumps(links)
    return json.loads(re.sub(r'"(\w*timer|operstate|txqlen|qdisc)": [^,}]+', r'"\1": 0', text))


@needs_tap
def test_foreign_devices_are_not_touched(host):
    host.ns.ip("link", "add", "br-theirs", "type", "bridge")
    host.ns.ip("link", "add", "vif1.0", "type", "veth", "peer", "name", "p1")
    host.ns.ip("link", "add", "wan0", "type", "veth", "peer", "name", "wan1")
    host.ns.ip("tuntap", "add", "tap2.0", "mode", "tap")
    host.ns.ip("link", "set", "wan0", "master", "br-theirs", "up")
    host.ns.ip("address", "add", "10.3.0.1/24", "dev", "br-theirs")
    host.reach(switch(0, port(1, 1)))
    host.ns.ip("link", "set", "vif1.0", "master", "xapi0")
    before = [link for link in host.json("link") if link["ifname"] not in ("xapi0", "vif1.1")]
    theirs = switch(1, port(1))
    theirs = structs.replace(theirs, bridge="br-theirs")
    tries: list[Step] = [
        CreateSwitch(object="1", switch=theirs),
        SetSwitch(object="2", switch=theirs),
        DeleteSwitch(object="3", bridge="br-theirs"),
        AttachUplink(object="4", bridge="xapi0", uplink=UplinkView("wan0")),
        AttachUplink(object="5", bridge="br-theirs", uplink=UplinkView("eth0")),
        DetachUplink(object="6", bridge="br-theirs", device="wan0"),
        CreatePort(object="7", bridge="xapi0", port=port(1)),
        CreatePort(object="8", bridge="br-theirs", port=port(1, 2)),
        CreatePort(object="9", bridge="xapi0", port=tap(2)),
        SetPort(object="10", bridge="xapi0", port=port(1)),
        RemovePort(object="11", bridge="xapi0", port=port(1)),
        RemovePort(object="11b", bridge="xapi0", port=structs.replace(port(1), device="xapi0")),
        AddAddress(object="12", bridge="br-theirs", address="10.4.0.1/24"),
        RemoveAddress(object="13", device="br-theirs", address="10.3.0.1/24"),
        AddRoute(object="14", bridge="br-theirs", route=RouteView("0.0.0.0/0", "10.3.0.9")),
        CreatePort(object="15", bridge="xapi0", port=structs.replace(tap(2), device="br-theirs")),
        CreatePort(object="16", bridge="xapi0", port=port(7)),
        SetPort(object="17", bridge="xapi0", port=port(6)),
        AttachUplink(object="18", bridge="xapi0", uplink=UplinkView("none")),
        AttachUplink(object="19", bridge="xapi0", uplink=UplinkView("vif1.1")),
    ]
    failures = host.do(*tries)
    assert [failure.step.object for failure in failures] == [step.object for step in tries]
    assert not any(failure.retry for failure in failures)
    assert "VM vm-7 does not run here" in failures[16].text
    host.ok(DetachUplink(object="n", bridge="xapi0", device="vif1.0"))
    host.ns(host.datapath.reap)
    assert still([link for link in host.json("link") if link["ifname"] not in ("xapi0", "vif1.1")]) == still(before)
    assert host.datapath.switches() == {"xapi0": switch(0, port(1, 1), mac=host.datapath.switches()["xapi0"].mac)}
    assert (host.datapath.foreign("br-theirs"), host.datapath.foreign("xapi0"), host.datapath.foreign("none")) == (True, False, False)
    assert (host.datapath.foreign_master("wan0"), host.datapath.foreign_master("eth0"), host.datapath.foreign_master("vif1.1")) == (
        "br-theirs",
        None,
        None,
    )
    assert [nic.device for nic in host.datapath.nics([])] == ["eth0", "p1", "vif1.0", "wan1"]
    host.ok(remove(port(1, 1)), DeleteSwitch(object="n", bridge="xapi0"))
    assert host.names() == {"lo", "eth0", "br-theirs", "vif1.0", "p1", "wan0", "wan1", "tap2.0", "vif1.1"}


def test_a_switch_in_use_is_not_deleted(either):
    either.reach(external(either, port(1)))
    (failure,) = either.do(DeleteSwitch(object="n", bridge="xapi0"))
    assert failure.text == "xapi0 still has eth0, vif1.0"
    either.ok(DeleteSwitch(object="n", bridge="none"))
    (failure,) = either.do(CreateSwitch(object="n", switch=structs.replace(switch(1), bridge="xapi0")))
    assert failure.text == "xapi0 serves another network"


def test_a_bridge_has_room_for_1023_ports(host):
    ports = [port(1, index) for index in range(1024)]
    host.guests[0].command("sysctl", "-q", "net.ipv6.conf.default.disable_ipv6=1")  # or each NIC announces itself to all the others
    host.reach(switch(0))
    failures = host.do(*map(create, ports))
    assert [(failure.step, failure.text) for failure in failures] == [(create(ports[1023]), "the bridge is full: the kernel allows 1,023 ports")]
    assert len(host.datapath.switches()["xapi0"].ports) == 1023
    assert "vif1.1023" not in host.names()


def test_what_cannot_be_said_to_the_kernel_is_a_failure_of_its_own_step(either):
    either.reach(switch(0, port(2, 3)))
    tries: list[Step] = [
        AddRoute(object="1", bridge="xapi0", route=RouteView("here/24", "10.0.0.1")),
        AddRoute(object="2", bridge="xapi0", route=RouteView("0.0.0.0/0", "there")),
        AddAddress(object="3", bridge="xapi0", address="10.0.0.5/many"),
        AddAddress(object="4", bridge="xapi0", address="10.0.0.5/999"),
        SetSwitch(object="5", switch=switch(0, mac="no")),
        SetPort(object="6", bridge="xapi0", port=port(2, 3, mtu=-1)),
        create(structs.replace(port(1), mac="no")),
        create(structs.replace(port(2), device="a-name-that-is-too-long")),
        create(structs.replace(port(2, 1), mtu=-1)),
    ]
    failures = either.do(*tries, create(port(2, 2)))
    assert [failure.step for failure in failures] == tries
    assert not any(failure.retry or not failure.text for failure in failures)
    assert either.datapath.switches()["xapi0"].ports == {"vif2.2": port(2, 2), "vif2.3": port(2, 3)}


def test_a_failure_takes_only_its_own_object_along(either):
    mine, other = switch(0, port(1)), structs.replace(switch(1), bridge="waytoolongabridgename")
    failures = either.do(
        CreateSwitch(object="n1", switch=other),
        CreateSwitch(object="n0", switch=mine),
        AddAddress(object="n1", bridge="xapi0", address="10.0.0.1/24"),
        AddAddress(object="n0", bridge="xapi0", address="10.0.0.2/24"),
        create(port(1)),
    )
    assert [(failure.step.object, type(failure.step)) for failure in failures] == [("n1", CreateSwitch), ("n1", AddAddress)]
    assert failures[0].text == failures[1].text
    view = either.datapath.switch("xapi0")
    assert view is not None and (view.addresses, set(view.ports)) == (("10.0.0.2/24",), {"vif1.0"})


# --- news ------------------------------------------------------------------------------------------


def test_what_others_change_is_seen_without_a_question(host):
    host.reach(external(host, port(1)), switch(1))
    host.datapath.refresh()
    views = host.datapath.switches()
    host.ns.ip("link", "set", "vif1.0", "down")
    assert "xapi0" in host.datapath.refresh()
    now = host.datapath.switches()
    assert now["xapi0"].ports["vif1.0"].up is False
    assert now["xapi1"] is views["xapi1"]  # what did not change is not built anew
    host.ns.ip("link", "set", "eth0", "nomaster")
    assert {"xapi0", "eth0"} <= host.datapath.refresh()
    view = host.datapath.switch("xapi0")
    assert view is not None and view.uplink is None
    host.guests[0].ip("link", "del", "eth0")
    assert "xapi0" in host.datapath.refresh()
    assert host.datapath.switch("xapi0") == host.truth()["xapi0"]
    host.ns.ip("link", "del", "xapi1")
    assert "xapi1" in host.datapath.refresh()
    assert set(host.datapath.switches()) == {"xapi0"}
    assert host.datapath.refresh() == set()


def test_after_an_overrun_everything_is_read_anew(host, monkeypatch):
    host.reach(switch(0, port(1)))
    looked: list[Kernel] = []
    observe = Kernel.observe

    def counted(kernel: Kernel) -> None:
        looked.append(kernel)
        observe(kernel)

    monkeypatch.setattr(Kernel, "observe", counted)
    with host.ns(Socket) as sock:
        sock.do([set_link("eth0", mtu=1000 + number % 400) for number in range(8000)])
        sock.run(set_link("xapi0", mtu=1234))
    assert "xapi0" in host.datapath.refresh()
    assert looked
    assert host.datapath.switch("xapi0") == host.truth()["xapi0"]
    assert host.datapath.switches()["xapi0"].mtu == 1234


def test_the_mark_is_what_the_documentation_says(host):
    host.reach(external(host, port(1)))
    links = {link["ifname"]: link for link in host.json("link")}
    assert links["xapi0"]["ifalias"] == switch_alias(NETWORKS[0], "eth0") == "xenet network=net-a uplink=eth0"
    assert links["vif1.0"]["ifalias"] == port_alias(port(1)) == f"xenet vif=vif-1-0 vm=vm-1 mac={port(1).mac}"
    assert "ifalias" not in links["eth0"] and links["eth0"]["group"] == "default"


@needs_tap
def test_what_a_nic_takes_at_most_is_a_fact(host):
    host.ns.ip("tuntap", "add", "nic0", "mode", "tap")
    host.ns.ip("link", "add", "nic1", "type", "ifb")
    host.datapath.refresh()
    told = {nic.device: nic.max_mtu for nic in host.datapath.nics(["eth0", "nic0", "nic1"])}
    assert told == {link["ifname"]: link["max_mtu"] for link in host.json("link") if link["ifname"] in told}
    assert (told["eth0"], told["nic1"]) == (65535, 0), "an ifb does not say"
    view = structs.replace(switch(0, mtu=65530), uplink=UplinkView("nic0", 65530))
    (failure,) = host.do(*diff_host(HostView({"xapi0": view}), HostView(host.datapath.switches())))
    assert failure.text == f"MTU 65530 is more than nic0 takes, which is {told['nic0']}"
