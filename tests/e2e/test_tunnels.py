"""Tunnels between three hosts: one network over another one, meshed by the agents, on real VXLAN devices."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_mtu import passes
from tests.e2e.test_pif_life import refusal
from tests.e2e.world import Inside, Pool, capture, links, pool, until
from tests.netns import Namespace, cable, namespaces, ping
from xenet.datapath.gre import find_lack

pytestmark = pytest.mark.kernel
NAMES = ("host1", "host2", "host3")
VXLAN = b"\x12\xb5"
"""UDP port 4789 as it stands on the wire."""


class Site:
    """Three hosts on a switch, each with an address on eth0, and a network that is tunnelled between them."""

    def __init__(self, made: Pool, hosts: dict[str, Namespace], protocol: str = "vxlan") -> None:
        self.pool, self.hosts, self.api = made, hosts, made.api
        self.transport = {name: self._pif(name) for name in NAMES}
        for number, name in enumerate(NAMES, 1):
            self.api.PIF.reconfigure_ip(self.transport[name], "Static", f"192.0.2.{number}", "255.255.255.0", "", "")
        self.network = made.network("overlay")
        self.tunnels = {name: self.api.tunnel.create(self.transport[name], self.network, protocol) for name in NAMES}

    def _pif(self, name: str) -> str:
        return str(self.api.host.get_PIFs(self.pool.host(name))[0])

    def guest(self, number: int, *networks: str) -> Inside:
        vm = self.pool.vm(f"vm{number}", *(networks or (self.network,)))
        return self.pool.start(vm, NAMES[number - 1], f"10.1.0.{number}/24")

    def access(self, name: str) -> str:
        return str(self.api.tunnel.get_access_PIF(self.tunnels[name]))

    def peers(self, name: str) -> set[str]:
        said = self.hosts[name].command("bridge", "fdb", "show", "dev", self.api.PIF.get_device(self.access(name)))
        return {line.split("dst ")[1].split()[0] for line in said.splitlines() if line.startswith("00:00:00:00:00:00")}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with built(tmp_path) as made:
        yield made


@contextmanager
def built(folder: Path, protocol: str = "vxlan", datapaths: Sequence[str] = ("bridge",) * 3) -> Iterator[Site]:
    with namespaces(4) as (switch, *hosts), pool(folder) as made:
        switch.ip("link", "add", "sw1", "up", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        named = dict(zip(NAMES, hosts, strict=True))
        for (name, host), datapath in zip(named.items(), datapaths, strict=True):
            cable(switch, name, host, "eth0")
            switch.ip("link", "set", name, "master", "sw1")
            made.start_agent(name, extra=("--datapath", datapath), netns=host)
        made.wait_for(*NAMES)
        yield Site(made, named, protocol)


def test_guests_of_three_hosts_are_on_one_network_over_another(site: Site) -> None:
    one, two, three = (site.guest(number) for number in (1, 2, 3))
    for address in ("10.1.0.2", "10.1.0.3"):
        assert ping(one, address)
    assert ping(two, "10.1.0.3")
    assert links(site.hosts["host1"])["tunnel0"]["linkinfo"]["info_data"]["id"] == 1
    assert site.api.tunnel.get_status(site.tunnels["host1"]) == {"active": "true", "key": "1"}
    with capture(site.hosts["host1"], "eth0") as wire:
        assert passes(one, "10.1.0.2", 1450), "all that the overlay has room for, in one frame"
    assert any(VXLAN in frame[34:42] for frame in wire)
    assert not any(frame[12:14] == b"\x08\x00" and frame[26:34] == bytes((10, 1, 0, 1, 10, 1, 0, 2)) for frame in wire), "nothing goes bare"
    assert not passes(one, "10.1.0.2", 1451)
    with capture(three, "eth0") as heard, capture(two, "eth0") as also:
        one.command("arping", "-q", "-U", "-c", "1", "-I", "eth0", "10.1.0.1")
    for frames in (heard, also):
        assert sum(frame[:6] == b"\xff" * 6 for frame in frames) == 1, "flooded once to each: nobody passes it on"


def test_other_networks_are_apart_and_an_end_comes_and_goes(site: Site) -> None:
    other = site.pool.network("another overlay")
    for name in ("host1", "host2"):
        site.api.tunnel.create(site.transport[name], other, "vxlan")
    one, stray = site.guest(1), site.guest(2, other)
    assert not ping(one, "10.1.0.2", 1.0)
    assert not ping(stray, "10.1.0.1", 1.0)
    assert site.peers("host1") == {"192.0.2.2", "192.0.2.3"}
    site.api.tunnel.destroy(site.tunnels["host3"])
    until(lambda: site.peers("host1") == {"192.0.2.2"})
    assert {"tunnel2", "xapi0"}.isdisjoint(links(site.hosts["host3"]))
    site.api.PIF.reconfigure_ip(site.transport["host2"], "Static", "192.0.2.22", "255.255.255.0", "", "")
    until(lambda: site.peers("host1") == {"192.0.2.22"})
    two = site.pool.start(site.pool.vm("third", site.network), "host2", "10.1.0.22/24")
    assert ping(one, "10.1.0.22")
    assert ping(two, "10.1.0.1")


def test_what_is_broken_or_killed_is_whole_again(site: Site) -> None:
    one, _ = site.guest(1), site.guest(2)
    assert ping(one, "10.1.0.2")
    host = site.hosts["host1"]
    index = links(host)["tunnel0"]["ifindex"]
    site.pool.kill("host1")
    assert ping(one, "10.1.0.2")
    host.command("bridge", "fdb", "del", "00:00:00:00:00:00", "dev", "tunnel0", "dst", "192.0.2.2")
    site.pool.start_agent("host1")
    until(lambda: site.peers("host1") == {"192.0.2.2", "192.0.2.3"})
    assert links(host)["tunnel0"]["ifindex"] == index
    for harm in (("link", "del", "tunnel0"), ("link", "set", "tunnel0", "down"), ("link", "set", "tunnel0", "nomaster")):
        host.ip(*harm)
        until(lambda: _whole(site, host))
    assert ping(one, "10.1.0.2")


def _whole(site: Site, host: Namespace) -> bool:
    device = links(host).get("tunnel0")
    return bool(device) and device.get("master") == "xapi0" and "UP" in device["flags"] and len(site.peers("host1")) == 2


def test_a_foreign_device_with_the_same_number_is_named(site: Site) -> None:
    host, other = site.hosts["host1"], site.pool.network("second")
    host.ip("link", "add", "theirs", "type", "vxlan", "id", "4", "dstport", "4789")
    code, _, text = refusal(site.api.tunnel.create, site.transport["host1"], other, "vxlan")
    assert (code, text) == ("PIF_CONFIGURATION_ERROR", "VNI 4 is on another device, which is not xenet's")
    assert site.api.network.get_PIFs(other) == []
    assert "theirs" in links(host)


@pytest.mark.skipif(not find_lack(), reason="this kernel has GRE, which tests/stock has tests of")
def test_without_gre_in_the_kernel_it_is_refused(site: Site) -> None:
    assert refusal(site.api.tunnel.create, site.transport["host1"], site.pool.network("second"), "gre") == ["OPENVSWITCH_NOT_ACTIVE"]
