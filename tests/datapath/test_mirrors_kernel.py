"""Mirrors on both data planes, with real frames: who hears copies, each of them once, and that nobody else notices."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from msgspec import structs

from tests.datapath.bridge_host import Host, external, hosts, needs_tap, port, switch
from tests.datapath.switch_host import SwitchHost, switch_hosts
from tests.e2e.world import capture, send
from tests.netns import Namespace, ping
from xenet.plan.diff import diff_host
from xenet.plan.view import HostView, LockView, MirrorView, SwitchView, UplinkView, VLANView

pytestmark = pytest.mark.kernel
PORTS = (port(1), port(2), port(3))
MONITOR = "vif3.0"
VIF = MirrorView(MONITOR, sources=("vif1.0",))
ALL = MirrorView(MONITOR, everything=True)


@pytest.fixture(params=["bridge", pytest.param("openvswitch", marks=needs_tap)])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with hosts(3) if request.param == "bridge" else switch_hosts(3) as made:
        yield made


def mirrored(host: Host, *mirrors: MirrorView, **fields: object) -> SwitchView:
    """The network of eth0 with three guests, as it is."""
    view = external(host, *PORTS, mirrors=mirrors, **fields)
    host.reach(view)
    return view


def frame(number: int, target: bytes, source: bytes) -> bytes:
    return target + source + b"\x88\xb5" + f"frame {number:04}".encode() + bytes(50)


EVERYBODY = b"\xff" * 6
MACS = [bytes.fromhex(each.mac.replace(":", "")) for each in PORTS]
FAR = bytes.fromhex("020000009999")


class Heard:
    """How often each place heard each frame: the guests, the machine outside and the host."""

    def __init__(self, host: Host, guests: int = 3) -> None:
        self._host, self._guests = host, guests

    def of(self, *said: tuple[Namespace, str, bytes]) -> list[list[int]]:
        """By frame: guests 1, 2, 3, the machine outside, the host's own device. Who sent it hears it too, once."""
        places = [*((ns, "eth0") for ns in self._host.guests), (self._host.far, "wire"), (self._host.ns, "xapi0")]
        with ExitStack() as stack:
            gone = range(self._guests, 3)
            ears = [stack.enter_context(capture(ns, device)) if n not in gone else [] for n, (ns, device) in enumerate(places)]
            for ns, device, sent in said:
                ns(send, device, sent)
        return [[sum(sent[14:24] in got for got in ear) for ear in ears] for _, _, sent in said]


def learn(host: Host, guests: int = 3) -> None:
    """The switch knows who is where, and nobody has to be asked."""
    said = [(ns, "eth0", frame(9000 + n, EVERYBODY, MACS[n])) for n, ns in enumerate(host.guests[:guests])]
    Heard(host, guests).of(*said, (host.far, "wire", frame(9009, EVERYBODY, FAR)))


def test_a_vifs_frames_are_copied_each_once_and_others_are_not(host: Host) -> None:
    one, two, three = host.guests
    mirrored(host, VIF)
    learn(host)
    heard = Heard(host).of(
        (one, "eth0", frame(1, MACS[1], MACS[0])),
        (two, "eth0", frame(2, MACS[0], MACS[1])),
        (host.far, "wire", frame(3, MACS[0], FAR)),
        (one, "eth0", frame(4, EVERYBODY, MACS[0])),
        (two, "eth0", frame(5, FAR, MACS[1])),
        (three, "eth0", frame(6, EVERYBODY, MACS[2])),
        (host.far, "wire", frame(7, MACS[2], FAR)),
        (host.far, "wire", frame(8, bytes.fromhex("020000007777"), FAR)),
    )
    assert [places[:4] for places in heard] == [
        [1, 1, 1, 0],
        [1, 1, 1, 0],
        [1, 0, 1, 1],
        [1, 1, 1, 1],
        [0, 1, 0, 1],
        [0, 0, 1, 0],  # what the monitor's own guest says goes nowhere
        [1, 1, 1, 1],  # its MAC is nobody's: flooded, and heard by the guest that is copied
        [1, 1, 1, 1],
    ]


