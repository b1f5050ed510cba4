"""The host's own addresses, on its bridges, and the management interface that moves between them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_pif_life import Site, refusal
from tests.e2e.world import pool, until
from tests.netns import Namespace, cable, namespaces, ping

pytestmark = pytest.mark.kernel


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with namespaces(2) as (host, router), pool(tmp_path) as made:
        for nic in (0, 1):
            cable(host, f"eth{nic}", router, f"r{nic}")
            router.ip("address", "add", f"10.{nic}.0.254/24", "dev", f"r{nic}")
        router.ip("address", "add", "2001:db8::254/64", "dev", "r1", "nodad")
        router.ip("address", "add", "192.0.2.1/32", "dev", "lo")
        made.start_agent("host1", netns=host, nics="eth0,eth1")
        made.wait_for("host1")
        yield Site(made, host, router)


def addresses(host: Namespace, device: str) -> list[str]:
    found = json.loads(host.ip("-j", "address", "show", "dev", device))
    return sorted(f"{a['local']}/{a['prefixlen']}" for entry in found for a in entry.get("addr_info", []))


def default_device(host: Namespace) -> str | None:
    routes = json.loads(host.ip("-j", "route", "show", "default"))
    return routes[0]["dev"] if routes else None


def static(site: Site, device: str, address: str, gateway: str = "") -> str:
    pif = site.pif(device)
    site.pool.api.PIF.reconfigure_ip(pif, "Static", address, "255.255.255.0", gateway, "")
    return pif


def test_a_storage_interface(site: Site) -> None:
    api, host = site.pool.api, site.host
    pif = static(site, "eth1", "10.1.0.1")
    assert addresses(host, "xenbr1") == ["10.1.0.1/24"]
    assert addresses(host, "eth1") == []
    assert ping(host, "10.1.0.254")
    record = api.PIF.get_record(pif)
    assert (record["ip_configuration_mode"], record["IP"], record["netmask"]) == ("Static", "10.1.0.1", "255.255.255.0")
    static(site, "eth1", "10.1.0.2")
    assert addresses(host, "xenbr1") == ["10.1.0.2/24"]
    site.restart()
    assert addresses(host, "xenbr1") == ["10.1.0.2/24"]
    api.PIF.reconfigure_ip(pif, "None", "", "", "", "")
    assert addresses(host, "xenbr1") == []


def test_an_address_of_an_unplugged_pif_waits_for_its_plug(site: Site) -> None:
    api = site.pool.api
    pif = site.pif("eth1")
    api.PIF.unplug(pif)
    static(site, "eth1", "10.1.0.1")
    api.PIF.plug(pif)
    assert addresses(site.host, "xenbr1") == ["10.1.0.1/24"]


def test_ipv6(site: Site) -> None:
    api, pif = site.pool.api, site.pif("eth1")
    api.PIF.reconfigure_ipv6(pif, "Static", "2001:db8::1/64", "2001:db8::254", "2001:db8::53")
    assert addresses(site.host, "xenbr1") == ["2001:db8::1/64"]
    assert api.PIF.get_IPv6(pif) == ["2001:db8::1/64"]
    assert api.PIF.get_DNS(pif) == "2001:db8::53"
    assert refusal(api.PIF.reconfigure_ipv6, pif, "Static", "2001:db8::1", "", "") == ["INVALID_CIDR_ADDRESS_SPECIFIED", "IPv6"]
    api.PIF.reconfigure_ipv6(pif, "None", "", "", "")
    assert addresses(site.host, "xenbr1") == []


def test_management_moves_and_the_default_route_with_it(site: Site) -> None:
    api = site.pool.api
    first, second = site.pif("eth0"), site.pif("eth1")
    assert refusal(api.host.management_reconfigure, first) == ["PIF_HAS_NO_NETWORK_CONFIGURATION", first]
    static(site, "eth0", "10.0.0.1", "10.0.0.254")
    api.host.management_reconfigure(first)
    assert api.host.get_management_interface(site.ref) == first
    assert api.host.get_address(site.ref) == "10.0.0.1"
    assert default_device(site.host) == "xenbr0"
    assert ping(site.host, "192.0.2.1")
    static(site, "eth1", "10.1.0.1", "10.1.0.254")
    assert default_device(site.host) == "xenbr0"
    assert refusal(api.PIF.unplug, first) == ["PIF_IS_MANAGEMENT_INTERFACE", first]
    assert refusal(api.PIF.forget, first) == ["PIF_IS_MANAGEMENT_INTERFACE", first]
    assert refusal(api.PIF.reconfigure_ip, first, "None", "", "", "", "") == ["PIF_IS_MANAGEMENT_INTERFACE", first]
    api.host.management_reconfigure(second)
    assert api.host.get_address(site.ref) == "10.1.0.1"
    assert [api.PIF.get_management(pif) for pif in (first, second)] == [False, True]
    assert default_device(site.host) == "xenbr1"
    assert addresses(site.host, "xenbr0") == ["10.0.0.1/24"]
    api.PIF.set_other_config(first, {"defaultroute": "true"})
    until(lambda: default_device(site.host) == "xenbr0")  # a plain setter does not wait for the host
    network = api.PIF.get_network(first)
    api.pool.management_reconfigure(network)
    assert api.host.get_management_interface(site.ref) == first


def test_static_routes_of_a_network(site: Site) -> None:
    api = site.pool.api
    network = site.pool.external("xenbr1")
    static(site, "eth1", "10.1.0.1")
    api.network.set_other_config(network, {"static-routes": "192.0.2.0/24/10.1.0.254"})
    until(lambda: json.loads(site.host.ip("-j", "route", "show", "192.0.2.0/24")))
    assert ping(site.host, "192.0.2.1")
    api.network.set_other_config(network, {"static-routes": "192.0.2.0/24/10.1.0.254,nonsense"})
    until(lambda: json.loads(site.host.ip("-j", "route", "show", "192.0.2.0/24")) == [])


def test_static_routes_wait_for_an_address(site: Site) -> None:
    """The hosts of a pool share the network's routes, and not all of them have an address there."""
    api, pif = site.pool.api, site.pif("eth1")
    api.network.set_other_config(site.pool.external("xenbr1"), {"static-routes": "192.0.2.0/24/10.1.0.254,198.51.100.0/24/10.9.0.254"})
    api.PIF.unplug(pif)
    api.PIF.plug(pif)
    assert api.PIF.get_currently_attached(pif) is True
    assert json.loads(site.host.ip("-j", "route", "show", "dev", "xenbr1")) == []
    static(site, "eth1", "10.1.0.1")
    assert [route["dst"] for route in json.loads(site.host.ip("-j", "route", "show", "proto", "static"))] == ["192.0.2.0/24"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("Static", "", "255.255.255.0", "", ""), ["INVALID_IP_ADDRESS_SPECIFIED", "IP"]),
        (("Static", "10.1.0.1", "", "", ""), ["INVALID_IP_ADDRESS_SPECIFIED", "netmask"]),
        (("Static", "10.1.0.1", "255.255.255.0", "x", ""), ["INVALID_IP_ADDRESS_SPECIFIED", "gateway"]),
        (("None", "10.1.0.300", "", "", ""), ["INVALID_IP_ADDRESS_SPECIFIED", "IP"]),
        (("Sometimes", "", "", "", ""), ["INVALID_VALUE", "Sometimes"]),
    ],
)
def test_refusals_change_nothing(site: Site, arguments: tuple[str, ...], error: list[str]) -> None:
    pif = site.pif("eth1")
    before = site.pool.api.PIF.get_record(pif)
    assert refusal(site.pool.api.PIF.reconfigure_ip, pif, *arguments) == error
    assert site.pool.api.PIF.get_record(pif) == before


def test_a_mask_with_holes_is_refused_before_anything_is_touched(site: Site) -> None:
    pif = site.pif("eth1")
    details = refusal(site.pool.api.PIF.reconfigure_ip, pif, "Static", "10.1.0.1", "255.0.255.0", "", "")
    assert details == ["PIF_CONFIGURATION_ERROR", pif, "255.0.255.0 is no netmask"]
