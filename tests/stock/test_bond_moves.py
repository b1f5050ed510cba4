"""What moves between NICs and their bond, on real devices: addresses of both kinds, VLANs with one tag, a VM on one of them; nothing of it
where the gateway is silent; and a second host that gets the same bond as it comes."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_door import answers
from tests.e2e.test_host_addresses import addresses
from tests.e2e.test_ipv6_modes import reaches
from tests.e2e.test_pif_life import refusal
from tests.e2e.world import Inside, links, pool, until
from tests.netns import Namespace, cable, namespaces, ping
from tests.stock.bonded import NICS
from tests.stock.site import Site

pytestmark = [pytest.mark.kernel, pytest.mark.stock]
WAIT = 60.0
OURS = ["10.0.0.1/24", "2001:db8::1/64"]


@pytest.fixture(scope="module")
def second() -> Iterator[Namespace]:
    with namespaces(1) as (host,):
        yield host


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with namespaces(3) as (host, switch, other), pool(tmp_path_factory.mktemp("pool")) as made:
        site = Site(made, host, switch, other)
        switch.ip("address", "add", "2001:db8::fe/64", "dev", "sw", "nodad")
        eth0 = site.pif("eth0")
        site.api.PIF.reconfigure_ip(eth0, "Static", "10.0.0.1", "255.255.255.0", "10.0.0.254", "")
        site.api.PIF.reconfigure_ipv6(eth0, "Static", "2001:db8::1/64", "", "")
        site.api.host.management_reconfigure(eth0)
        yield site


@pytest.fixture(scope="module")
def twins(site: Site) -> list[str]:
    """Networks of VLAN 42 on the first NIC and on the second."""
    made = [site.pool.network(name) for name in ("dmz", "twin")]
    for nic, network in zip(NICS, made, strict=True):
        site.api.VLAN.create(site.pif(nic), "42", network)
    return made


@pytest.fixture(scope="module")
def guest(site: Site, twins: list[str]) -> Inside:
    """A VM on the second NIC's VLAN."""
    guest = site.pool.start(site.pool.vm("one", twins[1]), "host1", "10.42.0.11/24")
    assert ping(guest, "10.42.0.254", WAIT)
    return guest


def records(site: Site) -> dict[str, Any]:
    """All that a bond could change, but for what the host says of its NICs."""
    found = {cls: getattr(site.api, cls).get_all_records() for cls in ("Bond", "VLAN", "PIF", "VIF", "network", "host")}
    return {cls: {ref: {k: v for k, v in record.items() if k != "MTU"} for ref, record in of.items()} for cls, of in found.items()}


def port(site: Site) -> int:
    return int(site.pool.url.rpartition(":")[2].strip("/"))


def test_where_the_gateway_is_silent_nothing_has_moved(site: Site, twins: list[str], guest: Inside) -> None:
    before, network = records(site), site.pool.network("silent")
    site.switch.ip("link", "set", "sw", "arp", "off")
    code, _, why = refusal(site.api.Bond.create, network, [site.pif(nic) for nic in NICS], "", "balance-slb", {})
    assert (code, "gateway 10.0.0.254 did not answer through" in why) == ("PIF_CONFIGURATION_ERROR", True)
    site.switch.ip("link", "set", "sw", "arp", "on")
    site.api.network.destroy(network)
    until(lambda: records(site) == before, WAIT)
    until(lambda: [links(site.host)[nic].get("master") for nic in NICS] == ["xenbr0", "xenbr1"], WAIT)
    until(lambda: addresses(site.host, "xenbr0") == OURS, WAIT)
    assert ping(guest, "10.42.0.254", WAIT), "the VM is on its VLAN again"
    assert until(lambda: answers(site.switch, "10.0.0.1", port(site)), WAIT)


def test_addresses_vlans_and_a_vm_move_there_and_back(site: Site, twins: list[str], guest: Inside) -> None:
    api, (vif,) = site.api, site.api.VIF.get_all()
    network = site.pool.network("both")
    made = api.Bond.create(network, [site.pif(nic) for nic in NICS], "", "active-backup", {})
    assert addresses(site.host, api.network.get_bridge(network)) == OURS
    assert answers(site.switch, "10.0.0.1", port(site))
    until(lambda: reaches(site.switch, "2001:db8::1"), WAIT)
    assert ping(guest, "10.42.0.254", WAIT)
    assert api.VIF.get_network(vif) == twins[0]
    assert [api.VLAN.get_tag(vlan) for vlan in api.VLAN.get_all()] == ["42"]
    seen = links(site.host)
    assert seen["bond0.42"]["master"] == api.network.get_bridge(twins[0])
    assert not {"eth0.42", "eth1.42", "xenbr0", "xenbr1", api.network.get_bridge(twins[1])} & seen.keys()
    api.Bond.destroy(made)
    assert addresses(site.host, "xenbr0") == OURS
    assert answers(site.switch, "10.0.0.1", port(site))
    until(lambda: reaches(site.switch, "2001:db8::1"), WAIT)
    assert ping(guest, "10.42.0.254", WAIT)
    assert links(site.host)["eth0.42"]["master"] == api.network.get_bridge(twins[0])


def test_a_host_that_comes_has_the_same_bond(site: Site, second: Namespace, twins: list[str], guest: Inside) -> None:
    """With the VLAN on it, whose VM reaches the one on the first host."""
    api = site.api
    made = api.Bond.create(site.pool.network("pool-wide"), [site.pif(nic) for nic in NICS], "", "active-backup", {})
    for number, nic in enumerate(NICS):
        cable(second, nic, site.switch, f"q{number}")
        site.switch.ip("link", "set", f"q{number}", "master", "sw")
    site.pool.start_agent("host2", netns=second, nics=",".join(NICS))
    until(lambda: {links(second)[nic].get("master") for nic in NICS} == {"bond0"}, WAIT)
    bonds = {ref: bond for ref, bond in api.Bond.get_all_records().items() if ref != made}
    assert [(bond["mode"], len(bond["slaves"])) for bond in bonds.values()] == [("active-backup", 2)]
    until(lambda: all(api.Bond.get_links_up(bond) == "2" for bond in (made, *bonds)), WAIT)
    there = site.pool.start(site.pool.vm("two", twins[0]), "host2", "10.42.0.12/24")
    assert links(second)["bond0.42"]["master"] == api.network.get_bridge(twins[0])
    assert ping(there, "10.42.0.11", WAIT)
    assert ping(there, "10.42.0.254", WAIT)
