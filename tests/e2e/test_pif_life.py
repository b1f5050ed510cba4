"""PIFs come and go while the host runs: forgotten NICs are left alone, and found again."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import XenAPI

from tests.e2e.world import PASSWORD, Pool, links, pool, ports, until
from tests.netns import Namespace, cable, namespaces, ping

pytestmark = pytest.mark.kernel
WATCHED = ["PIF_metrics", "PIF", "message"]


class Site:
    def __init__(self, made: Pool, host: Namespace, router: Namespace) -> None:
        self.pool, self.host, self.router = made, host, router
        self.ref = made.host("host1")

    def pif(self, device: str) -> str:
        api = self.pool.api
        found = [ref for ref in api.host.get_PIFs(self.ref) if api.PIF.get_device(ref) == device]
        assert len(found) == 1
        return str(found[0])

    def has_pif(self, device: str) -> bool:
        return any(record["device"] == device for record in self.pool.api.PIF.get_all_records().values())

    def restart(self) -> None:
        self.pool.kill("host1")
        self.pool.start_agent("host1")
        self.pool.wait_for("host1")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with namespaces(2) as (host, router), pool(tmp_path) as made:
        for nic in (0, 1):
            cable(host, f"eth{nic}", router, f"r{nic}")
            router.ip("address", "add", f"10.{nic}.0.254/24", "dev", f"r{nic}")
        made.start_agent("host1", netns=host, nics="eth0,eth1")
        made.wait_for("host1")
        yield Site(made, host, router)


def refusal(function: object, *args: object) -> list[str]:
    with pytest.raises(XenAPI.Failure) as caught:
        function(*args)  # type: ignore[operator]
    details: list[str] = caught.value.details
    return details


@contextmanager
def client(world: Pool) -> Iterator[XenAPI.Session]:
    """Another one, for what waits."""
    session = XenAPI.Session(world.url)
    session.login_with_password("root", PASSWORD)
    try:
        yield session
    finally:
        session.xenapi.session.logout()
        session("close")()


def picture(host: Namespace, device: str) -> str:
    return host.ip("-j", "-d", "address", "show", "dev", device)


def test_forgotten_nic_is_left_alone_until_it_is_introduced(site: Site) -> None:
    api, host = site.pool.api, site.host
    network = site.pool.external("xenbr1")
    api.PIF.forget(site.pif("eth1"))
    assert not site.has_pif("eth1")
    assert "master" not in links(host)["eth1"]
    assert "xenbr1" not in links(host)
    assert api.network.get_PIFs(network) == []
    host.ip("address", "add", "10.1.0.1/24", "dev", "eth1")
    assert ping(host, "10.1.0.254")
    until(lambda: "tentative" not in picture(host, "eth1"))
    before = picture(host, "eth1")
    site.restart()
    site.pool.kill("server")
    site.pool.start_server()
    site.pool.wait_for("host1")
    api = site.pool.api
    vm = site.pool.vm("busy", site.pool.external("xenbr0"))
    site.pool.start(vm, "host1")
    assert not site.has_pif("eth1")
    assert picture(host, "eth1") == before
    host.ip("address", "flush", "dev", "eth1")
    pif = api.PIF.introduce(site.ref, "", "eth1")
    assert api.PIF.get_network(pif) == network
    assert api.PIF.get_currently_attached(pif) is False
    assert "master" not in links(host)["eth1"]
    api.PIF.plug(pif)
    assert links(host)["eth1"]["master"] == "xenbr1"
    assert refusal(api.PIF.introduce, site.ref, "", "eth1") == ["DUPLICATE_PIF_DEVICE_NAME", "eth1"]
    code = "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS"
    assert refusal(api.PIF.introduce, site.ref, "", "eth7") == [code, "eth7", ""]
    assert refusal(api.PIF.introduce, site.ref, "no", "eth7") == ["MAC_INVALID", "no"]
    api.VM.hard_shutdown(vm)


def test_scan_brings_a_forgotten_nic_back_unplugged(site: Site) -> None:
    api = site.pool.api
    api.PIF.forget(site.pif("eth1"))
    api.PIF.scan(site.ref)
    pif = site.pif("eth1")
    assert api.PIF.get_currently_attached(pif) is False
    assert "master" not in links(site.host)["eth1"]
    api.PIF.plug(pif)
    assert "eth1" in ports(site.host, "xenbr1")


def test_unmanaged_pif_is_never_configured(site: Site) -> None:
    api = site.pool.api
    api.PIF.forget(site.pif("eth1"))
    until(lambda: "tentative" not in picture(site.host, "eth1"))
    before = picture(site.host, "eth1")
    pif = api.PIF.introduce(site.ref, "", "eth1", False)
    network = api.PIF.get_network(pif)
    assert api.network.get_managed(network) is False
    assert api.network.get_bridge(network) == ""
    assert refusal(api.PIF.plug, pif) == ["PIF_UNMANAGED", pif]
    assert refusal(api.PIF.unplug, pif) == ["PIF_UNMANAGED", pif]
    site.restart()
    assert picture(site.host, "eth1") == before
    api.PIF.forget(pif)
    assert not site.has_pif("eth1")


def test_vms_on_a_forgotten_nics_network_lose_only_the_cable(site: Site) -> None:
    world = site.pool
    network = world.external("xenbr1")
    first, second = world.vm("a", network), world.vm("b", network)
    one = world.start(first, "host1", "10.1.0.1/24")
    world.start(second, "host1", "10.1.0.2/24")
    assert ping(one, "10.1.0.254")
    world.api.PIF.forget(site.pif("eth1"))
    assert not ping(one, "10.1.0.254", 1.0)
    assert ping(one, "10.1.0.2")
    for vm in (first, second):
        world.api.VM.hard_shutdown(vm)


def test_metrics_follow_a_pulled_cable(site: Site) -> None:
    api = site.pool.api
    metrics = api.PIF.get_metrics(site.pif("eth1"))
    assert api.PIF_metrics.get_carrier(metrics) is True
    site.router.ip("link", "set", "r1", "down")
    until(lambda: api.PIF_metrics.get_carrier(metrics) is False)
    site.router.ip("link", "set", "r1", "up")
    until(lambda: api.PIF_metrics.get_carrier(metrics) is True)


def test_a_waiting_client_hears_of_a_pulled_cable(site: Site) -> None:
    """PIF_metrics alone changes, with its time; XenServer raises no alert for a NIC's carrier, so there is none."""
    api = site.pool.api
    metrics = api.PIF.get_metrics(site.pif("eth1"))
    before = api.PIF_metrics.get_record(metrics)
    assert (before["speed"], before["duplex"]) == ("10000", True), "what a veth says of itself"
    with client(site.pool) as other, ThreadPoolExecutor(1) as thread:
        token = other.xenapi.event_from(WATCHED, "", 1.0)["token"]
        waiting = thread.submit(other.xenapi.event_from, WATCHED, token, 30.0)
        time.sleep(0.2)
        assert not waiting.done()
        site.router.ip("link", "set", "r1", "down")
        found = waiting.result(30)["events"]
    assert [(event["class"], event["operation"], event["ref"]) for event in found] == [("pif_metrics", "mod", metrics)]
    assert found[0]["snapshot"]["carrier"] is False
    assert found[0]["snapshot"]["last_updated"] > before["last_updated"]
    site.router.ip("link", "set", "r1", "up")
    until(lambda: api.PIF_metrics.get_carrier(metrics) is True)


