"""VLANs on real devices: tags on the cable, none in the guests, the same tag connects and another does not. All on one pool, since its
processes take long to start on an emulated machine."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.test_dhcp import dhcp_server
from tests.e2e.test_door import answers, logged_in_from
from tests.e2e.test_host_addresses import addresses
from tests.e2e.test_pif_life import refusal
from tests.e2e.world import Pool, links, pool, until
from tests.netns import Namespace, cable, namespaces, ping

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


class Pair:
    """Two hosts with a cable between their NICs."""

    def __init__(self, made: Pool, hosts: dict[str, Namespace]) -> None:
        self.pool, self.hosts = made, hosts
        self.api = made.api
        self.port = int(made.url.rpartition(":")[2].strip("/"))

    def vlan(self, tag: int) -> tuple[str, list[str]]:
        """A network on this VLAN on both hosts, and its PIFs."""
        network = self.pool.network(f"vlan {tag}")
        return network, self.api.pool.create_VLAN("eth0", network, str(tag))

    def pif(self, host: str) -> str:
        (found,) = (p for p in self.api.host.get_PIFs(self.pool.host(host)) if self.api.PIF.get_VLAN(p) == "-1")
        return str(found)

    def static(self, pif: str, address: str) -> None:
        self.api.PIF.reconfigure_ip(pif, "Static", address, "255.255.255.0", "", "")

    def destroy(self, pif: str) -> None:
        self.api.VLAN.destroy(self.api.PIF.get_VLAN_master_of(pif))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with namespaces(2) as (one, two), pool(tmp_path_factory.mktemp("pool")) as made:
        cable(one, "eth0", two, "eth0")
        made.start_agent("host1", netns=one)
        made.start_agent("host2", netns=two)
        made.wait_for("host1", "host2")
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
    """The guests' VIFs are in another order on the second host: devices and networks do not go by number."""
    red, _ = pair.vlan(42)
    blue, _ = pair.vlan(43)
    plain = pair.pool.external()
    one, two = pair.hosts["host1"], pair.hosts["host2"]
    there = links(one)
    for name in ("eth0.42", "eth0.43", "xapi0", "xapi1"):
        assert there[name]["flags"].count("UP") == 1, f"{name} is up from VLAN.create on"
    assert there["eth0.42"]["linkinfo"]["info_data"]["id"] == 42
    assert there["eth0.42"]["address"] == there["xapi0"]["address"] == there["eth0"]["address"]
    assert there["eth0.42"]["master"] == "xapi0"
    first, second = pair.pool.vm("first", red, blue, plain), pair.pool.vm("second", red, plain, blue)
    guest = pair.pool.start(first, "host1", "10.1.0.1/24", "10.2.0.1/24", "10.3.0.1/24")
    other = pair.pool.start(second, "host2", "10.1.0.2/24", "10.3.0.2/24", "10.2.0.2/24")
    with seen(two, "eth0") as on_cable, seen(other, "eth0") as in_guest:
        assert ping(guest, "10.1.0.2"), "the same tag connects hosts"
        assert ping(guest, "10.2.0.2")
        assert ping(guest, "10.3.0.2")
    for address, tag in (("10.1.0.1", "vlan 42"), ("10.2.0.1", "vlan 43"), ("10.3.0.1", "")):
        its = [line for line in on_cable if f"{address} > " in line]
        assert its
        assert all((tag or "vlan") in line if tag else "vlan" not in line for line in its)
    assert in_guest
    assert not any("vlan" in line for line in in_guest)
    # The first guest's address on red, asked for from a VIF on blue and one without a VLAN. On those, too, it would answer ARP for it.
    guest.command("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")
    other.command("ip", "address", "flush", "dev", "eth0")
    for device in ("eth1", "eth2"):
        other.command("ip", "address", "add", "10.1.0.3/24", "dev", device)
        assert not ping(other, "10.1.0.1", 3.0), "another tag, or none, does not connect"
        other.command("ip", "address", "del", "10.1.0.3/24", "dev", device)
    for vm in (first, second):
        pair.api.VM.hard_shutdown(vm)


def test_an_address_on_a_vlan_stands_over_drift_and_death(pair: Pair) -> None:
    _, pifs = pair.vlan(44)
    one = pair.hosts["host1"]
    bridge = pair.api.network.get_bridge(pair.api.PIF.get_network(pifs[0]))
    for pif, address in zip(pifs, ("10.9.0.1", "10.9.0.2"), strict=True):
        pair.static(pif, address)
    until(lambda: ping(one, "10.9.0.2"))
    for harm in (("link", "del", "eth0.44"), ("link", "set", "eth0.44", "nomaster"), ("link", "set", "eth0.44", "down"), ("link", "del", bridge)):
        one.ip(*harm)
        until(lambda: ping(one, "10.9.0.2"))
    index = links(one)["eth0.44"]["ifindex"]
    pair.pool.kill("host1")
    assert ping(one, "10.9.0.2")
    pair.pool.start_agent("host1")
    pair.pool.wait_for("host1")
    assert links(one)["eth0.44"]["ifindex"] == index
    for pif in pair.api.PIF.get_all():
        if pif not in pifs and pair.api.PIF.get_VLAN(pif) != "-1" and pair.api.PIF.get_host(pif) == pair.pool.host("host1"):
            pair.destroy(pif)
    pair.api.PIF.unplug(pair.pif("host1"))
    assert ping(one, "10.9.0.2"), "the VLAN above stays"
    pair.destroy(pifs[0])
    assert {"eth0.44", bridge, "xenbr0"}.isdisjoint(links(one))
    pair.api.PIF.plug(pair.pif("host1"))