def test_a_networks_frames_are_copied_each_once(host: Host) -> None:
    one, two, three = host.guests
    mirrored(host, ALL)
    host.ns.ip("address", "add", "10.0.0.9/24", "dev", "xapi0")
    host.reach(external(host, *PORTS, mirrors=(ALL,), addresses=("10.0.0.9/24",)))
    learn(host)
    heard = Heard(host).of(
        (one, "eth0", frame(1, MACS[1], MACS[0])),
        (two, "eth0", frame(2, FAR, MACS[1])),
        (host.far, "wire", frame(3, MACS[0], FAR)),
        (host.far, "wire", frame(4, EVERYBODY, FAR)),
        (host.ns, "xapi0", frame(5, MACS[0], bytes.fromhex(host.mac.replace(":", "")))),
        (three, "eth0", frame(6, EVERYBODY, MACS[2])),
    )
    assert heard == [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 1, 0, 0]]
    one.ip("address", "add", "10.0.0.1/24", "dev", "eth0")
    assert ping(one, "10.0.0.9"), "the host is reached as ever"


def test_tagged_frames_are_a_vifs_and_not_a_networks(host: Host) -> None:
    tagged = EVERYBODY + FAR + b"\x81\x00\x00\x2a\x88\xb5" + b"in a VLAN" + bytes(50)
    for mirror, expected in ((VIF, [1, 1, 1]), (ALL, [1, 1, 0])):
        mirrored(host, mirror)
        with ExitStack() as stack:
            ears = [stack.enter_context(capture(ns, "eth0")) for ns in host.guests]
            host.far(send, "wire", tagged)
        assert [sum(b"in a VLAN" in got for got in ear) for ear in ears] == expected


def test_a_target_that_goes_and_comes_back(host: Host) -> None:
    one, *_ = host.guests
    mirrored(host, VIF)
    host.reach(external(host, *PORTS[:2]))
    learn(host, 2)
    assert Heard(host, 2).of((one, "eth0", frame(1, EVERYBODY, MACS[0]))) == [[1, 1, 0, 1, 1]]
    host.ns(host.datapath.reap)
    mirrored(host, VIF)
    assert Heard(host).of((one, "eth0", frame(2, EVERYBODY, MACS[0]))) == [[1, 1, 1, 1, 1]]
    mirrored(host)
    learn(host)
    heard = Heard(host).of((one, "eth0", frame(3, MACS[1], MACS[0])), (host.guests[2], "eth0", frame(4, EVERYBODY, MACS[2])))
    assert heard == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]], "a VIF like any other again"
    mirrored(host, ALL)
    host.reach()
    assert not host.datapath.switches()


def test_a_target_is_reserved_though_its_source_is_elsewhere_and_moves_to_another_switch(host: Host) -> None:
    one, two, three = host.guests
    mirrored(host, MirrorView(MONITOR))
    learn(host)
    heard = Heard(host).of((one, "eth0", frame(1, EVERYBODY, MACS[0])), (three, "eth0", frame(2, EVERYBODY, MACS[2])))
    assert heard == [[1, 1, 0, 1, 1], [0, 0, 1, 0, 0]]
    mirrored(host, VIF)
    host.reach(external(host, *PORTS[1:], mirrors=(MirrorView(MONITOR),)), switch(1, PORTS[0]))
    heard = Heard(host).of((one, "eth0", frame(3, EVERYBODY, MACS[0])), (two, "eth0", frame(4, EVERYBODY, MACS[1])))
    assert heard == [[1, 0, 0, 0, 0], [0, 1, 0, 1, 1]]
    host.reach(external(host, *PORTS[:2]), switch(1, PORTS[2]))
    assert Heard(host).of((one, "eth0", frame(5, EVERYBODY, MACS[0]))) == [[1, 1, 0, 1, 1]]


