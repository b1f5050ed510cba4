"""IGMP snooping on Open vSwitch, with guests that join and leave groups: who hears, who is spared, and what others or a new ovs-vswitchd undo."""

import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from msgspec import structs
from scapy.layers.inet import IP, UDP, IPOption_Router_Alert
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.datapath.bridge_host import external, needs_tap, port
from tests.datapath.switch_host import SwitchHost, switch_hosts
from tests.datapath.tagged import NONE, send_all, tag_of, tagged
from tests.e2e.world import capture, until
from tests.netns import Namespace, ping
from xenet.datapath.mark import HOST_MAC
from xenet.datapath.openvswitch.daemons import holder
from xenet.datapath.openvswitch.querier import Querier
from xenet.plan.announcement import checksum, in_vlan
from xenet.plan.view import SwitchView, UplinkView, VLANView

pytestmark = [pytest.mark.kernel, needs_tap]
GROUP, PORT = "239.7.7.7", 7777
PORTS = (port(1), port(2), port(3))


@pytest.fixture
def host() -> Iterator[SwitchHost]:
    with switch_hosts(3) as made:
        made.reach(external(made, *PORTS, snooping=True))
        for number, ns in enumerate((*made.guests, made.far), 1):
            ns.ip("address", "add", f"10.0.0.{number}/24", "dev", "eth0" if ns is not made.far else "wire")
        yield made


def member(ns: Callable[..., Any], device: str = "eth0") -> socket.socket:
    """A socket that hears the group; closing it leaves."""
    index = ns(socket.if_nametoindex, device)
    sock: socket.socket = ns(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    ns(sock.setsockopt, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + bytes(4) + index.to_bytes(4, "little"))
    return sock


def say(ns: Namespace, device: str = "eth0") -> None:
    with ns(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock:
        index = ns(socket.if_nametoindex, device)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + index.to_bytes(4, "little"))
        sock.sendto(b"to the group", (GROUP, PORT))


def heard(host: SwitchHost, speaker: Namespace, device: str = "eth0") -> list[bool]:
    """Which of the guests, and the machine outside, the speaker's frame comes to."""
    ears = [(ns, "wire" if ns is host.far else "eth0") for ns in (*host.guests, host.far)]
    with capture(*ears[0]) as a, capture(*ears[1]) as b, capture(*ears[2]) as c, capture(*ears[3]) as d:
        say(speaker, device)
    return [sum(b"to the group" in frame for frame in frames) == 1 for frames in (a, b, c, d)]


def test_who_has_asked_hears_and_others_are_spared(host: SwitchHost) -> None:
    one, two, _ = host.guests
    with closing(member(two)):
        until(lambda: heard(host, one) == [True, True, False, True])
        assert heard(host, host.far, "wire") == [False, True, False, True], "the machine outside is heard by who asked; it hears itself"
    until(lambda: heard(host, one) == [True, False, False, True])
    host.reach(external(host, *PORTS))
    assert heard(host, one) == [True, True, True, True]
    host.reach(external(host, *PORTS, snooping=True))
    assert ping(one, "10.0.0.2") and ping(one, "10.0.0.4")


def test_a_vlan_of_a_snooping_bridge_is_spared_too(host: SwitchHost) -> None:
    """Its ports are the bridge's own, with a tag."""
    below = structs.replace(external(host, snooping=True), ports={})
    uplink = UplinkView("eth0.42", vlan=VLANView("eth0", 42))
    upper = SwitchView("xapi42", "net-42", mac=host.mac, uplink=uplink, ports={each.device: each for each in PORTS})
    host.reach(below, upper)
    one, two, _ = host.guests
    with closing(member(two)):
        until(lambda: heard(host, one)[:3] == [True, True, False])
    until(lambda: heard(host, one)[:3] == [True, False, False])


def test_a_guest_that_had_joined_before_is_asked(host: SwitchHost) -> None:
    one, two, _ = host.guests
    with closing(member(two)):
        host.reach(external(host, *PORTS))
        host.vsctl("set", "Bridge", "xapi0", "mcast_snooping_enable=true")
        host.ns(host.datapath.refresh)
        assert not host.datapath.switches()["xapi0"].snooping, "half of it is not it"
        host.reach(external(host, *PORTS, snooping=True))
        until(lambda: host.ns(host.datapath.refresh) is not None and heard(host, one) == [True, True, False, True])


def test_ipv6_neighbours_find_each_other(host: SwitchHost) -> None:
    one, two, _ = host.guests
    for number, ns in enumerate((one, two), 1):
        ns.ip("address", "add", f"fd00::{number}/64", "dev", "eth0", "nodad")
    until(lambda: "1 received" in reaches(one, "fd00::2"))


def reaches(ns: Namespace, target: str) -> str:
    return "1 received" if ns(partial(_connects, target)) else ""


def _connects(target: str) -> bool:
    """Whether a neighbour is there: a port that nobody listens at is refused at once."""
    with socket.socket(socket.AF_INET6) as sock:
        sock.settimeout(0.5)
        return sock.connect_ex((target, 9)) == 111


def test_what_others_turn_off_is_seen_and_a_new_vswitchd_learns_again(host: SwitchHost) -> None:
    one, two, _ = host.guests
    host.vsctl("remove", "Bridge", "xapi0", "other_config", "mcast-snooping-disable-flood-unregistered")
    host.ns(host.datapath.refresh)
    assert not host.datapath.switches()["xapi0"].snooping
    host.reach(external(host, *PORTS, snooping=True))
    with closing(member(two)):
        until(lambda: heard(host, one) == [True, True, False, True])
        pid = holder(host.daemons.folder / "ovs-vswitchd.pid")
        assert pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: refreshed(host) and heard(host, one) == [True, True, False, True], 30)
        assert host.datapath.switches() == host.truth()


