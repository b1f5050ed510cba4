"""Limits on the real kernel: what frames get through, what a change costs, what others break, what is left of it."""

import fcntl
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import pytest
from msgspec import structs

from tests.datapath.bridge_host import Host, create, hosts, needs_tap, port, remove, switch, tap
from tests.netns import Namespace, ping
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import create_ifb
from xenet.datapath.mark import LIVE
from xenet.datapath.netlink import NEWLINK, NEWQDISC, NEWTFILTER, SETLINK, Request, Socket
from xenet.plan.steps import RemovePort, SetPort
from xenet.plan.view import PortView

pytestmark = pytest.mark.kernel
SLOW, FAST = 102400, 128_000_000
FLOOD = 400
"""Frames in one go: many times what the slow limit's bucket (3 frames) and queue (12) hold."""
NOTHING = {"lo", "eth0", "xapi0", "vif1.0", "vif2.0"}


@pytest.fixture
def host() -> Iterator[Host]:
    with hosts() as made:
        yield made


def limited(view: PortView, rate: int = SLOW) -> PortView:
    return structs.replace(view, rate=rate)


def seen(host: Host, device: str = "vif1.0") -> int:
    """The rate that is observed, after the kernel's news; a fresh look must see the same."""
    host.datapath.refresh()
    views = host.datapath.switches()
    assert views == host.truth()
    return next(view.ports[device].rate for view in views.values() if device in view.ports)


def tc(host: Host, *argv: str) -> str:
    return host.ns.command("tc", *argv)


def addresses(host: Host) -> None:
    for number, ns in enumerate(host.guests, 1):
        ns.ip("address", "add", f"10.0.0.{number}/24", "dev", "eth0")
    assert ping(host.guests[0], "10.0.0.2")


def flood(source: Namespace, target: str, size: int = 1400, count: int = FLOOD) -> None:
    """Datagrams, as fast as they go."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(count):
                sock.sendto(bytes(size), (target, 9))

    source(send)


def received(ns: Namespace) -> int:
    """Frames that eth0 has heard."""

    def read() -> int:
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        return next(int(line.split()[2]) for line in lines if line.split()[0] == "eth0:")

    return ns(read)


@contextmanager
def counting(ns: Namespace, seconds: float = 1.5) -> Iterator[list[int]]:
    """The frames that come during the block and so long after it; read the list when it is over."""
    found: list[int] = []
    start = received(ns)
    yield found
    time.sleep(seconds)
    found.append(received(ns) - start)


def is_whole(count: int, sent: int = FLOOD) -> bool:
    """All arrived, and little else (ARP, the answer of a closed port)."""
    return sent <= count <= sent + 20


# --- frames ----------------------------------------------------------------------------------------


def test_what_a_guest_sends_is_limited_and_what_others_send_is_not(host):
    host.reach(switch(0, limited(port(1)), port(2)))
    addresses(host)
    one, two = host.guests
    with counting(two) as slow:
        flood(one, "10.0.0.2")
    assert 10 <= slow[0] < FLOOD / 2
    with counting(one) as others:
        flood(two, "10.0.0.1")
    assert is_whole(others[0])
    host.reach(switch(0, port(1), port(2)))
    with counting(two) as free:
        flood(one, "10.0.0.2")
    assert is_whole(free[0])


def test_a_changed_rate_keeps_what_waits(host):
    host.reach(switch(0, limited(port(1), 1024), port(2)))
    addresses(host)
    before = tc(host, "qdisc", "show", "dev", "ifb1.0").split()[:3]
    with counting(host.guests[1]) as found:
        flood(host.guests[0], "10.0.0.2", count=12)  # at 1 kB/s more than 10 s would pass until the last of them
        host.reach(switch(0, limited(port(1), FAST), port(2)))
    assert is_whole(found[0], 12)
    assert tc(host, "qdisc", "show", "dev", "ifb1.0").split()[:3] == before == ["qdisc", "tbf", "1:"]
    assert seen(host) == FAST


def test_large_frames_pass_a_slow_limit(host):
    host.reach(switch(0, limited(port(1, mtu=9000)), port(2, mtu=9000), mtu=9000))
    addresses(host)
    with counting(host.guests[1]) as found:
        flood(host.guests[0], "10.0.0.2", size=8900, count=3)
    assert is_whole(found[0], 3)


@needs_tap
def test_a_tap_is_limited_by_the_same_means(host):
    view = limited(tap(3))
    host.reach(switch(0, view, port(2)))
    assert (seen(host, "tap3.0"), seen(host, "vif2.0")) == (SLOW, 0)
    frame = bytes.fromhex("ffffffffffff" + view.mac.replace(":", "") + "88b5") + bytes(1428)
    with host.ns(hypervisor, "tap3.0") as opened, counting(host.guests[1]) as found:
        for _ in range(FLOOD):
            opened.write(frame)
    assert 10 <= found[0] < FLOOD / 2
    host.ok(remove(view))
    assert host.ns(host.datapath.reap) == 0
    assert "ifb3.0" not in host.names()


def hypervisor(name: str) -> FileIO:
    """The tap as a hypervisor opens it."""
    opened = FileIO("/dev/net/tun", "r+")
    fcntl.ioctl(opened, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1002))
    return opened


# --- what is sent to the kernel --------------------------------------------------------------------


class Wire:
    """What is sent to the kernel a message at a time, and on demand no further than to the k-th."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kinds: list[int] = []
        self.left = 10**6
        do = Kernel.do

        def counted(kernel: Kernel, requests: Sequence[Request], through: Socket | None = None):
            self.left -= len(requests)
            if self.left < 0:
                raise Killed
            self.kinds += [request.kind for request in requests]
            return do(kernel, requests, through)

        monkeypatch.setattr(Kernel, "do", counted)


