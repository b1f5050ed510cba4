"""Tunnels on Open vSwitch between three hosts: VXLAN and GRE, TCP and large frames, drift, a host whose switches are bridges among them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_mtu import passes
from tests.e2e.test_pif_life import refusal
from tests.e2e.test_tunnels import VXLAN, Site, built
from tests.e2e.world import Inside, capture, links, until
from tests.netns import ping
from xenet.datapath.openvswitch.programs import find_programs

pytestmark = pytest.mark.kernel
IPV4 = b"\x08\x00"
OVERHEAD = {"vxlan": 50, "gre": 42}
SEND = "import socket; s = socket.create_connection(('{}', 7), 5); s.sendall(bytes({}))"
TAKE = "import socket; s = socket.create_server(('', 7)); print(flush=True); c = s.accept()[0]; print(sum(iter(lambda: len(c.recv(1 << 16)), 0)))"


def carries(protocol: str, key: int, packet: bytes) -> bool:
    """Whether an IPv4 packet is one of such a tunnel (RFC 7348, RFC 2890)."""
    if protocol == "vxlan":
        return packet[9] == 17 and packet[22:24] == VXLAN and packet[32:35] == key.to_bytes(3, "big")
    return packet[9] == 47 and packet[20:28] == b"\x20\x00\x65\x58" + key.to_bytes(4, "big")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with built(tmp_path, "vxlan", ("openvswitch",) * 3) as made:
        yield made


def vsctl(site: Site, host: str, *argv: str) -> str:
    programs = find_programs()
    command = [programs.vsctl, f"--db=unix:{site.pool.folder / host / 'openvswitch' / 'db.sock'}", *argv]
    done = subprocess.run(command, env={**programs.environment, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def ends(site: Site, host: str) -> dict[str, tuple[str, str]]:
    """Port -> its options and whether it is protected."""
    names = vsctl(site, host, "--bare", "--columns=name", "find", "interface", "options:local_ip!=''").split()
    return {name: (vsctl(site, host, "get", "interface", name, "options"), vsctl(site, host, "get", "port", name, "protected")) for name in names}


def transfers(sender: Inside, receiver: Inside, address: str, size: int = 5_000_000) -> bool:
    """Whether so many octets get there by TCP, with all that a guest's kernel leaves to others."""
    server = receiver.start("python3", "-c", TAKE)
    assert server.stdout
    server.stdout.readline()
    try:
        sender.command("python3", "-c", SEND.format(address, size))
        return server.communicate(timeout=20)[0].strip() == str(size)
    finally:
        server.kill()


def finish_frames(site: Site, *hosts: str) -> None:
    """As a NIC does, a veth does not: what leaves by it has all its checksums, and is cut to size."""
    for host in hosts:
        site.hosts[host].command("ethtool", "-K", "eth0", "tx", "off")


@pytest.mark.parametrize("protocol", ["vxlan", "gre"])
def test_guests_of_three_hosts_are_on_one_network(tmp_path: Path, protocol: str) -> None:
    with built(tmp_path, protocol, ("openvswitch",) * 3) as site:
        one, two, three = (site.guest(number) for number in (1, 2, 3))
        with capture(site.hosts["host1"], "eth0") as wire:
            assert all(ping(one, address) for address in ("10.1.0.2", "10.1.0.3"))
            assert ping(two, "10.1.0.3")
            assert passes(one, "10.1.0.2", 1500 - OVERHEAD[protocol]), "all that the overlay has room for, in one frame"
        packets = [frame[14:] for frame in wire if frame[12:14] == IPV4]
        assert packets
        assert all(carries(protocol, 1, packet) for packet in packets), "nothing goes bare"
        assert max(map(len, wire)) == 1514
        assert not passes(one, "10.1.0.2", 1501 - OVERHEAD[protocol])
        assert transfers(one, two, "10.1.0.2")
        assert transfers(three, one, "10.1.0.1")
        with capture(three, "eth0") as heard, capture(two, "eth0") as also:
            one.command("arping", "-q", "-U", "-c", "1", "-I", "eth0", "10.1.0.1")
        for frames in (heard, also):
            assert sum(frame[:6] == b"\xff" * 6 for frame in frames) == 1, "flooded once to each: nobody passes it on"
        assert site.api.tunnel.get_status(site.tunnels["host1"]) == {"active": "true", "key": "1"}


