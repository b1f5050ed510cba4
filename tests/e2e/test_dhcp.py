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
def dhcp_server(router: Namespace, folder: Path, first: str = "10.1.0.50", last: str = "10.1.0.60", device: str = "r1") -> Iterator[None]:
    config = folder / "udhcpd.conf"
    (folder / "leases").touch()
    config.write_text(
        f"start {first}\nend {last}\ninterface {device}\nlease_file {folder}/leases\npidfile {folder}/pid\n"
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
        made.start_agent("host1", netns=host, nics="eth0,eth1", extra=("--resolv-conf", str(tmp_path / "etc/resolv.conf")))
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
    until(lambda: addresses(site.host, "xenbr1") == [])


def test_a_server_that_comes_late(site: Site, tmp_path: Path) -> None:
    api, pif = site.pool.api, site.pif("eth1")
    task = api.Async.PIF.reconfigure_ip(pif, "DHCP", "", "", "", "")
    assert api.task.get_status(task) == "pending"
    with dhcp_server(site.router, tmp_path):
        until(lambda: api.task.get_status(task) == "success", 30)
        assert addresses(site.host, "xenbr1") != []


def test_the_hosts_resolver(site: Site, tmp_path: Path) -> None:
    """What DHCP gave, or what the PIF was given, is in the host's resolv.conf; a host without any keeps the one that it has."""
    api, pif, own, asked = site.pool.api, site.pif("eth1"), tmp_path / "host1/resolv.conf", tmp_path / "etc/resolv.conf"
    asked.parent.mkdir()
    asked.write_text("nameserver 192.0.2.53\n")
    with dhcp_server(site.router, tmp_path):
        api.PIF.reconfigure_ip(pif, "DHCP", "", "", "", "")
        text = "# xenet: the DNS of PIF eth1\nnameserver 10.1.0.53\n"
        until(lambda: own.read_text() == asked.read_text() == text)
    api.PIF.set_other_config(pif, {"domain": "lab.example"})
    api.PIF.reconfigure_ip(pif, "Static", "10.1.0.9", "255.255.255.0", "", "10.1.0.99")
    text = "# xenet: the DNS of PIF eth1\nsearch lab.example\nnameserver 10.1.0.99\n"
    until(lambda: own.read_text() == asked.read_text() == text)
    api.PIF.set_other_config(site.pif("eth0"), {"peerdns": "true"})
    api.PIF.reconfigure_ip(site.pif("eth0"), "Static", "10.0.0.9", "255.255.255.0", "", "10.0.0.99")
    until(lambda: own.read_text() == asked.read_text() == "# xenet: the DNS of PIF eth0\nnameserver 10.0.0.99\n")
    for device in ("eth0", "eth1"):
        api.PIF.reconfigure_ip(site.pif(device), "None", "", "", "", "")
    until(lambda: own.read_text() == "")
    assert asked.read_text() == "# xenet: the DNS of PIF eth1\nsearch lab.example\nnameserver 10.1.0.99\n", "left as it was"
