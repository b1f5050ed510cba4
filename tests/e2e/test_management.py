"""Where a host is reached: on a NIC that its administrator configures by hand, beside a storage interface, and after every way to lose it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_door import answers, port
from tests.e2e.test_host_addresses import addresses, default_device, static
from tests.e2e.test_pif_life import Site, picture, refusal
from tests.e2e.world import links, pool, until
from tests.netns import cable, namespaces, ping

pytestmark = pytest.mark.kernel


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A host with two NICs, each with a network of its own to a router that forwards between none of them."""
    with namespaces(2) as (host, router), pool(tmp_path) as made:
        for nic in (0, 1):
            cable(host, f"eth{nic}", router, f"r{nic}")
            router.ip("address", "add", f"10.{nic}.0.254/24", "dev", f"r{nic}")
        router.ip("address", "add", "192.0.2.1/32", "dev", "lo")
        made.start_agent("host1", netns=host, nics="eth0,eth1")
        made.wait_for("host1")
        yield Site(made, host, router)


def managed_by(site: Site, device: str, address: str, gateway: str = "") -> str:
    """Management on this PIF, with a static address; the API answers there when this returns."""
    pif = static(site, device, address, gateway)
    site.pool.api.host.management_reconfigure(pif)
    until(lambda: answers(site.router, address, port(site)))
    return pif


def unmanaged(site: Site, device: str) -> str:
    """The NIC is its administrator's from here on."""
    api = site.pool.api
    api.PIF.forget(site.pif(device))
    pif = api.PIF.introduce(site.ref, "", device, False)
    until(lambda: "tentative" not in picture(site.host, device))
    return str(pif)


def xe(site: Site, *words: str) -> str:
    """`xe` on the host itself: at the server's Unix socket."""
    command = [sys.executable, "-m", "xenet.cli.xe", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "XENET_SOCKET": site.pool.socket}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- an unmanaged PIF ------------------------------------------------------------------------------


def test_the_api_follows_the_address_that_an_administrator_sets(site: Site) -> None:
    api, host, router = site.pool.api, site.host, site.router
    number = port(site)
    first, pif = managed_by(site, "eth0", "10.0.0.1"), unmanaged(site, "eth1")
    api.host.management_reconfigure(pif)
    assert api.host.get_management_interface(site.ref) == pif
    assert answers(router, "10.0.0.1", number), "as long as the device has no address, the old door stays"
    host.ip("address", "add", "10.1.0.7/24", "dev", "eth1")
    until(lambda: answers(router, "10.1.0.7", number))
    before = picture(host, "eth1")
    assert not answers(router, "10.0.0.1", number)
    shown = {"IP": "10.1.0.7", "netmask": "255.255.255.0", "gateway": "", "ip_configuration_mode": "None", "management": True, "managed": False}
    record = api.PIF.get_record(pif)
    assert {name: record[name] for name in shown} == shown
    assert api.host.get_address(site.ref) == "10.1.0.7"
    site.restart()
    assert answers(router, "10.1.0.7", number)
    site.pool.kill("server")
    site.pool.start_server()
    site.pool.wait_for("host1")
    api, number = site.pool.api, port(site)
    until(lambda: answers(router, "10.1.0.7", number))
    assert picture(host, "eth1") == before
    host.ip("address", "add", "10.1.0.8/24", "dev", "eth1")
    host.ip("address", "del", "10.1.0.7/24", "dev", "eth1")
    host.ip("address", "replace", "10.1.0.8/24", "dev", "eth1")
    until(lambda: answers(router, "10.1.0.8", number))
    before = picture(host, "eth1")
    assert refusal(api.PIF.reconfigure_ip, pif, "Static", "10.1.0.9", "255.255.255.0", "", "") == ["PIF_UNMANAGED", pif]
    assert refusal(api.PIF.forget, pif) == ["PIF_IS_MANAGEMENT_INTERFACE", pif]
    assert refusal(api.PIF.db_forget, pif) == ["PIF_IS_MANAGEMENT_INTERFACE", pif]
    api.host.management_reconfigure(first)
    until(lambda: answers(router, "10.0.0.1", number))
    assert not answers(router, "10.1.0.8", number)
    assert api.host.get_address(site.ref) == "10.0.0.1"
    api.PIF.forget(pif)
    assert picture(host, "eth1") == before


def test_an_unmanaged_management_interface_has_its_administrators_default_route(site: Site) -> None:
    api, host = site.pool.api, site.host
    first, pif = managed_by(site, "eth0", "10.0.0.1", "10.0.0.254"), unmanaged(site, "eth1")
    host.ip("address", "add", "10.1.0.7/24", "dev", "eth1")
    until(lambda: api.PIF.get_IP(pif) == "10.1.0.7")
    assert default_device(host) == "xenbr0"
    api.host.management_reconfigure(pif)
    assert default_device(host) is None
    host.ip("route", "add", "default", "via", "10.1.0.254", "metric", "100")
    until(lambda: api.PIF.get_gateway(pif) == "10.1.0.254")
    before = host.ip("-j", "-d", "route", "show", "dev", "eth1"), picture(host, "eth1")
    assert ping(host, "192.0.2.1")
    api.host.management_reconfigure(first)
    assert default_device(host) == "xenbr0"
    assert (host.ip("-j", "-d", "route", "show", "dev", "eth1"), picture(host, "eth1")) == before


# --- a storage interface ---------------------------------------------------------------------------