def test_plug_unplug_and_their_refusals(site: Site) -> None:
    world, api = site.pool, site.pool.api
    pif, network = site.pif("eth1"), site.pool.external("xenbr1")
    api.PIF.unplug(pif)
    assert "xenbr1" not in links(site.host)
    assert api.PIF.get_currently_attached(pif) is False
    vm = world.vm("needs it", network)
    world.start(vm, "host1")
    assert api.PIF.get_currently_attached(pif) is True
    assert refusal(api.PIF.unplug, pif) == ["VIF_IN_USE", network, api.VM.get_VIFs(vm)[0]]
    api.VM.hard_shutdown(vm)
    api.PIF.set_disallow_unplug(pif, True)
    assert refusal(api.PIF.unplug, pif) == ["PIF_DOES_NOT_ALLOW_UNPLUG", pif]
    api.PIF.set_disallow_unplug(pif, False)
    api.PIF.unplug(pif)


def test_records_alone(site: Site) -> None:
    api = site.pool.api
    pif = site.pif("eth1")
    record = api.PIF.get_record(pif)
    assert refusal(api.PIF.db_forget, pif)[0] == "OPERATION_NOT_ALLOWED"
    api.PIF.unplug(pif)
    api.PIF.db_forget(pif)
    assert not site.has_pif("eth1")
    rest = [record["ip_configuration_mode"], "", "", "", "", "OpaqueRef:NULL", "OpaqueRef:NULL", False, {}]
    made = api.PIF.db_introduce("eth1", record["network"], site.ref, record["MAC"], record["MTU"], record["VLAN"], True, *rest)
    assert {k: v for k, v in api.PIF.get_record(made).items() if k not in ("uuid", "metrics", "currently_attached", "properties")} == {
        k: v for k, v in record.items() if k not in ("uuid", "metrics", "currently_attached", "properties")
    }
    api.PIF.plug(made)
    assert "eth1" in ports(site.host, "xenbr1")


def test_a_hosts_networking_begins_anew(site: Site) -> None:
    """A host with an address, management and a VM: all PIFs go, its NICs are left alone, the VM keeps its switch; then the way back."""
    world, api, host = site.pool, site.pool.api, site.host
    first, network = site.pif("eth0"), world.external("xenbr0")
    api.PIF.reconfigure_ip(first, "Static", "10.0.0.1", "255.255.255.0", "", "")
    api.host.management_reconfigure(first)
    vm = world.vm("a", network)
    guest = world.start(vm, "host1", "10.0.0.2/24")
    assert ping(guest, "10.0.0.254")
    api.host.reset_networking(site.ref)
    assert api.host.get_PIFs(site.ref) == []
    assert api.host.get_address(site.ref) == ""
    found = links(host)
    assert ("master" in found["eth0"], "master" in found["eth1"], "xenbr1" in found) == (False, False, False)
    assert "10.0.0.1" not in host.ip("address")
    assert not ping(guest, "10.0.0.254", 1.0)
    host.ip("link", "set", "eth1", "mtu", "1400")
    site.restart()
    assert links(host)["eth1"]["mtu"] == 1500, "an agent that starts takes the NICs that it was given"
    until(lambda: ping(guest, "10.0.0.254", 1.0))
    assert [api.PIF.get_ip_configuration_mode(site.pif(device)) for device in ("eth0", "eth1")] == ["None", "None"]
    api.VM.hard_shutdown(vm)