def test_storage_on_a_vlan_by_dhcp(pair: Pair, tmp_path) -> None:
    """The server sits on the same VLAN of the other host, and hears nothing of the cable's other frames."""
    _, (pif, other) = pair.vlan(45)
    one, two = pair.hosts["host1"], pair.hosts["host2"]
    bridge = pair.api.network.get_bridge(pair.api.PIF.get_network(pif))
    pair.static(other, "10.1.0.254")
    with dhcp_server(two, tmp_path, device=bridge):
        pair.api.PIF.reconfigure_ip(pif, "DHCP", "", "", "", "")
    assert addresses(one, bridge) == [f"{pair.api.PIF.get_IP(pif)}/24"]
    assert ping(one, "10.1.0.254")
    pair.api.PIF.reconfigure_ip(pif, "None", "", "", "", "")
    assert addresses(one, bridge) == []
    for each in (pif, other):
        pair.destroy(each)
    assert bridge not in links(one)


def test_vlans_of_others_and_sizes(pair: Pair) -> None:
    (one, two), api, lower = pair.hosts.values(), pair.api, pair.pif("host1")
    one.ip("link", "add", "link", "eth0", "name", "mine", "type", "vlan", "id", "7")
    network = pair.pool.network("seven")
    before = links(one)["mine"]
    assert refusal(api.VLAN.create, lower, "7", network) == ["VLAN_IN_USE", "eth0", "7"]
    assert links(one)["mine"] == before
    one.ip("link", "del", "mine")
    two.ip("link", "add", "eth0.9", "type", "bridge")
    nine = pair.pool.network("nine")
    code, _, text = refusal(api.pool.create_VLAN, "eth0", nine, "9")
    assert (code, text) == ("PIF_CONFIGURATION_ERROR", "eth0.9 exists and is another's")
    assert api.network.get_PIFs(nine) == [], "on all hosts or on none"
    until(lambda: "eth0.9" not in links(one))
    assert links(two)["eth0.9"]["linkinfo"]["info_kind"] == "bridge"
    two.ip("link", "del", "eth0.9")
    api.network.set_MTU(network, "9000")
    assert refusal(api.VLAN.create, lower, "7", network)[:2] == ["PIF_CONFIGURATION_ERROR", lower]
    api.network.set_MTU(pair.pool.external(), "9000")
    for host in pair.hosts:
        api.PIF.plug(pair.pif(host))
    large = api.pool.create_VLAN("eth0", network, "7")
    assert [api.PIF.get_MTU(pif) for pif in large] == ["9000", "9000"]
    first, second = pair.pool.vm("first", network), pair.pool.vm("second", network)
    guest = pair.pool.start(first, "host1", "10.1.0.1/24")
    pair.pool.start(second, "host2", "10.1.0.2/24")
    assert ping(guest, "10.1.0.2")
    assert "1 received" in guest.command("ping", "-c", "1", "-W", "9", "-M", "do", "-s", "8972", "10.1.0.2"), "9000 octets with both headers"
    api.network.set_MTU(pair.pool.external(), "1500")
    assert refusal(api.PIF.plug, lower)[:2] == ["PIF_CONFIGURATION_ERROR", lower], "smaller than what stands on it"
    assert {links(one)[name]["mtu"] for name in ("eth0", "eth0.7")} == {9000}
    for vm in (first, second):
        api.VM.hard_shutdown(vm)
    api.network.set_MTU(network, "1500")
    for pif in large:
        api.PIF.plug(pif)
    api.PIF.plug(lower)
    assert {links(one)[name]["mtu"] for name in ("eth0", "eth0.7")} == {1500}
    for pif in large:
        pair.destroy(pif)


def test_management_on_a_vlan_where_the_pool_allows_it(pair: Pair) -> None:
    _, (pif, other) = pair.vlan(46)
    two = pair.hosts["host2"]
    for each, address in ((pif, "10.8.0.1"), (other, "10.8.0.2")):
        pair.static(each, address)
    code, blamed, text = refusal(pair.api.host.management_reconfigure, pif)
    assert (code, blamed) == ("PIF_CONFIGURATION_ERROR", pif)
    assert "native VLAN" in text
    assert "management-on-vlan=true" in text
    (itself,) = pair.api.pool.get_all()
    pair.api.pool.add_to_other_config(itself, "management-on-vlan", "true")
    pair.api.host.management_reconfigure(pif)
    assert pair.api.host.get_address(pair.pool.host("host1")) == "10.8.0.1"
    assert pair.api.PIF.get_management(pif) is True
    until(lambda: answers(two, "10.8.0.1", pair.port))
    assert logged_in_from(two, "10.8.0.1", pair.port) in pair.hosts, "the API, over the VLAN, from the other host"
    assert refusal(pair.api.VLAN.destroy, pair.api.PIF.get_VLAN_master_of(pif)) == ["PIF_IS_MANAGEMENT_INTERFACE", pif]