def refreshed(host: SwitchHost) -> bool:
    host.ns(host.datapath.refresh)
    return True


def test_only_who_has_come_is_asked_at_once(host: SwitchHost) -> None:
    one, two, _ = host.guests
    with closing(host.ns(Querier)) as querier, capture(one, "eth0") as first, capture(two, "eth0") as second:
        host.ns(querier.follow, {"vif1.0": ()})
        host.ns(querier.follow, {"vif1.0": (), "vif2.0": ()})
        host.ns(querier.follow, {"vif1.0": (), "vif2.0": (), "vif9.0": ()})
    asked = [[frame for frame in frames if frame[6:12] == bytes.fromhex("feffffffffff")] for frames in (first, second)]
    assert [len(frames) for frames in asked] == [2, 2]
    assert all(frame[12:14] in (b"\x08\x00", b"\x86\xdd") for frame in (*asked[0], *asked[1]))


def test_a_guest_with_trunks_is_asked_in_each_vlan_and_heard_there(host: SwitchHost) -> None:
    """What it has joined in a VLAN comes to it with that tag, and to no other guest of the VLAN."""
    ports = (structs.replace(PORTS[0], trunks=(0, 10)), structs.replace(PORTS[1], trunks=(0, 10, 20)), structs.replace(PORTS[2], trunks=(0, 10)))
    with tagged(host.guests[1]) as asked:
        host.reach(external(host, *ports, snooping=True))
    assert {tag_of(frame) for frame in asked if frame[6:12].hex(":") == HOST_MAC} == {NONE, 10, 20}
    group = bytes.fromhex("01005e070707")
    to_group = [in_vlan(group + bytes.fromhex("020000770007") + b"\x08\x00" + bytes(IP(src="10.0.0.4", dst=GROUP) / UDP(dport=PORT)), 10)]
    report = Ether(src=ports[1].mac, dst="01:00:5e:00:00:16")
    report /= IP(src="10.0.0.2", dst="224.0.0.22", proto=2, ttl=1, options=[IPOption_Router_Alert()])
    joined = struct.pack("!BBHHHBBH4s", 0x22, 0, 0, 0, 1, 4, 0, 0, socket.inet_aton(GROUP))  # RFC 3376, 4.2: excluding no source
    joined = joined[:2] + struct.pack("!H", checksum(joined)) + joined[4:]
    send_all(host.guests[1], [in_vlan(bytes(report / Raw(joined)), 10)])

    def heard_in_ten() -> list[list[int]]:
        with tagged(host.guests[0]) as one, tagged(host.guests[1]) as two, tagged(host.guests[2]) as three:
            send_all(host.far, to_group, "wire")
        return [[tag_of(frame) for frame in frames if frame[:6] == group] for frames in (one, two, three)]

    until(lambda: heard_in_ten() == [[], [10], []])