class Killed(Exception):
    pass


def test_a_limit_is_there_before_the_port_is_in_service_and_costs_nothing_where_there_is_none(host, monkeypatch):
    wire, plain = Wire(monkeypatch), [NEWLINK, SETLINK, SETLINK]
    host.reach(switch(0))
    host.ok(create(port(1)))
    assert wire.kinds == plain
    wire.kinds.clear()
    host.ok(create(limited(port(2))))
    assert wire.kinds == [NEWLINK, SETLINK, NEWLINK, SETLINK, SETLINK, NEWQDISC, NEWQDISC, NEWTFILTER, SETLINK]
    for view, kinds in (
        (port(1), [SETLINK]),
        (limited(port(2)), [SETLINK]),
        (limited(port(2), FAST), [NEWQDISC, SETLINK]),
        (limited(port(2, mtu=1400), FAST), [SETLINK]),
    ):
        wire.kinds.clear()
        host.ok(SetPort(object=view.vif, bridge="xapi0", port=view))
        assert wire.kinds == kinds


@pytest.mark.parametrize("way", ["plug", "limit", "change", "free"])
def test_killed_after_any_message(host, monkeypatch, way):
    """The next agent mends what it finds, whether the limit is still wanted or not, and leaves nothing."""
    wire = Wire(monkeypatch)
    before = {"plug": [], "limit": [port(1)], "change": [limited(port(1), FAST)], "free": [limited(port(1))]}[way]
    after = port(1) if way == "free" else limited(port(1))
    done, number = False, 0
    for number in range(20):
        wire.left = 10**6
        host.reach(switch(0, *before, port(2)))
        wire.left = number
        try:
            host.reach(switch(0, after, port(2)))
            done = True
        except Killed:
            done = False
        wire.left = 10**6
        host.restart()
        host.reach(switch(0, after if number % 2 else port(1), port(2)))
        assert seen(host) == (after.rate if number % 2 else 0)
        assert host.ns(host.datapath.reap) == 0
        assert host.names() == NOTHING | ({"ifb1.0"} if number % 2 and after.rate else set())
        if done:
            break
        host.reach(switch(0, port(2)))
        host.ns(host.datapath.reap)
    assert done
    assert number == {"plug": 9, "limit": 7, "change": 2, "free": 3}[way]


