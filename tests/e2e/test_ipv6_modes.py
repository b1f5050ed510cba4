"""IPv6 from the network: a router that advertises and a DHCPv6 server, both real, as an outside machine."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_host_addresses import addresses
from tests.e2e.test_pif_life import Site, refusal
from tests.e2e.world import pool, until
from tests.netns import Namespace, cable, namespaces

pytestmark = pytest.mark.kernel
PREFIX = "2001:db8:1:"


@contextmanager
def router6(router: Namespace, folder: Path, *ranges: str) -> Iterator[None]:
    """Advertises on r1, with DHCPv6 where a range says so."""
    command = ["dnsmasq", "-k", "-C", "/dev/null", "-p", "0", "--interface=r1", "--bind-interfaces", "--enable-ra", "--user=root"]
    command += ["--ra-param=r1,4,60", f"--dhcp-leasefile={folder}/leases6", f"--pid-file={folder}/dnsmasq.pid"]
    command += [*(f"--dhcp-range={said}" for said in ranges), "--dhcp-option=option6:dns-server,[2001:db8:1::53]"]
    process = router(subprocess.Popen, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with namespaces(2) as (host, router), pool(tmp_path) as made:
        for nic in (0, 1):
            cable(host, f"eth{nic}", router, f"r{nic}")
        router.ip("address", "add", f"{PREFIX}:254/64", "dev", "r1", "nodad")
        router.ip("address", "add", "2001:db8:ffff::1/128", "dev", "lo", "nodad")
        made.start_agent("host1", netns=host, nics="eth0,eth1")
        made.wait_for("host1")
        yield Site(made, host, router)


def global_addresses(host: Namespace, device: str) -> list[str]:
    return [address for address in addresses(host, device) if not address.startswith("fe80:")]


def routes6(host: Namespace, *what: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(host.ip("-6", "-j", "route", "show", *what))
    return found


def reaches(host: Namespace, target: str) -> bool:
    return bool(host(subprocess.run, ["ping", "-6", "-c", "1", "-W", "2", target], capture_output=True).returncode == 0)


def primary6(site: Site) -> str:
    """eth1's PIF, which decides on the default route by its IPv6 mode."""
    pif = site.pif("eth1")
    site.pool.api.PIF.set_primary_address_type(pif, "IPv6")
    return pif


def test_autoconf(site: Site, tmp_path: Path) -> None:
    api, host, pif = site.pool.api, site.host, primary6(site)
    with router6(site.router, tmp_path, f"{PREFIX}:,ra-only"):
        api.PIF.reconfigure_ipv6(pif, "Autoconf", "", "", "2001:db8::53")
        own = until(lambda: api.PIF.get_IPv6(pif))
        assert own == global_addresses(host, "xenbr1")
        assert own[0].startswith(PREFIX)
        assert api.PIF.get_DNS(pif) == "2001:db8::53"
        router = until(lambda: api.PIF.get_ipv6_gateway(pif))
        assert [(route["gateway"], route["dev"]) for route in routes6(host, "default")] == [(router, "xenbr1")]
        assert until(lambda: reaches(host, "2001:db8:ffff::1"))
        assert addresses(host, "xenbr0") == [], "another switch heard a router"
        site.restart()
        assert api.PIF.get_IPv6(pif) == own == global_addresses(host, "xenbr1")
        host.ip("address", "flush", "dev", "xenbr1", "scope", "global")
        until(lambda: api.PIF.get_IPv6(pif) == [])
        until(lambda: api.PIF.get_IPv6(pif) == own)  # with the router's next word
        api.PIF.reconfigure_ipv6(pif, "None", "", "", "")
        assert addresses(host, "xenbr1") == []
        assert [route for route in routes6(host) if route["dev"] == "xenbr1"] == []
        assert (api.PIF.get_IPv6(pif), api.PIF.get_ipv6_gateway(pif)) == ([""], "")


def test_dhcpv6(site: Site, tmp_path: Path) -> None:
    api, host, pif = site.pool.api, site.host, primary6(site)
    with router6(site.router, tmp_path, f"{PREFIX}:100,{PREFIX}:1ff,64,2m"):
        api.PIF.reconfigure_ipv6(pif, "DHCP", "", "", "")
        record = api.PIF.get_record(pif)
        assert record["IPv6"] == global_addresses(host, "xenbr1")
        assert record["IPv6"][0].startswith(f"{PREFIX}:1")
        assert record["DNS"] == "2001:db8:1::53"
        router = until(lambda: api.PIF.get_ipv6_gateway(pif))
        assert [(route["gateway"], route["dev"]) for route in routes6(host, "default")] == [(router, "xenbr1")]
        assert until(lambda: reaches(host, "2001:db8:ffff::1"))
        host.ip("address", "del", record["IPv6"][0], "dev", "xenbr1")
        until(lambda: global_addresses(host, "xenbr1") == record["IPv6"])
        site.restart()
        assert global_addresses(host, "xenbr1") == record["IPv6"], "a restart of the agent does not take it away"
        api.PIF.reconfigure_ipv6(pif, "Autoconf", "", "", "")
        until(lambda: api.PIF.get_ipv6_gateway(pif))
        assert record["IPv6"][0] not in global_addresses(host, "xenbr1")
        api.PIF.reconfigure_ipv6(pif, "Static", f"{PREFIX}:1/64", "", "")
        assert addresses(host, "xenbr1") == [f"{PREFIX}:1/64"]
        assert routes6(host, "default") == []
        assert until(lambda: reaches(host, f"{PREFIX}:254"))


def test_a_pif_that_is_not_the_gateways_takes_no_default_route(site: Site, tmp_path: Path) -> None:
    api, host, pif = site.pool.api, site.host, site.pif("eth1")
    with router6(site.router, tmp_path, f"{PREFIX}:,ra-only"):
        api.PIF.reconfigure_ipv6(pif, "Autoconf", "", "", "")
        until(lambda: api.PIF.get_IPv6(pif))
        assert routes6(host, "default") == []
        api.PIF.set_primary_address_type(pif, "IPv6")
        until(lambda: routes6(host, "default"))
        until(lambda: api.PIF.get_ipv6_gateway(pif))
        api.PIF.set_primary_address_type(pif, "IPv4")
        until(lambda: routes6(host, "default") == [])
        assert global_addresses(host, "xenbr1") == api.PIF.get_IPv6(pif) != []


def test_no_dhcpv6_server_is_a_failure_that_changes_nothing(site: Site) -> None:
    api, pif = site.pool.api, site.pif("eth1")
    before = api.PIF.get_record(pif)
    details = refusal(api.PIF.reconfigure_ipv6, pif, "DHCP", "", "", "")
    assert details[:2] == ["PIF_CONFIGURATION_ERROR", pif]
    assert "no DHCP server answered on xenbr1" in details[2]
    assert api.PIF.get_record(pif) == before
    until(lambda: addresses(site.host, "xenbr1") == [])


def test_autoconf_waits_for_no_router(site: Site) -> None:
    api, pif = site.pool.api, site.pif("eth1")
    api.PIF.reconfigure_ipv6(pif, "Autoconf", "", "", "")
    assert (api.PIF.get_ipv6_configuration_mode(pif), api.PIF.get_IPv6(pif)) == ("Autoconf", [])
    assert global_addresses(site.host, "xenbr1") == []