def test_a_storage_interface_beside_management(site: Site) -> None:
    api, host, router = site.pool.api, site.host, site.router
    management = managed_by(site, "eth0", "10.0.0.1", "10.0.0.254")
    storage = static(site, "eth1", "10.1.0.1", "10.1.0.254")
    uuid = api.PIF.get_uuid(storage)
    xe(site, "pif-param-set", f"uuid={uuid}", "disallow-unplug=true", "other-config:management_purpose=Storage")
    assert xe(site, "pif-param-get", f"uuid={uuid}", "param-name=other-config", "param-key=management_purpose") == "Storage"
    assert refusal(api.PIF.unplug, storage) == ["PIF_DOES_NOT_ALLOW_UNPLUG", storage]
    assert (addresses(host, "xenbr0"), addresses(host, "xenbr1")) == (["10.0.0.1/24"], ["10.1.0.1/24"])
    for address in ("10.0.0.1", "10.1.0.1"):
        assert ping(router, address)
    assert default_device(host) == "xenbr0"
    assert ping(host, "192.0.2.1")
    assert not answers(router, "10.1.0.1", port(site)), "the API is for the management network"
    api.host.management_reconfigure(storage)
    assert addresses(host, "xenbr0") == ["10.0.0.1/24"], "what was management keeps its address"
    assert api.PIF.get_other_config(storage) == {"management_purpose": "Storage"}
    assert api.PIF.get_disallow_unplug(storage) is True
    api.host.management_reconfigure(management)
    site.restart()
    for address in ("10.0.0.1", "10.1.0.1"):
        assert ping(router, address)
    assert default_device(host) == "xenbr0"
    api.PIF.reconfigure_ip(storage, "None", "", "", "", "")
    assert addresses(host, "xenbr1") == []


# --- a change that would cut management ------------------------------------------------------------


def test_a_change_behind_which_the_gateway_is_silent_is_undone(site: Site) -> None:
    api, host, router = site.pool.api, site.host, site.router
    number, pif = port(site), managed_by(site, "eth0", "10.0.0.1", "10.0.0.254")
    before = api.PIF.get_record(pif)
    why = "gateway 10.0.0.99 did not answer through xenbr0 within 10 s"
    arguments = "Static", "10.0.0.2", "255.255.255.0", "10.0.0.99", ""
    assert refusal(api.PIF.reconfigure_ip, pif, *arguments) == ["PIF_CONFIGURATION_ERROR", pif, why]
    assert api.PIF.get_record(pif) == before
    assert api.host.get_address(site.ref) == "10.0.0.1"
    until(lambda: addresses(host, "xenbr0") == ["10.0.0.1/24"])
    assert answers(router, "10.0.0.1", number)
    assert default_device(host) == "xenbr0"
    api.PIF.reconfigure_ip(pif, "Static", "10.0.0.2", "255.255.255.0", "10.0.0.254", "")
    until(lambda: answers(router, "10.0.0.2", number))


def test_a_move_behind_which_the_gateway_is_silent_is_undone(site: Site) -> None:
    api, router = site.pool.api, site.router
    number, first = port(site), managed_by(site, "eth0", "10.0.0.1", "10.0.0.254")
    second = static(site, "eth1", "10.1.0.1", "10.1.0.254")
    router.ip("link", "set", "r1", "arp", "off")
    why = "gateway 10.1.0.254 did not answer through xenbr1 within 10 s"
    assert refusal(api.host.management_reconfigure, second) == ["PIF_CONFIGURATION_ERROR", second, why]
    assert [api.PIF.get_management(pif) for pif in (first, second)] == [True, False]
    assert answers(router, "10.0.0.1", number)
    until(lambda: default_device(site.host) == "xenbr0")
    assert refusal(api.pool.management_reconfigure, api.PIF.get_network(second)) == ["PIF_CONFIGURATION_ERROR", second, why]
    assert api.host.get_management_interface(site.ref) == first
    router.ip("link", "set", "r1", "arp", "on")
    api.host.management_reconfigure(second)
    until(lambda: answers(router, "10.1.0.1", number))


# --- without any management interface --------------------------------------------------------------


def test_the_host_itself_gets_management_back(site: Site) -> None:
    """With no door left, `xe` at the Unix socket still works; it is how an administrator at the console mends it."""
    api, router = site.pool.api, site.router
    number, pif = port(site), managed_by(site, "eth0", "10.0.0.1")
    assert xe(site, "host-management-disable") == ""
    until(lambda: not answers(router, "10.0.0.1", number))
    assert addresses(site.host, "xenbr0") == ["10.0.0.1/24"], "only the API is gone"
    assert api.host.get_address(site.ref) == ""
    site.restart()
    assert not answers(router, "10.0.0.1", number)
    xe(site, "host-management-reconfigure", f"pif-uuid={api.PIF.get_uuid(pif)}")
    until(lambda: answers(router, "10.0.0.1", number))
    assert refusal(api.host.local_management_reconfigure, "xenbr0") == ["NOT_IN_EMERGENCY_MODE"]


def test_no_cable_is_no_reason_to_refuse_a_first_management_interface(site: Site) -> None:
    """Nothing can be cut off where nothing was."""
    pif = static(site, "eth0", "10.0.0.1", "10.0.0.99")
    site.pool.api.host.management_reconfigure(pif)
    until(lambda: answers(site.router, "10.0.0.1", port(site)))
    assert links(site.host)["xenbr0"]["operstate"] == "UP"
