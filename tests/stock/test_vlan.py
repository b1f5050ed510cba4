"""VLANs on real devices: tags on the cable, none in the guests, the same tag connects and another does not."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_pif_life import refusal
from tests.e2e.world import Pool, links, pool, ports, until
from tests.netns import Namespace, cable, namespaces, ping

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


class Pair:
    """Two hosts with a cable between their NICs."""

    def __init__(self, made: Pool, hosts: dict[str, Namespace]) -> None:
        self.pool, self.hosts = made, hosts
        self.api = made.api

    def vlan(self, tag: int) -> tuple[str, list[str]]:
        """A network on this VLAN on both hosts, and its PIFs."""
        network = self.pool.network(f"vlan {tag}")
        return network, self.api.pool.create_VLAN("eth0", network, str(tag))

    def pif(self, host: str) -> str:
        (found,) = (p for p in self.api.host.get_PIFs(self.pool.host(host)) if self.api.PIF.get_VLAN(p) == "-1")
        return str(found)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with namespaces(2) as (one, two), pool(tmp_path) as made:
        cable(one, "eth0", two, "eth0")
        for name, netns in (("host1", one), ("host2", two)):
            made.start_agent(name, netns=netns)
            made.wait_for(name)
        yield Pair(made, {"host1": one, "host2": two})


@contextmanager
def seen(run, device: str) -> Iterator[list[str]]:
    """Lines of tcpdump(8) on the pings that pass a device, with their tags."""
    lines: list[str] = []
    dump = run(subprocess.Popen, ["tcpdump", "-e", "-n", "-l", "--immediate-mode", "-i", device, "icmp or (vlan and icmp)"],
               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    while "listening on" not in dump.stderr.readline():
        assert dump.poll() is None
    try:
        yield lines
    finally:
        dump.terminate()
        lines += dump.communicate(timeout=30)[0].splitlines()


def test_tags_are_on_the_cable_alone_and_keep_networks_apart(pair: Pair) -> None:
    red, _ = pair.vlan(42)
    blue, _ = pair.vlan(43)
    plain = pair.pool.external()
    one, two = pair.hosts["host1"], pair.hosts["host2"]
    for name in ("eth0.42", "eth0.43", "xapi0", "xapi1"):
        assert links(one)[name]["flags"].count("UP") == 1, f"{name} is up from VLAN.create on"
    assert links(one)["eth0.42"]["linkinfo"]["info_data"]["id"] == 42
    assert links(one)["eth0.42"]["address"] == links(one)["xapi0"]["address"] == links(one)["eth0"]["address"]
    assert "eth0.42" in ports(one, "xapi0")
    first, second = pair.pool.vm("first", red, blue, plain), pair.pool.vm("second", red, plain, blue)
    guest = pair.pool.start(first, "host1", "10.1.0.1/24", "10.2.0.1/24", "10.3.0.1/24")
    other = pair.pool.start(second, "host2", "10.1.0.2/24", "10.3.0.2/24", "10.2.0.2/24")
    with seen(two, "eth0") as on_cable, seen(other, "eth0") as in_guest:
        assert ping(guest, "10.1.0.2"), "the same tag connects hosts"
    assert any("vlan 42" in line and "10.1.0.1 > 10.1.0.2" in line for line in on_cable)
    assert in_guest
    assert not any("vlan" in line for line in in_guest)
    with seen(two, "eth0") as on_cable:
        assert ping(guest, "10.2.0.2")
        assert ping(guest, "10.3.0.2")
    assert any("vlan 43" in line and "10.2.0.1 > 10.2.0.2" in line for line in on_cable)
    assert any("vlan" not in line and "10.3.0.1 > 10.3.0.2" in line for line in on_cable)
    third = pair.pool.vm("third", blue)
    stray = pair.pool.start(third, "host2", "10.1.0.3/24")
    assert not ping(stray, "10.1.0.1", 2.0), "another tag does not connect, on one host or two"
    assert not ping(stray, "10.1.0.2", 2.0)


def test_an_address_on_a_vlan_stands_over_drift_and_death(pair: Pair) -> None:
    _, pifs = pair.vlan(42)
    one = pair.hosts["host1"]
    for pif, address in zip(pifs, ("10.9.0.1", "10.9.0.2"), strict=True):
        pair.api.PIF.reconfigure_ip(pif, "Static", address, "255.255.255.0", "", "")
    until(lambda: ping(one, "10.9.0.2"))
    for harm in (("link", "del", "eth0.42"), ("link", "set", "eth0.42", "nomaster"), ("link", "set", "eth0.42", "down"), ("link", "del", "xapi0")):
        one.ip(*harm)
        until(lambda: ping(one, "10.9.0.2")), harm
    index = links(one)["eth0.42"]["ifindex"]
    pair.pool.kill("host1")
    assert ping(one, "10.9.0.2")
    pair.pool.start_agent("host1")
    pair.pool.wait_for("host1")
    assert links(one)["eth0.42"]["ifindex"] == index
    pair.api.PIF.unplug(pair.pif("host1"))
    assert ping(one, "10.9.0.2"), "the VLAN above stays"
    pair.api.VLAN.destroy(pair.api.PIF.get_VLAN_master_of(pifs[0]))
    assert {"eth0.42", "xapi0", "xenbr0"}.isdisjoint(links(one))


def test_vlans_of_others_and_sizes(pair: Pair) -> None:
    one, api, lower = pair.hosts["host1"], pair.api, pair.pif("host1")
    one.ip("link", "add", "link", "eth0", "name", "mine", "type", "vlan", "id", "7")
    network = pair.pool.network("seven")
    before = links(one)["mine"]
    assert refusal(api.VLAN.create, lower, "7", network) == ["VLAN_IN_USE", "eth0", "7"]
    assert links(one)["mine"] == before
    one.ip("link", "del", "mine")
    api.network.set_MTU(network, "9000")
    assert refusal(api.VLAN.create, lower, "7", network)[:2] == ["PIF_CONFIGURATION_ERROR", lower]
    for host in pair.hosts:
        api.network.set_MTU(pair.pool.external(), "9000")
        api.PIF.plug(pair.pif(host))
    large = api.pool.create_VLAN("eth0", network, "7")
    assert [api.PIF.get_MTU(pif) for pif in large] == ["9000", "9000"]
    first, second = pair.pool.vm("first", network), pair.pool.vm("second", network)
    guest = pair.pool.start(first, "host1", "10.1.0.1/24")
    pair.pool.start(second, "host2", "10.1.0.2/24")
    assert ping(guest, "10.1.0.2")
    assert "1 received" in guest.command("ping", "-c", "1", "-W", "5", "-M", "do", "-s", "8972", "10.1.0.2"), "9000 octets with both headers"


def test_management_on_a_vlan_where_the_pool_allows_it(pair: Pair) -> None:
    _, (pif, _) = pair.vlan(42)
    pair.api.PIF.reconfigure_ip(pif, "Static", "10.9.0.1", "255.255.255.0", "", "")
    code, blamed, text = refusal(pair.api.host.management_reconfigure, pif)
    assert (code, blamed) == ("PIF_CONFIGURATION_ERROR", pif)
    assert "native VLAN" in text
    (itself,) = pair.api.pool.get_all()
    pair.api.pool.add_to_other_config(itself, "management-on-vlan", "true")
    pair.api.host.management_reconfigure(pif)
    assert pair.api.host.get_address(pair.pool.host("host1")) == "10.9.0.1"
    assert pair.api.PIF.get_management(pif) is True