def test_what_is_broken_or_killed_is_whole_again(site: Site) -> None:
    one, _ = site.guest(1), site.guest(2)
    assert ping(one, "10.1.0.2")
    whole = ends(site, "host1")
    assert whole == {f"t0-c000020{number}": (f'{{key="1", local_ip="192.0.2.1", remote_ip="192.0.2.{number}"}}', "true") for number in (2, 3)}
    site.pool.kill("host1")
    assert ping(one, "10.1.0.2"), "frames flow without the agent"
    vsctl(site, "host1", "del-port", "t0-c0000202")
    site.pool.start_agent("host1", extra=("--datapath", "openvswitch"))
    until(lambda: ends(site, "host1") == whole)
    for harm in (
        ("set", "interface", "t0-c0000202", "options:remote_ip=192.0.2.9"),
        ("set", "port", "t0-c0000203", "protected=false"),
        ("set", "interface", "t0-c0000202", "options:key=77"),
        ("set", "port", "t0-c0000202", "tag=5"),
        ("del-br", "hub0"),
        ("del-port", "xapi0", "tunnel0"),
    ):
        vsctl(site, "host1", *harm)
        until(lambda: ends(site, "host1") == whole)
        assert ping(one, "10.1.0.2", 5.0), harm
    host = site.hosts["host1"]
    host.command("ethtool", "-K", "tunnel0", "tx", "on")
    until(lambda: "tx-checksumming: off" in host.command("ethtool", "-k", "tunnel0"))
    for broken in (("link", "set", "tunnel0", "down"), ("link", "del", "tunnel0-far")):
        host.ip(*broken)
        until(lambda: {"tunnel0", "tunnel0-far"} <= links(host).keys() and "UP" in links(host)["tunnel0"]["flags"])
        until(lambda: ping(one, "10.1.0.2", 1.0))


def test_an_end_moves_and_goes_and_leaves_nothing(site: Site) -> None:
    one, _ = site.guest(1), site.guest(2)
    assert ping(one, "10.1.0.2")
    site.api.PIF.reconfigure_ip(site.transport["host2"], "Static", "192.0.2.22", "255.255.255.0", "", "")
    until(lambda: ends(site, "host1").keys() == {"t0-c0000216", "t0-c0000203"})
    assert ping(one, "10.1.0.2", 5.0)
    assert refusal(site.api.PIF.forget, site.transport["host3"])[0] in ("PIF_TUNNEL_STILL_EXISTS", "PIF_IS_MANAGEMENT_INTERFACE")
    site.api.tunnel.destroy(site.tunnels["host3"])
    until(lambda: ends(site, "host1").keys() == {"t0-c0000216"})
    assert ends(site, "host3") == {}
    assert vsctl(site, "host3", "list-br") == "xenbr0"
    until(lambda: {"tunnel2", "tunnel2-far", "hub2", "xapi0"}.isdisjoint(links(site.hosts["host3"])))


def test_a_host_with_bridges_is_among_them_and_changes_its_backend(tmp_path: Path) -> None:
    with built(tmp_path, "vxlan", ("bridge", "openvswitch", "openvswitch")) as site:
        finish_frames(site, "host1", "host2")
        one, two = site.guest(1), site.guest(2)
        assert passes(one, "10.1.0.2", 1450)
        assert transfers(one, two, "10.1.0.2")
        assert transfers(two, one, "10.1.0.1")
        for backend in ("bridge", "openvswitch"):
            site.api.host.set_network_backend(site.pool.host("host2"), backend)
            until(lambda: ping(one, "10.1.0.2", 1.0))
            assert transfers(two, one, "10.1.0.1")
            until(lambda: ("hub1" in links(site.hosts["host2"])) == (backend == "openvswitch"))  # noqa: B023
            assert (links(site.hosts["host2"])["tunnel1"]["linkinfo"]["info_kind"] == "vxlan") == (backend == "bridge")
