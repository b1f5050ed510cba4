"""Bonds of the bridge datapath on real devices: each mode made, changed in place and taken down, frames told one by one, cables cut, drift."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest

from tests.datapath.bridge_host import remove
from tests.e2e.world import until
from tests.stock.bonded import EVERYBODY, GUEST, NICS, OUTSIDE, Bonded, bonded, ears, say, vif
from xenet.plan.diff import diff_host
from xenet.plan.view import HostView, SwitchView, UplinkView, VLANView

pytestmark = [pytest.mark.kernel, pytest.mark.stock]
GUESTS = 8


@pytest.fixture(scope="module")
def host() -> Iterator[Bonded]:
    with bonded(GUESTS) as made:
        yield made


def all_vifs():
    return [vif(number) for number in range(1, GUESTS + 1)]


def test_modes_are_made_and_changed_in_place(host: Bonded) -> None:
    host.reach(host.on_bond(*all_vifs()))
    assert host.kind("bond0")["mode"] == "balance-xor"
    assert host.kind("bond0")["xmit_hash_policy"] == "vlan+srcmac"
    index = host.json("link", "show", "bond0")[0]["ifindex"]
    host.wait_for_links(*NICS)
    for said in (
        {"mode": "active-backup", "primary": "eth1"},
        {"mode": "active-backup", "primary": "eth0", "miimon": 30, "updelay": 1000},
        {"mode": "lacp", "lacp_time": "fast", "lacp_key": 7, "hashing": "tcpudp_ports"},
        {"mode": "lacp", "lacp_time": "slow", "hashing": "src_mac", "lacp_fallback": False},
        {"mode": "lacp", "lacp_time": "slow", "lacp_key": 9},
        {"mode": "balance-slb", "slaves": ("eth0",)},
        {"mode": "balance-slb", "rebalance": 5},
    ):
        host.reach(host.on_bond(*all_vifs(), **said))
        assert host.truth() == host.datapath.switches()
    assert host.json("link", "show", "bond0")[0]["ifindex"] == index, "what stands on it stays"
    host.reach(host.on_bond(*all_vifs(), mtu=9000))
    assert {host.json("link", "show", nic)[0]["mtu"] for nic in NICS} == {9000}


def test_slaves_go_back_as_they_came(host: Bonded) -> None:
    host.reach(*plain(host))
    before = {nic: (link["address"], link["mtu"], "UP" in link["flags"]) for nic in NICS for link in host.json("link", "show", nic)}
    assert before == {nic: (host.own[nic], 1500, True) for nic in NICS}
    host.reach(host.on_bond(mtu=9000))
    assert {nic.device: nic.mac for nic in host.datapath.nics(NICS)} == host.own
    host.reach(*plain(host))
    assert before == {nic: (link["address"], link["mtu"], "UP" in link["flags"]) for nic in NICS for link in host.json("link", "show", nic)}
    assert host.ns(host.datapath.reap) == 0
    assert "bond0" not in host.names()
    assert host.ns.command("nft", "list", "tables") == ""


def plain(host: Bonded) -> list[SwitchView]:
    """Each NIC on a switch of its own."""
    return [SwitchView(f"xenbr{n}", f"net-{n}", mac=host.own[nic], uplink=UplinkView(nic)) for n, nic in enumerate(NICS)]


def said_once(host: Bonded, number: int) -> None:
    """Everybody speaks to everybody and to each one outside, and is heard exactly once, and never by itself."""
    guests = host.guests[:GUESTS]
    speakers = [(ns, vif(n).mac) for n, ns in enumerate(guests, 1)] + [(host.outside, OUTSIDE)]
    with ears(*[ns for ns, _ in speakers]) as heard:
        for ns, mac in speakers:
            say(ns, mac, EVERYBODY, number)
            say(ns, mac, "01:00:5e:00:00:99", number + 1)
        for ns, mac in speakers[:-1]:
            say(ns, mac, OUTSIDE, number + 2)
            say(host.outside, OUTSIDE, mac, number + 3)
        time.sleep(1)
        for ear, (_, mac) in zip(heard, speakers, strict=True):
            for_all = {(other, number + k): 1 for _, other in speakers if other != mac for k in (0, 1)}
            answers = {(OUTSIDE, number + 3): 1} if mac != OUTSIDE else {(other, number + 2): 1 for _, other in speakers[:-1]}
            assert ear.listen() == for_all | answers, mac


def test_nothing_comes_twice_or_back(host: Bonded) -> None:
    host.reach(host.on_bond(*all_vifs()))
    host.wait_for_links(*NICS)
    host.steered()
    for number in range(0, 30, 10):
        said_once(host, number)
    host.cut("wire")
    until(lambda: host.links().up == ("eth1",))
    host.steered()
    said_once(host, 100)
    host.mend("wire")
    host.reach(host.on_bond(*all_vifs(), mode="active-backup"))
    host.wait_for_links(*NICS)
    said_once(host, 200)


def test_without_the_fence_they_would(host: Bonded) -> None:
    """The switch does send copies back: what the test above counts is not there by chance. And the fence is made anew."""
    host.reach(host.on_bond(*all_vifs()))
    host.wait_for_links(*NICS)
    host.ns.command("nft", "delete", "table", "netdev", "xenet_bond0")
    with ears(host.guests[0]) as (ear,):
        say(host.guests[0], vif(1).mac, EVERYBODY, 300)
        say(host.outside, OUTSIDE, EVERYBODY, 301)
        until(lambda: ear.listen() == Counter({(vif(1).mac, 300): 1, (OUTSIDE, 301): 2}))
    assert "xapi0" in host.ns(host.datapath.refresh)
    assert not host.datapath.switch("xapi0").uplink.bond.whole
    host.reach(host.on_bond(*all_vifs()))
    said_once(host, 310)


def test_a_vm_that_leaves_or_comes_is_heard_at_once(host: Bonded) -> None:
    host.reach(host.on_bond(*all_vifs()))
    host.wait_for_links(*NICS)
    first, second = host.guests[:2]
    mac = vif(1).mac
    say(first, mac, EVERYBODY, 400)
    host.ok(remove(vif(1)))
    with ears(second) as (ear,):
        say(host.outside, mac, EVERYBODY, 401)
        until(lambda: ear.listen()[mac, 401])
        say(host.outside, mac, vif(2).mac, 402)
        until(lambda: ear.listen()[mac, 402])
        assert ear.listen() == Counter({(mac, 401): 1, (mac, 402): 1})
    host.reach(host.on_bond(*all_vifs()))
    with ears(first) as (ear,):
        say(first, mac, EVERYBODY, 403)
        say(host.outside, OUTSIDE, mac, 404)
        say(second, vif(2).mac, mac, 405)
        until(lambda: ear.listen()[vif(2).mac, 405])
        time.sleep(0.5)
        assert ear.listen() == Counter({(OUTSIDE, 404): 1, (vif(2).mac, 405): 1})


def test_frames_of_a_vlan_and_spread(host: Bonded) -> None:
    """Eight guests, four untagged and four in a VLAN: each slave carries some of them, each tagged frame with its tag, none twice."""
    lower = host.on_bond(*all_vifs()[:4])
    upper = SwitchView("xapi1", "net-b", mac=host.mac, uplink=UplinkView("bond0.10", vlan=VLANView("bond0", 10)),
                       ports={each.device: each for each in all_vifs()[4:]})  # fmt: skip
    host.reach(lower, upper)
    host.wait_for_links(*NICS)
    host.outside.ip("link", "add", "link", GUEST, "name", "eth7.10", "type", "vlan", "id", "10")
    host.outside.ip("link", "set", "eth7.10", "up")
    try:
        with ears(*host.guests[4:8]) as heard, ears(*host.guests[:4]) as others:
            say(host.guests[4], vif(5).mac, EVERYBODY, 500)
            say(host.outside, OUTSIDE, EVERYBODY, 501, "eth7.10")
            time.sleep(1)
            assert [ear.listen() for ear in others] == [Counter()] * 4
            both = {(vif(5).mac, 500): 1, (OUTSIDE, 501): 1}
            assert [ear.listen() for ear in heard] == [{(OUTSIDE, 501): 1}, both, both, both]
    finally:
        host.outside.ip("link", "delete", "eth7.10")
    before = counters(host)
    for _ in range(25):
        for number, ns in enumerate(host.guests[:GUESTS], 1):
            say(ns, vif(number).mac, OUTSIDE, 510)
    carried = [now - then for now, then in zip(counters(host), before, strict=True)]
    assert sum(carried) >= 200
    assert all(0.25 <= part / sum(carried) <= 0.75 for part in carried), carried
    host.reach(host.on_bond(*all_vifs()))


def counters(host: Bonded) -> list[int]:
    return [host.json("-s", "link", "show", nic)[0]["stats64"]["tx"]["packets"] for nic in NICS]


def test_what_others_do_to_it_is_mended(host: Bonded) -> None:
    wanted = host.on_bond(*all_vifs(), mode="active-backup")
    host.reach(wanted)
    for harm in (
        ["link", "set", "eth1", "nomaster"],
        ["link", "set", "bond0", "type", "bond", "primary", "eth1"],
        ["link", "set", "bond0", "type", "bond", "miimon", "70"],
        ["link", "set", "bond0", "down"],
        ["link", "set", "bond0", "nomaster"],
        ["link", "delete", "bond0"],
    ):
        host.ns.ip(*harm)
        host.ns(host.datapath.refresh)
        view = HostView({"xapi0": wanted})
        assert diff_host(view, HostView(host.datapath.switches())), harm
        host.reach(wanted)
        assert host.truth()["xapi0"] == host.datapath.switch("xapi0"), harm
    host.wait_for_links(*NICS)
    host.cut("wire")
    until(lambda: host.steered() is not None and host.links().active == ("eth1",))
    host.mend("wire")


AGENT = """
import sys
from xenet.datapath.bridge import BridgeDatapath
from xenet.plan.diff import diff_host
from xenet.plan.view import BondView, HostView, SwitchView, UplinkView

