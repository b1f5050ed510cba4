"""DHCP on a host's interface: a real client, a real server as an outside machine."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_host_addresses import addresses, default_device
from tests.e2e.test_pif_life import Site, refusal
from tests.e2e.world import pool, until
from tests.netns import Namespace, cable, namespaces, ping

pytestmark = pytest.mark.kernel


@contextmanager
def dhcp_server(router: Namespace, folder: Path, first: str = "10.1.0.50", last: str = "10.1.0.60") -> Iterator[None]:
    config = folder / "udhcpd.conf"
    (folder / "leases").touch()
    config.write_text(
        f"start {first}\nend {last}\ninterface r1\nlease_file {folder}/leases\npidfile {folder}/pid\n"
        "option subnet 255.255.255.0\noption router 10.1.0.254\noption dns 10.1.0.53\noption lease 20\n"
    )
    process = router(subprocess.Popen, ["udhcpd", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
            router.ip("address", "add", f"10.{nic}.0.254/24", "dev", f"r{nic}")
        made.start_agent("host1", netns=host, nics="eth0,eth1")
        made.wait_for("host1")
        yield Site(made, host, router)


def test_an_address_by_dhcp_and_back(site: Site, tmp_path: Path) -> None:
    api, pif = site.pool.api, site.pif("eth1")
    with dhcp_server(site.router, tmp_path):
        api.PIF.reconfigure_ip(pif, "DHCP", "", "", "", "")
        record = api.PIF.get_record(pif)
        assert record["IP"].startswith("10.1.0.")
        assert (record["netmask"], record["gateway"], record["DNS"]) == ("255.255.255.0", "10.1.0.254", "10.1.0.53")
        assert addresses(site.host, "xenbr1") == [f"{record['IP']}/24"]
        assert default_device(site.host) == "xenbr1"
        assert ping(site.host, "10.1.0.254")
        site.host.ip("address", "flush", "dev", "xenbr1")
        until(lambda: addresses(site.host, "xenbr1") == [f"{record['IP']}/24"])
        site.restart()
        assert addresses(site.host, "xenbr1") == [f"{record['IP']}/24"], "a restart of the agent does not take it away"
        api.PIF.reconfigure_ip(pif, "None", "", "", "", "")
        assert addresses(site.host, "xenbr1") == []


def test_no_server_is_a_failure_that_changes_nothing(site: Site) -> None:
    pif = site.pif("eth1")
    before = site.pool.api.PIF.get_record(pif)
    details = refusal(site.pool.api.PIF.reconfigure_ip, pif, "DHCP", "", "", "", "")
    assert details[:2] == ["PIF_CONFIGURATION_ERROR", pif]
    assert "no DHCP server answered on xenbr1" in details[2]
    assert site.pool.api.PIF.get_record(pif) == before
    assert addresses(site.host, "xenbr1") == []


def test_a_server_that_comes_late(site: Site, tmp_path: Path) -> None:
    api, pif = site.pool.api, site.pif("eth1")
    task = api.Async.PIF.reconfigure_ip(pif, "DHCP", "", "", "", "")
    assert api.task.get_status(task) == "pending"
    with dhcp_server(site.router, tmp_path):
        until(lambda: api.task.get_status(task) == "success", 30)
        assert addresses(site.host, "xenbr1") != []
