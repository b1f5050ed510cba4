"""VIFs with trunks on a real Open vSwitch: which VLANs' frames pass with their tags, also by a lock, a limit, a mirror, and what others break."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from msgspec import structs

from tests.datapath.bridge_host import external, needs_tap, port, switch, tap
from tests.datapath.forgeries import names
from tests.datapath.spoken import held_open, read_all
from tests.datapath.switch_host import SwitchHost, switch_hosts
from tests.datapath.tagged import LAST, NONE, in_vlans, send_all, shouted, shouts, tag_of, tagged
from tests.datapath.test_locks_kernel import BAD, GOOD, LOCK, locked
from tests.e2e.world import until
from tests.netns import cable
from xenet.datapath.openvswitch.control import ask
from xenet.datapath.openvswitch.place import Place
from xenet.datapath.openvswitch.userspace import kernel_has_module
from xenet.plan.steps import SetPort
from xenet.plan.view import LockView, MirrorView, PortView, SwitchView, TunnelView, UplinkView, VLANView

pytestmark = [pytest.mark.kernel, needs_tap]
FAR = "02:00:00:77:00:07"
SENT: list[tuple[int, ...]] = [(), (0,), (10,), (20,), (30,), (10, 99)]
"""The tags of what everybody sends."""


@pytest.fixture
def host() -> Iterator[SwitchHost]:
    with switch_hosts(3) as made:
        yield made


def trunk(view: PortView, *tags: int) -> PortView:
    return structs.replace(view, trunks=tags)


def vlan(*ports: PortView) -> SwitchView:
    """The network of VLAN 10."""
    return switch(1, *ports, uplink=UplinkView("eth0.10", vlan=VLANView("eth0", 10)))


def from_guest(host: SwitchHost, *heard_by: int, number: int = 1) -> list[dict[tuple[int, ...], int]]:
    """What a guest sends, as it comes out of the NIC and to other guests."""
    with ExitStack() as listening:
        ears = [listening.enter_context(tagged(host.guests[other - 1])) for other in heard_by]
        outside = listening.enter_context(tagged(host.far, "wire", LAST))  # the first to end: what it has got, all have
        send_all(host.guests[number - 1], shouts(port(number).mac, SENT))
    return [shouted(frames, port(number).mac) for frames in (outside, *ears)]


def from_far(host: SwitchHost, number: int = 1) -> dict[tuple[int, ...], int]:
    """What comes in by the NIC, as it comes to a guest."""
    with tagged(host.guests[number - 1], last=LAST) as heard:
        send_all(host.far, shouts(FAR, SENT), "wire")
    return shouted(heard, FAR)


ALL = {(): NONE, (0,): NONE, (10,): 10, (20,): 20, (30,): 30, (10, 99): 10}
PLAIN = {(): NONE, (0,): NONE}
TENS = {**PLAIN, (10,): 10, (10, 99): 10}


# --- which frames pass -----------------------------------------------------------------------------


def test_a_guest_has_its_network_s_frames_and_those_of_its_vlans(host: SwitchHost) -> None:
    host.reach(external(host, trunk(port(1), 0, 10), port(2), trunk(port(3), 0, 20, 30)))
    assert from_guest(host, 2, 3) == [TENS, TENS, PLAIN], "the last one has no VLAN in common"
    assert [from_far(host, number) for number in (1, 2, 3)] == [TENS, ALL, {**PLAIN, (20,): 20, (30,): 30}]
    assert host.datapath.switches() == host.truth()


def test_a_tap_is_a_trunk_as_well(host: SwitchHost) -> None:
    view = trunk(tap(1), 0, 10)
    host.reach(external(host, view))
    with held_open(host.ns, view.device) as guest:
        with tagged(host.far, "wire", LAST) as outside:
            for frame in shouts(view.mac, SENT):
                os.write(guest, frame)
        send_all(host.far, shouts(FAR, SENT), "wire")
        heard: list[bytes] = []
        until(lambda: any(LAST in frame for frame in heard_so_far(heard, guest)))
    assert shouted(outside, view.mac) == shouted(heard, FAR) == TENS


def heard_so_far(heard: list[bytes], guest: int) -> list[bytes]:
    heard += read_all(guest)
    return heard


def test_a_vlan_that_is_a_network_too_is_without_tags_there(host: SwitchHost) -> None:
    host.reach(external(host, trunk(port(1), 0, 10), port(3)), vlan(port(2)))
    outside, to_vlan, to_plain = from_guest(host, 2, 3)
    assert to_vlan == {(10,): NONE, (10, 99): 99}
    assert to_plain == PLAIN
    assert outside == TENS
    assert from_guest(host, 1, number=2)[1] == {(): 10, (0,): 10}, "what it sends without a tag is its VLAN's"
    assert from_far(host) == TENS
    host.reach(external(host, trunk(port(1), 0, 20), port(3)), vlan(port(2)))
    assert from_guest(host, 2)[1] == {}, "which it has no longer"
    assert host.datapath.switches() == host.truth()


def test_it_changes_while_the_guest_runs_and_the_device_stays(host: SwitchHost) -> None:
    host.reach(external(host, port(1), port(2)))
    index = host.json("link", "show", "vif1.0")[0]["ifindex"]
    for tags, passes in (((), ALL), ((0,), PLAIN), ((0, 10), TENS), ((0, 20), {**PLAIN, (20,): 20}), ((0, *range(1, 4095)), ALL), ((), ALL)):
        host.reach(external(host, trunk(port(1), *tags), port(2)))
        assert from_guest(host)[0] == from_far(host) == passes, tags
    assert host.json("link", "show", "vif1.0")[0]["ifindex"] == index


def test_on_somebody_else_s_bridge(host: SwitchHost) -> None:
    host.vsctl("add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev")
    host.ns(host.datapath.refresh)
    theirs = SwitchView("theirs", "", foreign=True, ports={each.device: each for each in (trunk(port(1), 0, 10), port(2))})
    host.reach(theirs)
    with tagged(host.guests[1], last=LAST) as heard:
        send_all(host.guests[0], shouts(port(1).mac, SENT))
    assert shouted(heard, port(1).mac) == TENS


def test_over_a_tunnel(host: SwitchHost) -> None:
    with switch_hosts(1) as other:
        cable(host.ns, "eth1", other.ns, "eth1")
        for number, (made, view) in enumerate(((host, trunk(port(1), 0, 10)), (other, port(1)))):
            mac = str(made.json("link", "show", "eth1")[0]["address"])
            transport = switch(1, mac=mac, uplink=UplinkView("eth1"), addresses=(f"192.0.2.{number + 1}/24",))
            tunnel = TunnelView("vxlan", 7, f"192.0.2.{number + 1}", (f"192.0.2.{2 - number}",))
            uplink = UplinkView("tunnel0", 1450, tunnel=tunnel)
            made.reach(transport, switch(0, structs.replace(view, mtu=1450), mac=f"02:00:00:77:00:0{number}", mtu=1450, uplink=uplink))
        until(lambda: through(host, other, port(1).mac) == TENS)  # the first frames ask for the other end
        assert through(other, host, FAR) == TENS


def through(one: SwitchHost, two: SwitchHost, mac: str) -> dict[tuple[int, ...], int]:
    with tagged(two.guests[0], last=LAST) as heard:
        send_all(one.guests[0], shouts(mac, SENT))
    return shouted(heard, mac)


# --- with what holds the guest otherwise -----------------------------------------------------------


def with_tags(sent: dict[str, list[bytes]], *tags: int) -> dict[str, list[bytes]]:
    return {name: [in_vlans(frame, *tags) for frame in frames] for name, frames in sent.items()}


def passes(host: SwitchHost, sent: dict[str, list[bytes]], *tags: int) -> set[str]:
    """Of what the first guest sends in a VLAN, what comes out by the NIC with the same tag."""
    honest, _, _ = GOOD["ARP: who has"][0].partition(b"<xenet ")
    with tagged(host.far, "wire", LAST) as outside:
        send_all(host.guests[0], [*(frame for frames in with_tags(sent, *tags).values() for frame in frames), honest + LAST])
    assert all(tag_of(frame) == (tags[0] if tags else NONE) for frame in outside if b"<xenet " in frame)
    return names(outside, sent)


def test_a_lock_holds_in_each_vlan_as_without_a_tag(host: SwitchHost) -> None:
    lock = structs.replace(LOCK, tags=(10, 20))
    host.reach(external(host, trunk(locked(port(1), lock), 0, 10, 20), port(2)))
    assert host.datapath.switches() == host.truth(), "one that starts now finds the lock whole"
    either: list[tuple[int, ...]] = [(), (10,), (20,)]
    for tags in either:
        assert passes(host, {**GOOD, **BAD}, *tags) == GOOD.keys(), tags
    neither: list[tuple[int, ...]] = [(0,), (30,), (4094,), (10, 20), (10, 10), (0, 10)]
    for tags in neither:
        assert passes(host, {**GOOD, **BAD}, *tags) == set(), tags
    host.ofctl("del-flows", "xapi0", "in_port=" + host.vsctl("get", "Interface", "vif1.0", "ofport"))
    host.ns(host.datapath.observe)
    assert host.datapath.switches()["xapi0"].ports["vif1.0"].lock == structs.replace(lock, whole=False)
    host.reach(external(host, trunk(locked(port(1), lock), 0, 10, 20), port(2)))
    assert passes(host, {**GOOD, **BAD}, 10) == GOOD.keys()


def test_a_lock_follows_the_trunks(host: SwitchHost) -> None:
    for tags in ((0, 10), (0, 20), (), (0,), (0, 10, 20)):
        lock = structs.replace(LOCK, tags=tags[1:])
        host.reach(external(host, trunk(locked(port(1), lock), *tags), port(2)))
        for tag in (10, 20):
            assert passes(host, {**GOOD, **BAD}, tag) == (GOOD.keys() if tag in tags else set()), (tags, tag)
        assert passes(host, {**GOOD, **BAD}) == GOOD.keys(), tags


def test_what_others_open_in_the_database_is_no_way_around_a_lock(host: SwitchHost) -> None:
    """Until it is mended."""
    host.reach(external(host, trunk(locked(port(1), LockView(("10.0.0.1",), tags=(10,))), 0, 10), port(2)))
    host.vsctl("clear", "port", "vif1.0", "trunks")
    assert passes(host, {**GOOD, **BAD}, 30) == set()


def test_a_limited_guest_keeps_its_tags(host: SwitchHost) -> None:
    for rate in (12_500_000, 0, 12_500_000):
        host.reach(external(host, structs.replace(trunk(port(1), 0, 10), rate=rate), port(2)))
        assert from_guest(host)[0] == from_far(host) == TENS, rate
    assert host.datapath.switches() == host.truth()


def test_a_mirror_copies_a_trunk_s_frames_with_their_tags(host: SwitchHost) -> None:
    mirror = MirrorView("vif3.0", sources=("vif1.0",))
    host.reach(external(host, trunk(port(1), 0, 10), port(2), port(3), mirrors=(mirror,)))
    assert from_guest(host, 2, 3) == [TENS, TENS, TENS]
    everything = MirrorView("vif3.0", everything=True)
    host.reach(external(host, trunk(port(1), 0, 10), port(2), port(3), mirrors=(everything,)))
    assert from_guest(host, 2, 3) == [TENS, TENS, PLAIN], "a network's frames are those without a tag"


# --- what the database says ------------------------------------------------------------------------


def trunks_of(host: SwitchHost, device: str = "vif1.0") -> list[int]:
    said = json.loads(host.vsctl("--format=json", "--columns=trunks", "list", "port", device))["data"][0][0]
    return sorted(said[1]) if isinstance(said, list) else [said]


def test_what_others_change_is_seen_and_mended(host: SwitchHost) -> None:
    wanted = [external(host, trunk(port(1), 0, 10), port(3)), vlan(port(2))]
    host.reach(*wanted)
    assert trunks_of(host) == [0, 10] and trunks_of(host, "vif3.0") == [0] and trunks_of(host, "vif2.0") == []
    for device, *command in (
        ("vif1.0", "clear", "port", "vif1.0", "trunks"),
        ("vif1.0", "set", "port", "vif1.0", "trunks=0,30"),
        ("vif1.0", "add", "port", "vif1.0", "trunks", "30"),
        ("vif1.0", "set", "port", "vif1.0", "vlan_mode=dot1q-tunnel"),
        ("vif1.0", "remove", "port", "vif1.0", "external_ids", "xenet-trunks"),
        ("vif1.0", "set", "port", "vif1.0", "external_ids:xenet-trunks=none"),
        ("vif3.0", "clear", "port", "vif3.0", "trunks"),
        ("vif3.0", "set", "port", "vif3.0", "trunks=0,10"),
        ("vif2.0", "set", "port", "vif2.0", "vlan_mode=native-untagged"),
    ):
        host.vsctl(*command)
        host.ns(host.datapath.refresh)
        assert host.datapath.switches() == host.truth()
        seen = {name: view for each in host.datapath.switches().values() for name, view in each.ports.items()}
        asked = {name: view for each in wanted for name, view in each.ports.items()}
        assert {name for name in asked if seen[name] != asked[name]} == {device}, command
        host.reach(*wanted)
        assert (trunks_of(host), trunks_of(host, "vif3.0"), trunks_of(host, "vif2.0")) == ([0, 10], [0], []), command
        assert from_guest(host, 3)[1] == PLAIN, command


def test_no_other_port_s_change_touches_it(host: SwitchHost) -> None:
    host.reach(external(host, trunk(port(1), 0, 10), trunk(port(3), 0)), vlan())
    host.vsctl("set", "port", "eth0", "vlan_mode=native-untagged")
    host.reach(external(host, trunk(port(1), 0, 10), trunk(port(3), 0)), vlan(port(2)))
    host.reach(external(host, trunk(port(1), 0, 10), trunk(port(3), 0), port(2)))
    assert (trunks_of(host), trunks_of(host, "vif3.0"), trunks_of(host, "vif2.0")) == ([0, 10], [0], [])
    assert host.vsctl("get", "port", "eth0", "vlan_mode") == "native-untagged", "how a NIC is tagged is the administrator's"


# --- a guest that moves ----------------------------------------------------------------------------


def behind(host: SwitchHost, mac: str) -> dict[int, str]:
    """VLAN -> the number of the port."""
    place = Place(host.daemons.socket, host.daemons, not kernel_has_module())
    lines = [line.split() for line in ask(place.control(), "fdb/show", "xapi0").splitlines()[1:]]
    return {int(line[1]): line[0] for line in lines if line[2] == mac}


def test_its_mac_is_held_and_forgotten_in_each_vlan(host: SwitchHost) -> None:
    view = trunk(port(1), 0, 10, 20)
    host.reach(external(host, view))
    number = host.vsctl("get", "Interface", "vif1.0", "ofport")
    host.ns(host.datapath.hold, view)
    assert behind(host, view.mac) == dict.fromkeys((0, 10, 20), number)
    with tagged(host.far, "wire") as outside:
        host.ns(host.datapath.release, view)
    assert {tag_of(frame) for frame in outside if frame[6:12].hex(":") == view.mac} == {NONE, 10, 20}
    assert behind(host, view.mac) == dict.fromkeys((0, 10, 20), number)
    host.ns(host.datapath.unlearn, view)
    assert behind(host, view.mac) == {}


def test_a_step_that_is_said_by_hand_makes_the_same(host: SwitchHost) -> None:
    host.reach(external(host, port(1)))
    step = SetPort(object="v", bridge="xapi0", port=trunk(port(1), 0, 10))
    (said,) = [part for part in host.datapath.command(step).split(" && ") if "add-port" in part]
    host.vsctl("del-port", "vif1.0")
    host.vsctl(*said.split()[1:])
    assert trunks_of(host) == [0, 10]