macs = sys.argv[1:]
bond = lambda **said: BondView(**{"slaves": ("eth0", "eth1"), "mac": macs[0], **said})
datapath = BridgeDatapath(lambda vm: None)
alone = {f"xenbr{n}": SwitchView(f"xenbr{n}", f"net-{n}", mac=mac, uplink=UplinkView(f"eth{n}")) for n, mac in enumerate(macs)}
modes = [{"mode": "balance-slb"}, {"mode": "lacp", "lacp_time": "fast"}, {"mode": "active-backup"}, {"mode": "balance-slb", "slaves": ("eth1",)}]
together = [{"xapi0": SwitchView("xapi0", "net-a", mac=macs[0], uplink=UplinkView("bond0", bond=bond(**said)))} for said in modes]
print("on", flush=True)
while True:
    for view in (*together, alone):
        assert datapath.do(diff_host(HostView(view), HostView(datapath.switches()))) == []
    datapath.reap()
"""


def test_killed_at_any_time(host: Bonded) -> None:
    """Whatever was left half-made, the next one mends, and nothing is left over."""
    for seconds in (0.3, 0.8):
        agent = host.ns(subprocess.Popen, [sys.executable, "-c", AGENT, *host.own.values()], stdout=subprocess.PIPE)
        with agent:
            try:
                assert agent.stdout.readline() == b"on\n"
                time.sleep(seconds)
                assert agent.poll() is None
            finally:
                agent.kill()
        host.restart()
        if seconds > 0.5:
            assert host.ns(host.datapath.reap) == 0
        host.reach(host.on_bond(vif(1)))
        host.wait_for_links(*NICS)
        with ears(host.guests[0]) as (ear,):
            say(host.outside, OUTSIDE, EVERYBODY, 700)
            until(lambda: ear.listen() == Counter({(OUTSIDE, 700): 1}))
        host.reach(*plain(host))
        assert host.ns(host.datapath.reap) == 0
        assert not {"bond0", "xapi0"} & host.names()
        assert {nic: host.json("link", "show", nic)[0]["address"] for nic in NICS} == host.own
        assert host.ns.command("nft", "list", "tables") == ""


def test_what_is_anothers_stays_so(host: Bonded) -> None:
    host.reach(*plain(host))
    assert host.ns(host.datapath.reap) == 0
    host.ns.ip("link", "add", "bond0", "type", "bond")
    before = host.json("link", "show", "bond0")
    (failure, *_) = host.do(*diff_host(HostView({"xapi0": host.on_bond()}), HostView()))
    assert failure.text == "bond0 exists and is another's"
    assert host.json("link", "show", "bond0") == before
    host.ns.ip("link", "delete", "bond0")
    host.reach()
    host.ns.ip("link", "add", "bond7", "type", "bond", "mode", "active-backup")
    host.ns.ip("link", "set", "eth1", "down")
    host.ns.ip("link", "set", "eth1", "master", "bond7")
    (failure, *_) = host.do(*diff_host(HostView({"xapi0": host.on_bond()}), HostView()))
    assert failure.text == "eth1 belongs to bond7, which is not xenet's"
    host.ns.ip("link", "delete", "bond7")
    host.ns.ip("link", "set", "eth1", "up")
    host.reach()


def test_slaves_are_told_what_their_drivers_shall_do(host: Bonded) -> None:
    """Each its own; what somebody else changes on one of them is seen on the bond's switch and mended."""
    told = {"eth0": {"gro": "on", "tso": "off"}, "eth1": {"gro": "on"}}
    view = host.on_bond(mode="active-backup", primary="eth0")
    assert view.uplink is not None
    wanted = msgspec.structs.replace(view, uplink=msgspec.structs.replace(view.uplink, ethtool=told))
    host.reach(wanted)
    shown = {nic: host.ns.command("ethtool", "-k", nic) for nic in NICS}
    assert all("generic-receive-offload: on" in text for text in shown.values())
    assert ["tcp-segmentation-offload: off" in shown[nic] for nic in NICS] == [True, False]
    host.datapath.refresh()
    host.ns.command("ethtool", "-K", "eth1", "gro", "off")
    assert "xapi0" in host.datapath.refresh()
    assert host.datapath.switches()["xapi0"].uplink.ethtool["eth1"] == {"gro": "off"}
    host.reach(wanted)
    assert "generic-receive-offload: on" in host.ns.command("ethtool", "-k", "eth1")
    host.reach(*plain(host))
