"""MTUs: a network's, a PIF's own, a VIF's own; they take effect at the next plug, as in XenServer, and jumbo frames then pass end to end."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import XenAPI

from tests.e2e.world import Inside, Pool, links, pool, until
from tests.netns import Namespace, cable, namespaces, ping

pytestmark = pytest.mark.kernel


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Pool, Namespace, Namespace]]:
    with namespaces(2) as (one, two), pool(tmp_path) as made:
        cable(one, "eth0", two, "eth0")
        for name, namespace in (("host1", one), ("host2", two)):
            namespace.ip("link", "set", "eth0", "mtu", "9000")
            made.start_agent(name, netns=namespace)
        made.wait_for("host1", "host2")
        yield made, one, two


def passes(guest: Inside, target: str, size: int) -> bool:
    """An unfragmented echo request of so many bytes, headers included."""
    return guest(_ping, target, size)


def _ping(target: str, size: int) -> bool:
    return subprocess.run(["ping", "-c1", "-W2", "-M", "do", "-s", str(size - 28), target], check=False, capture_output=True).returncode == 0


def test_jumbo_frames_end_to_end_once_all_is_plugged_anew(site: tuple[Pool, Namespace, Namespace]) -> None:
    world, one, two = site
    api, network = world.api, world.external()
    first, second = world.vm("a", network), world.vm("b", network)
    guest = world.start(first, "host1", "10.0.0.1/24")
    world.start(second, "host2", "10.0.0.2/24")
    assert ping(guest, "10.0.0.2")
    assert not passes(guest, "10.0.0.2", 9000)
    api.network.set_MTU(network, "9000")
    assert links(one)["xenbr0"]["mtu"] == 1500, "a setter alone changes nothing"
    for vm in (first, second):
        api.VM.hard_shutdown(vm)
    for pif in api.network.get_PIFs(network):
        api.PIF.unplug(pif)
        api.PIF.plug(pif)
        assert api.PIF.get_MTU(pif) == "9000"
    for namespace in (one, two):
        assert {links(namespace)[device]["mtu"] for device in ("eth0", "xenbr0")} == {9000}
    guest = world.start(first, "host1", "10.0.0.1/24")
    world.start(second, "host2", "10.0.0.2/24")
    assert ping(guest, "10.0.0.2")
    assert passes(guest, "10.0.0.2", 9000)
    assert not passes(guest, "10.0.0.2", 9001)
    assert api.VIF.get_MTU(api.VM.get_VIFs(first)[0]) == "9000"
    for vm in (first, second):
        api.VM.hard_shutdown(vm)


def test_a_pif_and_a_vif_with_an_mtu_of_their_own(site: tuple[Pool, Namespace, Namespace]) -> None:
    world, one, _ = site
    api, network = world.api, world.external()
    pif = next(ref for ref in api.network.get_PIFs(network) if api.PIF.get_host(ref) == world.host("host1"))
    api.PIF.set_other_config(pif, {"mtu": "4000"})
    api.PIF.unplug(pif)
    api.PIF.plug(pif)
    assert links(one)["xenbr0"]["mtu"] == 4000
    vm = world.vm("own", network)
    vif = api.VM.get_VIFs(vm)[0]
    api.VIF.set_other_config(vif, {"mtu": "1400"})
    guest = world.start(vm, "host1")
    assert links(one)[world.device(vif)]["mtu"] == 1400
    assert "mtu 1400" in guest.command("ip", "link", "show", "eth0")
    assert links(one)["xenbr0"]["mtu"] == 4000, "one VIF's MTU is its own affair"
    api.VM.hard_shutdown(vm)


def test_where_larger_frames_are_lost_has_a_name(site: tuple[Pool, Namespace, Namespace]) -> None:
    """Only one of two hosts has its PIF plugged anew: the other's NIC is the one that drops, and the list says so."""
    world, _, _ = site
    api, network = world.api, world.external()
    api.network.set_MTU(network, "9000")
    pifs = {api.host.get_name_label(api.PIF.get_host(pif)): pif for pif in api.network.get_PIFs(network)}
    api.PIF.plug(pifs["host1"])
    first, second = world.vm("a", network), world.vm("b", network)
    guest, other = world.start(first, "host1", "10.0.0.1/24"), world.start(second, "host2", "10.0.0.2/24")
    assert ping(guest, "10.0.0.2")
    assert [api.VIF.get_MTU(api.VM.get_VIFs(vm)[0]) for vm in (first, second)] == ["9000", "1500"]
    assert (passes(guest, "10.0.0.2", 1500), passes(guest, "10.0.0.2", 1501)) == (True, False)
    rows = api.network.get_mtus(network)
    assert {(row["host"], row["device"]) for row in rows if int(row["mtu"]) < 9000} == {
        ("host2", "eth0"),
        ("host2", world.device(api.VM.get_VIFs(second)[0])),
    }
    api.PIF.plug(pifs["host2"])
    api.VM.hard_reboot(second)
    other = world.inside(second, "host2")
    other.command("ip", "address", "add", "10.0.0.2/24", "dev", "eth0")
    assert ping(guest, "10.0.0.2")
    assert passes(guest, "10.0.0.2", 9000)
    assert [row["mtu"] for row in api.network.get_mtus(network)] == ["9000"] * 4
    for vm in (first, second):
        api.VM.hard_shutdown(vm)


def test_a_nic_that_takes_no_larger_frames_refuses_and_is_named(tmp_path: Path) -> None:
    """A macvlan takes as much as the device below it, by the kernel's word alone."""
    with namespaces(2) as (host, far), pool(tmp_path) as world:
        cable(host, "under", far, "wire")
        host.ip("link", "add", "eth0", "link", "under", "type", "macvlan")
        host.ip("link", "set", "eth0", "up")
        world.start_agent("host1", netns=host)
        world.wait_for("host1")
        api, network = world.api, world.external()
        pif = api.network.get_PIFs(network)[0]
        api.network.set_MTU(network, "4000")
        with pytest.raises(XenAPI.Failure) as refused:
            api.PIF.plug(pif)
        assert refused.value.details[:2] == ["PIF_CONFIGURATION_ERROR", pif]
        assert "eth0 does not take MTU 4000" in refused.value.details[2]
        assert api.PIF.get_MTU(pif) == "1500"
        until(lambda: (links(host)["eth0"]["mtu"], links(host)["eth0"].get("master")) == (1500, "xenbr0"))
        host.ip("link", "set", "under", "mtu", "4000")
        api.PIF.plug(pif)
        assert links(host)["eth0"]["mtu"] == 4000


def test_a_vif_larger_than_its_switch_is_refused(site: tuple[Pool, Namespace, Namespace]) -> None:
    world, _, _ = site
    api = world.api
    vm = world.vm("large", world.external())
    vif = api.VM.get_VIFs(vm)[0]
    api.VIF.set_other_config(vif, {"mtu": "9000"})
    with pytest.raises(XenAPI.Failure) as refused:
        world.start(vm, "host1")
    code, text = refused.value.details
    assert (code, "that eth0 passes on host1" in text) == ("OPERATION_NOT_ALLOWED", True)
    assert api.VM.get_power_state(vm) == "Halted"
    api.VIF.set_other_config(vif, {})
    world.start(vm, "host1")
    api.VM.hard_shutdown(vm)