# --- what others do --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "tc qdisc del dev ifb1.0 root",
        "tc qdisc change dev ifb1.0 root tbf rate 9mbit burst 9000 limit 90000",
        "tc qdisc change dev ifb1.0 root tbf rate 102400bps burst 4554 limit 90000",
        "tc qdisc replace dev ifb1.0 root pfifo",
        "tc qdisc del dev vif1.0 clsact",
        "tc filter del dev vif1.0 ingress",
        "tc filter del dev vif1.0 ingress pref 22597",
        "ip link set ifb1.0 down",
        "ip link set ifb1.0 alias mine",
        "ip link del ifb1.0",
    ],
)
@pytest.mark.parametrize("wanted", [SLOW, FAST, 0])
def test_what_others_break_is_seen_and_mended(host, command, wanted):
    host.reach(switch(0, limited(port(1)), port(2)))
    addresses(host)
    host.datapath.refresh()
    host.ns.command(*command.split())
    assert "xapi0" in host.datapath.refresh()
    assert seen(host) != SLOW
    host.reach(switch(0, limited(port(1), wanted), port(2)))
    assert seen(host) == wanted
    assert ping(host.guests[0], "10.0.0.2")
    assert host.ns(host.datapath.reap) == 0
    assert host.names() == NOTHING | ({"ifb1.0"} if wanted else set())


@pytest.mark.parametrize("room", ["ingress", "clsact"])
def test_filters_of_others_stay(host, room):
    host.reach(switch(0, port(1)))
    tc(host, "qdisc", "add", "dev", "vif1.0", room)
    tc(host, *["filter", "add", "dev", "vif1.0", "ingress", "pref", "9", "protocol", "ip", "u32", "match", "ip", "dst", "192.0.2.1", "flowid", "1:1"])
    theirs = tc(host, "filter", "show", "dev", "vif1.0", "ingress")
    host.reach(switch(0, limited(port(1))))
    assert theirs in tc(host, "filter", "show", "dev", "vif1.0", "ingress")
    host.ns.ip("link", "del", "ifb1.0")
    host.datapath.refresh()
    host.reach(switch(0, limited(port(1))))
    host.reach(switch(0, port(1)))
    assert tc(host, "filter", "show", "dev", "vif1.0", "ingress") == theirs


def test_a_device_of_others_is_not_taken_for_a_limiter(host):
    host.ns.ip("link", "add", "name", "ifb1.0", "type", "ifb")
    host.reach(switch(0, port(2)))
    (failure,) = host.do(create(limited(port(1))))
    assert failure.text == "ifb1.0 exists already"
    host.datapath.refresh()
    host.ns(host.datapath.reap)
    assert host.names() == {"lo", "eth0", "xapi0", "ifb1.0", "vif2.0"}
    host.reach(switch(0, port(1), port(2)))
    (failure,) = host.do(SetPort(object="v", bridge="xapi0", port=limited(port(1))))
    assert (failure.text, seen(host)) == ("ifb1.0 exists already", 0)


def test_a_half_made_limiter_makes_way(host):
    with host.ns(Socket) as sock:
        sock.run(create_ifb("ifb1.0", LIVE))
    host.datapath.refresh()
    host.reach(switch(0, limited(port(1))))
    assert seen(host) == SLOW


def test_a_limiter_goes_with_its_port_and_serves_the_next_of_its_name(host):
    host.reach(switch(0, limited(port(1)), limited(port(2), FAST)))
    host.ok(RemovePort(object="v", bridge="xapi0", port=port(1)))
    host.reach(switch(0, limited(port(1, vif="another"), FAST), limited(port(2), FAST)))
    assert seen(host) == FAST
    assert host.json("link", "show", "ifb1.0")[0]["ifalias"] == "xenet limits=vif1.0 vif=another"
    host.ns.ip("link", "del", "vif2.0")
    host.datapath.refresh()
    host.reach(switch(0))
    assert host.ns(host.datapath.reap) == 0
    assert host.names() == {"lo", "eth0", "xapi0"}
