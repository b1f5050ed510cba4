"""A VM that runs moves to another host, whose switch and physical port are others: its address moves in every switch, its processes and
connections live on, and nothing of it is left where it was."""

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.e2e.world import ETH_P_ALL, Inside, until
from tests.e2e.yard import MOVER, ROUTER, Yard, yard
from xenet.plan.announcement import announcement

pytestmark = pytest.mark.kernel
PORT = 4000
NOTHING_WITHIN = 1.5
"""Seconds without a frame after which the guest is called unreachable."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with yard(tmp_path_factory.mktemp("pool")) as made:
        made.guest.command("ip", "route", "add", "default", "via", ROUTER)
        yield made


def test_a_vm_moves_there_and_back(site: Yard) -> None:
    assert site.ping()
    assert site.port_of(site.mac) == "host1"
    domid = site.pool.api.VM.get_domid(site.vm)
    for host in ("host2", "host1"):
        site.migrate(host)
        assert site.where() == host
        assert site.port_of(site.mac) == host, "the physical switch did not hear of it"
        assert site.ping()
        site.settle()
    assert int(site.pool.api.VM.get_domid(site.vm)) > int(domid), "a domid was given twice"


def layer3(guest: Inside) -> list[object]:
    """What the guest's NIC has, but for what the kernel finds out by itself."""
    (link,) = json.loads(guest.command("ip", "-j", "address", "show", "dev", "eth0"))
    routes = [route for family in ("-4", "-6") for route in json.loads(guest.command("ip", "-j", family, "route", "show", "table", "all"))]
    kept = [route for route in routes if route.get("dev") == "eth0"]
    neighbours = [entry for entry in json.loads(guest.command("ip", "-j", "neighbour")) if "PERMANENT" in entry["state"]]
    return [*sorted(map(str, (*link["addr_info"], *kept, *neighbours))), link["address"], link["mtu"]]


def test_all_that_its_nic_has_comes_along(site: Yard) -> None:
    guest = site.guest
    for words in (
        "address add 2001:db8::1/64 dev eth0 nodad",
        "address add 10.0.0.2/24 dev eth0",
        "address add 192.168.7.1/32 dev eth0",
        "route add 10.9.0.0/16 via 10.0.0.253 metric 7",
        "route add 10.8.0.0/16 dev eth0 src 10.0.0.2",
        "route add 10.7.0.0/16 via 10.0.0.253 table 77",
        "-6 route add default via 2001:db8::fe",
        "neighbour add 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0",
        "neighbour add 2001:db8::77 lladdr 02:00:00:00:00:77 dev eth0",
        "route add 10.6.0.0/16 via 172.16.0.1 dev eth0 onlink",
        "link set eth0 mtu 1400",
    ):
        guest.command("ip", *words.split())
    until(lambda: "tentative" not in guest.command("ip", "-6", "address"))
    before = layer3(guest)
    for _ in range(2):
        site.migrate(site.elsewhere())
        assert layer3(guest) == before
        site.settle()
        assert [link["ifname"] for link in json.loads(guest.command("ip", "-j", "link"))] == ["lo", "eth0"]
    assert layer3(guest) == before, "what is left of the old NIC took something along"
    guest.command("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")
    guest.command("ip", "address", "del", "10.0.0.2/24", "dev", "eth0")
    site.migrate(site.elsewhere())
    assert "default via 2001:db8::fe dev eth0" in guest.command("ip", "-6", "route"), "its gateway was out of reach before, and is now"
    site.settle()
    guest.command("ip", "-6", "route", "flush", "dev", "eth0", "root", "2001:db8::/16")
    guest.command("ip", "-6", "route", "del", "default")
    guest.command("ip", "link", "set", "eth0", "mtu", "1500")


def test_a_connection_lives_on(site: Yard) -> None:
    """With data under way in both directions, unheeded by anybody but TCP."""
    with closing(site.guest(listening)) as server, closing(site.router(connected)) as client:
        served, _ = server.accept()
        with closing(served):
            served.settimeout(20)
            for number in range(4):
                word = f"word {number}".encode().ljust(1 << 16, b".")
                client.sendall(word)
                site.migrate(site.elsewhere())
                assert received(served, len(word)) == word
                served.sendall(word)
                assert received(client, len(word)) == word


def listening() -> socket.socket:
    server = socket.create_server((MOVER, PORT))
    server.settimeout(20)
    return server


def connected() -> socket.socket:
    return socket.create_connection((MOVER, PORT), timeout=20)


def received(sock: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count and (part := sock.recv(count - len(parts))):
        parts += part
    return parts


def test_it_is_announced_on_the_wire_before_the_call_ends(site: Yard) -> None:
    """Heard at the physical switch's own port, from the first frame on."""
    target = site.elsewhere()
    with closing(site.switch(heard_at, target)) as wire:
        site.migrate(target)
        frames = []
        while frame := received_now(wire):
            frames.append(frame)
    ours = [frame for frame in frames if frame[6:12] == bytes.fromhex(site.mac.replace(":", ""))]
    assert announcement(site.mac, [MOVER])[0] in ours


def heard_at(device: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.bind((device, ETH_P_ALL))
    wire.setblocking(False)
    return wire


def received_now(wire: socket.socket) -> bytes:
    try:
        return wire.recv(2048)
    except BlockingIOError:
        return b""


def test_a_guest_without_an_address_is_announced_too(site: Yard) -> None:
    target = site.elsewhere()
    site.guest.command("ip", "address", "flush", "dev", "eth0")
    site.migrate(target)
    until(lambda: site.port_of(site.mac) == target)
    site.guest.command("ip", "address", "add", f"{MOVER}/24", "dev", "eth0")
    site.guest.command("ip", "route", "add", "default", "via", ROUTER)


@pytest.fixture
def silent_hosts(site: Yard) -> Iterator[None]:
    """Agents that announce nothing, and a guest that says nothing by itself."""
    for host in site.hosts:
        restarted(site, host, sys.executable, str(__file__).replace("test_migration.py", "silent.py"))
    site.guest.command("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    yield
    site.guest.command("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0")
    for host in site.hosts:
        restarted(site, host)


def restarted(site: Yard, host: str, *program: str) -> None:
    site.pool.kill(host)
    site.pool.start_agent(host, *program)
    site.pool.wait_for(host)


def test_without_the_announcement_there_is_a_black_hole(site: Yard, silent_hosts: None) -> None:
    """Who only listens is not found: the physical switch sends to the port where it heard of it last. A word of its own mends it."""
    site.router.ip("neighbour", "replace", MOVER, "lladdr", site.mac, "dev", "eth0")
    assert site.ping()
    source, target = site.where(), site.elsewhere()
    site.migrate(target)
    with closing(site.guest(bound)) as ear, closing(site.router(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)) as voice:
        end = time.monotonic() + NOTHING_WITHIN
        while time.monotonic() < end:
            voice.sendto(b"?", (MOVER, PORT))
            time.sleep(0.01)
        assert received_now(ear) == b""
        assert site.port_of(site.mac) == source
    site.guest.command("ping", "-c1", "-W2", ROUTER)
    assert site.port_of(site.mac) == target
    assert site.ping()
    site.router.ip("neighbour", "del", MOVER, "dev", "eth0")


def bound() -> socket.socket:
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.bind((MOVER, PORT))
    ear.setblocking(False)
    return ear