def test_limits_and_locks_go_with_it(host: Host) -> None:
    """A limited source is copied; a locked target hears all; what is set later changes no mirror."""
    one, *_ = host.guests
    lock = LockView(ipv4=("10.0.0.3",))
    limited = (structs.replace(PORTS[0], rate=10_000_000), PORTS[1], structs.replace(PORTS[2], lock=lock, rate=10_000_000))
    mirrored(host, VIF)
    host.reach(external(host, *limited, mirrors=(VIF,)))
    learn(host)
    heard = Heard(host).of((one, "eth0", frame(1, MACS[1], MACS[0])), (host.guests[1], "eth0", frame(2, MACS[0], MACS[1])))
    assert heard == [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
    host.restart()
    assert host.datapath.switches()["xapi0"].mirrors == (VIF,)
    host.reach(external(host, *PORTS, mirrors=(VIF,)))
    assert Heard(host).of((one, "eth0", frame(3, MACS[1], MACS[0]))) == [[1, 1, 1, 0, 0]]
    host.reach(external(host, *limited))
    assert Heard(host).of((one, "eth0", frame(4, MACS[1], MACS[0]))) == [[1, 1, 0, 0, 0]]


# --- what others do --------------------------------------------------------------------------------

BY_OTHERS = {
    "bridge": [
        "tc filter del dev vif1.0 ingress pref 22596",
        "tc qdisc del dev vif1.0 clsact",
        "bridge link set dev vif3.0 flood on",
        "tc qdisc del dev vif3.0 clsact",
        "tc filter del dev vif1.0 egress pref 22596",
    ],
    "openvswitch": [
        "clear Bridge xapi0 mirrors",
        "set Mirror xenet-vif3.0 select_all=true",
        "clear Mirror xenet-vif3.0 output_port",
        "set Mirror xenet-vif3.0 select_src_port=[]",
        "set Mirror xenet-vif3.0 output_vlan=7",
    ],
}


def test_what_others_change_is_seen_and_mended(host: Host) -> None:
    one, *_ = host.guests
    view = mirrored(host, VIF)
    for words in BY_OTHERS["openvswitch" if isinstance(host, SwitchHost) else "bridge"]:
        if isinstance(host, SwitchHost):
            host.vsctl(*words.split())
        else:
            host.ns.command(*words.split())
            if words.startswith("bridge"):
                host.ns(host.datapath.observe)
        host.ns(host.datapath.refresh)
        steps = diff_host(HostView({view.bridge: view}), HostView(host.datapath.switches()))
        assert {type(step).__name__ for step in steps} == {"SetMirrors"}, words
        host.reach(view)
        assert Heard(host).of((one, "eth0", frame(1, EVERYBODY, MACS[0]))) == [[1, 1, 1, 1, 1]], words
    assert host.truth() == host.datapath.switches()


def test_what_others_mirror_stays(host: Host) -> None:
    mirrored(host)
    if isinstance(host, SwitchHost):
        made = "create Mirror name=theirs select_all=true output_vlan=99"
        host.vsctl("--", "--id=@m", *made.split(), "--", "add", "Bridge", "xapi0", "mirrors", "@m")
    else:
        copied = "ingress pref 7 protocol all u32 match u32 0 0 action mirred egress mirror dev vif2.0 continue"
        for words in ("qdisc add dev vif1.0 clsact", f"filter add dev vif1.0 {copied}"):
            host.ns.command("tc", *words.split())
    host.ns(host.datapath.refresh)
    view = external(host, *PORTS)
    assert not diff_host(HostView({view.bridge: view}), HostView(host.datapath.switches()))
    mirrored(host, VIF)
    mirrored(host)
    if isinstance(host, SwitchHost):
        assert host.vsctl("--bare", "--columns=name", "list", "Mirror").split() == ["theirs"]
    else:
        assert "pref 7 " in host.ns.command("tc", "filter", "show", "dev", "vif1.0", "ingress")


@needs_tap
def test_a_vlans_mirror_has_its_frames_alone() -> None:
    with switch_hosts(3) as host:
        vlan = SwitchView("xapi1", "net-b", host.mac, uplink=UplinkView("eth0.42", vlan=VLANView("eth0", 42)))
        ports = {each.device: each for each in (PORTS[1], PORTS[2])}
        host.reach(external(host, PORTS[0]), structs.replace(vlan, ports=ports, mirrors=(ALL,)))
        one, two, three = host.guests
        tagged = EVERYBODY + FAR + b"\x81\x00\x00\x2a\x88\xb5" + b"in the VLAN" + bytes(50)
        with capture(three, "eth0") as ear:
            one(send, "eth0", frame(1, EVERYBODY, MACS[0]))
            host.far(send, "wire", frame(2, EVERYBODY, FAR))
            host.far(send, "wire", tagged)
            two(send, "eth0", frame(3, EVERYBODY, MACS[1]))
        said = [got for got in ear if b"frame" in got or b"in the VLAN" in got]
        assert [(b"in the VLAN" in got, b"frame 0003" in got) for got in said] == [(True, False), (False, True)]
        assert said[0][12:14] == b"\x88\xb5", "without its tag, as a port of that network has it"
        host.reach(external(host, PORTS[0]), structs.replace(vlan, ports=ports))
