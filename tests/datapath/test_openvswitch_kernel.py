"""The datapath on Open vSwitch, on the real kernel: what its database says, what others do to it, what dies in between."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from msgspec import structs

from tests.datapath.bridge_host import create, external, needs_tap, port, remove, switch, tap
from tests.datapath.forgeries import names
from tests.datapath.switch_host import SwitchHost, switch_hosts
from tests.datapath.test_locks_kernel import BAD, GOOD, LOCK, locked, passed, sending
from tests.e2e.world import capture, until
from tests.netns import ping
from xenet.datapath.mark import HOST_MAC
from xenet.datapath.openvswitch.daemons import FIRST, holder
from xenet.plan.steps import AttachUplink, CreatePort, CreateSwitch
from xenet.plan.view import SwitchView, UplinkView

pytestmark = pytest.mark.kernel


@pytest.fixture
def host() -> Iterator[SwitchHost]:
    with switch_hosts() as made:
        yield made


def addresses(host: SwitchHost) -> None:
    for number, ns in enumerate(host.guests, 1):
        ns.ip("address", "add", f"10.0.0.{number}/24", "dev", "eth0")


def records(host: SwitchHost, table: str) -> dict[str, dict]:
    """The rows of a table by name, maps as dicts."""
    said = json.loads(host.vsctl("--format=json", "list", table))
    rows = [dict(zip(said["headings"], map(plain, row), strict=True)) for row in said["data"]]
    return {row["name"]: row for row in rows}


def plain(value):
    return dict(value[1]) if isinstance(value, list) and value[0] == "map" else value


# --- what is made ----------------------------------------------------------------------------------


@needs_tap
def test_the_database_says_what_xenserver_would(host):
    host.reach(external(host, port(1, mtu=1400), tap(2)))
    bridge, ports, interfaces = (records(host, table) for table in ("Bridge", "Port", "Interface"))
    assert bridge["xapi0"]["external_ids"] == {"xenet-network": "net-a", "xs-network-uuids": "net-a", "network-uuids": "net-a"}
    assert bridge["xapi0"]["other_config"] == {"hwaddr": host.mac, "mac-table-size": "10000"}
    assert set(ports) == {"xapi0", "eth0", "vif1.0", "tap2.0"}
    said = interfaces["vif1.0"]["external_ids"]
    assert said == {
        "xs-vif-uuid": "vif-1-0",
        "xs-vm-uuid": "vm-1",
        "xs-network-uuid": "net-a",
        "attached-mac": port(1).mac,
        "iface-id": "vif-1-0",
        "vm-id": "vm-1",
        "iface-status": "active",
    }
    links = {link["ifname"]: link for link in host.json("address")}
    assert links["xapi0"]["address"] == links["eth0"]["address"] == host.mac
    assert links["vif1.0"]["address"] == links["tap2.0"]["address"] == HOST_MAC
    assert links["eth0"]["promiscuity"] >= 1
    for name in ("xapi0", "eth0", "vif1.0", "tap2.0"):
        assert [address for address in links[name]["addr_info"] if address["family"] == "inet6"] == [], name
    assert links["vif1.0"]["mtu"] == 1400


def test_the_mac_table_tells_who_was_heard_where(host):
    host.reach(external(host, port(1), port(2)))
    addresses(host)
    assert ping(host.guests[0], "10.0.0.2")
    table = {(entry.mac, entry.device): entry for entry in host.datapath.fdb("xapi0")}
    for view in (port(1), port(2)):
        assert not table[view.mac, view.device].local and 0 <= table[view.mac, view.device].age < 10
    assert table[host.mac, "xapi0"].local
    assert host.datapath.fdb("eth0") == host.datapath.fdb("none") == []


def test_two_bridges_whose_ports_have_the_same_numbers_have_a_mac_table_each(host):
    host.reach(switch(0, port(1), port(2)), switch(1, port(1, 1), port(2, 1)))
    numbers = {name: row["ofport"] for name, row in records(host, "Interface").items()}
    assert {numbers["vif1.0"], numbers["vif2.0"]} == {numbers["vif1.1"], numbers["vif2.1"]}
    addresses(host)
    for number, ns in enumerate(host.guests, 1):
        ns.ip("address", "add", f"10.0.1.{number}/24", "dev", "eth1")
    for index in (0, 1):
        assert ping(host.guests[0], f"10.0.{index}.2")
        heard = {(entry.mac, entry.device) for entry in host.datapath.fdb(f"xapi{index}")}
        assert {(port(vm, index).mac, f"vif{vm}.{index}") for vm in (1, 2)} <= heard


def test_a_frame_is_answered_once(host):
    """The host's own stack hears the NIC and the guests' devices beside the switch, and must not speak."""
    host.far.ip("address", "add", "10.0.0.7/24", "dev", "wire")
    host.reach(external(host, port(1), port(2), addresses=("10.0.0.9/24",)))
    addresses(host)
    for source in (host.far, host.guests[0]):
        said = source.command("ping", "-c", "3", "-i", "0.2", "10.0.0.9")
        assert "3 received" in said and "DUP" not in said and "duplicates" not in said
    for source, device in ((host.far, "wire"), (host.guests[0], "eth0")):
        assert source.ip("neighbour", "show", "10.0.0.9", "dev", device).split()[2] == host.mac


def test_tcp_passes_with_the_offloads_that_guests_have(host):
    host.reach(switch(0, port(1), port(2)))
    addresses(host)
    one, two = host.guests
    server = two(subprocess.Popen, ["iperf3", "-s", "-1", "-B", "10.0.0.2"], stdout=subprocess.DEVNULL)
    try:
        until(lambda: ":5201" in two.command("ss", "-ltn"))
        said = json.loads(one.command("iperf3", "-c", "10.0.0.2", "-n", "20M", "-J"))
        assert said["end"]["sum_received"]["bytes"] >= 10_000_000
    finally:
        server.kill()
        server.wait()


def test_large_datagrams_that_a_guest_leaves_to_its_nic_come_through(host):
    """UDP_SEGMENT (103), as QUIC sends: the userspace datapath would drop them whole."""
    for rate in (0, 10_000_000):
        host.reach(switch(0, structs.replace(port(1), rate=rate), port(2)))
        if not rate:
            addresses(host)
        assert ping(host.guests[0], "10.0.0.2")
        with host.guests[0](socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock, capture(host.guests[1], "eth0") as heard:
            sock.setsockopt(socket.SOL_UDP, 103, 1000)
            sock.sendto(b"cut" * 1000, ("10.0.0.2", 9))
            time.sleep(0.2)
        assert sum(len(frame) == 1042 and b"cut" in frame for frame in heard) == 3


def test_fail_mode_and_in_band_are_the_bridges(host):
    host.reach(external(host, port(1), port(2), fail_mode="secure", disable_in_band="true"))
    bridge = records(host, "Bridge")["xapi0"]
    assert bridge["fail_mode"] == "secure" and bridge["other_config"]["disable-in-band"] == "true"
    addresses(host)
    assert not ping(host.guests[0], "10.0.0.2", 0.5), "without a controller nothing is allowed"
    host.reach(external(host, port(1), port(2)))
    assert "disable-in-band" not in records(host, "Bridge")["xapi0"]["other_config"]
    assert ping(host.guests[0], "10.0.0.2")


# --- what is another's -----------------------------------------------------------------------------


def test_what_an_administrator_added_stays(host):
    host.ns.ip("link", "add", "wan0", "type", "veth", "peer", "name", "wan1")
    host.ns.ip("link", "add", "tool0", "type", "veth", "peer", "name", "tool1")
    host.reach(external(host, port(1)))
    host.vsctl("add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev", "--", "add-port", "theirs", "wan0")
    host.vsctl("add-port", "xapi0", "tool0", "--", "set", "bridge", "xapi0", "external_ids:note=mine", "other_config:flow-eviction-threshold=999")
    host.datapath.refresh()
    assert host.datapath.foreign("theirs") and not host.datapath.foreign("xapi0")
    assert (host.datapath.foreign_master("wan0"), host.datapath.foreign_master("eth0")) == ("theirs", None)
    theirs = SwitchView("theirs", "net-x", ports={})
    tries = [
        CreateSwitch(object="1", switch=theirs),
        AttachUplink(object="2", bridge="xapi0", uplink=UplinkView("wan0")),
        CreatePort(object="3", bridge="theirs", port=port(2)),
        AttachUplink(object="4", bridge="xapi0", uplink=UplinkView("none")),
        CreatePort(object="5", bridge="xapi0", port=port(7)),
    ]
    failures = host.do(*tries, create(port(2)))
    assert [failure.step.object for failure in failures] == ["1", "2", "3", "4", "5"]
    host.reach(external(host, port(2)))
    host.reach(switch(0, port(2), port(1)))
    bridge = records(host, "Bridge")
    assert host.vsctl("list-ports", "xapi0").split() == ["tool0", "vif1.0", "vif2.0"]
    assert bridge["xapi0"]["external_ids"]["note"] == "mine" and bridge["xapi0"]["other_config"]["flow-eviction-threshold"] == "999"
    host.reach()
    assert host.vsctl("list-br") == "theirs"
    assert host.vsctl("list-ports", "theirs") == "wan0"


def test_what_others_break_is_seen_and_mended(host):
    wanted = external(host, port(1), port(2), addresses=("10.0.0.9/24",))
    host.reach(wanted)
    addresses(host)
    for command in (
        ("del-port", "vif1.0"),
        ("del-port", "eth0"),
        ("set", "port", "vif1.0", "tag=7"),
        ("set", "bridge", "xapi0", "other_config:hwaddr=02:00:00:00:00:99"),
        ("set", "interface", "xapi0", "mtu_request=1300"),
        ("clear", "interface", "vif2.0", "external_ids"),
        ("del-br", "xapi0"),
    ):
        host.vsctl(*command)
        assert until(lambda: "xapi0" in host.datapath.refresh(), 5)
        assert host.datapath.switches() == host.truth()
        host.reach(wanted)
        assert ping(host.guests[0], "10.0.0.2") and ping(host.guests[0], "10.0.0.9"), command


def kill(host: SwitchHost, name: str, number: int = signal.SIGKILL) -> None:
    pid = until(lambda: alive(host, name))
    os.kill(pid, number)


def alive(host: SwitchHost, name: str) -> int:
    """The pid of this daemon, 0 for none."""
    return holder(host.daemons.folder / f"{name}.pid") or 0


# --- what dies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("victims", [("ovs-vswitchd",), ("ovsdb-server",), ("ovs-vswitchd", "ovsdb-server")])
def test_killed_daemons_come_back_and_all_is_as_before(host, victims):
    wanted = external(host, port(1), port(2), addresses=("10.0.0.9/24",))
    host.reach(wanted)
    addresses(host)
    for _ in range(2):
        for name in victims:
            kill(host, name)
        until(lambda: not any(alive(host, name) for name in victims))
        until(lambda: (host.ns(host.datapath.refresh), all(alive(host, name) for name in victims))[1])
        host.ns(host.datapath.refresh)
        host.reach(wanted)
        assert host.datapath.switches() == host.truth()
        assert ping(host.guests[0], "10.0.0.2") and ping(host.guests[0], "10.0.0.9")


def test_no_forged_frame_passes_while_the_switch_is_killed_and_comes_back(host):
    wanted = external(host, locked(port(1)), port(2))
    host.reach(wanted)
    with capture(host.guests[1], "eth0") as seen, capture(host.far, "wire") as outside, sending(host.guests[0], BAD):
        for _ in range(3):
            kill(host, "ovs-vswitchd")
            until(lambda: not alive(host, "ovs-vswitchd"))
            until(lambda: (host.ns(host.datapath.refresh), alive(host, "ovs-vswitchd"))[1])
            host.ns(host.datapath.refresh)
            host.reach(wanted)
            time.sleep(0.3)
    assert names(seen, BAD) == names(outside, BAD) == set()
    assert passed(host, GOOD) == GOOD.keys()


def test_a_lock_that_somebody_took_away_is_seen_at_the_next_look(host):
    wanted = external(host, locked(port(1)), port(2))
    host.reach(wanted)
    for command in (("del-flows",), ("add-flow", "priority=60000,in_port=1,actions=normal"), ("set-frags", "normal")):
        host.ofctl(command[0], "xapi0", *command[1:])
        host.ns(host.datapath.observe)
        if command[0] != "add-flow":  # one without our mark is the administrator's
            assert host.datapath.switches()["xapi0"].ports["vif1.0"].lock == structs.replace(LOCK, whole=False)
            host.reach(wanted)
    host.ofctl("del-flows", "xapi0", "in_port=1")
    host.ofctl("add-flow", "xapi0", "priority=0,actions=normal")
    host.ns(host.datapath.observe)
    host.reach(wanted)
    assert passed(host, {**GOOD, **BAD}) == GOOD.keys()


def test_flows_that_somebody_deletes_or_changes_are_missed_at_once(host):
    wanted = external(host, locked(port(1)), locked(port(2)))
    host.reach(wanted)
    until(lambda: not host.ns(host.datapath.refresh))
    number = host.vsctl("get", "Interface", "vif1.0", "ofport")
    for command, *words in (
        ("del-flows", f"in_port={number}"),
        ("del-flows", "cookie=0x78656e65742d6c6b/-1"),
        ("del-flows",),
        ("mod-flows", f"in_port={number},actions=normal"),
    ):
        host.ofctl(command, "xapi0", *words)
        until(lambda: "xapi0" in host.ns(host.datapath.refresh), 2)
        assert host.datapath.switches()["xapi0"].ports["vif1.0"].lock == structs.replace(LOCK, whole=False)
        host.reach(wanted)
        until(lambda: not host.ns(host.datapath.refresh))
        time.sleep(0.2)
        assert not host.ns(host.datapath.refresh), "what is mended is no news"


def test_a_switch_whose_own_flow_somebody_deletes_learns_again(host):
    wanted = external(host, locked(port(1)), port(2))
    host.reach(wanted)
    addresses(host)
    until(lambda: not host.ns(host.datapath.refresh))
    host.ofctl("del-flows", "xapi0")
    until(lambda: "xapi0" in host.ns(host.datapath.refresh), 2)
    assert not host.datapath.switches()["xapi0"].learning
    assert not ping(host.guests[0], "10.0.0.2")
    host.reach(wanted)
    assert host.datapath.switches()["xapi0"].learning
    assert ping(host.guests[0], "10.0.0.2")
    assert passed(host, {**GOOD, **BAD}) == GOOD.keys()


@pytest.mark.parametrize("look", ["refresh", "observe"])
def test_a_switch_that_somebody_gave_other_flows_is_left_alone(host, look):
    host.reach(external(host, port(1), port(2)))
    host.ofctl("add-flow", "xapi0", "priority=7,actions=flood")
    for command, *words in (("del-flows", "--strict", "priority=0"), ("mod-flows", "actions=drop")):
        host.ofctl(command, "xapi0", *words)
        time.sleep(0.2)
        host.ns(getattr(host.datapath, look))
        assert host.datapath.switches()["xapi0"].learning


def test_its_daemons_come_before_guests_where_that_is_allowed(host):
    allowed = int(subprocess.run([*FIRST, "nice"], capture_output=True, text=True, check=True).stdout)
    pids = [holder(host.daemons.folder / f"{name}.pid") for name in ("ovs-vswitchd", "ovsdb-server")]
    assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in pids if pid] == [allowed, allowed]


def test_a_switch_that_hangs_is_a_failure_and_not_a_wait_for_ever(host, monkeypatch):
    monkeypatch.setattr("xenet.datapath.openvswitch.database.PATIENCE_S", 1.0)
    monkeypatch.setattr("xenet.datapath.openvswitch.control.PATIENCE_S", 0.3)
    host.reach(switch(0, port(1)))
    kill(host, "ovs-vswitchd", signal.SIGSTOP)
    try:
        (failure,) = host.do(create(port(2)))
        assert failure.retry and "ovs-vswitchd does not answer" in failure.text
        with pytest.raises(OSError, match="ovs-vswitchd does not answer"):
            host.datapath.fdb("xapi0")
    finally:
        kill(host, "ovs-vswitchd", signal.SIGCONT)
    host.reach(switch(0, port(1), port(2)))
    addresses(host)
    assert ping(host.guests[0], "10.0.0.2")


def test_nothing_is_left(host):
    host.reach(external(host, port(1), structs.replace(port(2), rate=102400), addresses=("10.0.0.9/24",)))
    host.ok(remove(port(1)), remove(port(2)))
    host.reach()
    assert host.ns(host.datapath.reap) == 0
    assert host.names() == {"lo", "eth0"}
    assert host.ns.command("tc", "qdisc", "show", "dev", "eth0").split()[1] == "noqueue"
    host.daemons.stop()
    assert "ovs-netdev" not in host.ns.ip("link") and not host.daemons.folder.exists()
