"""MTUs: a network's, a PIF's own, a VIF's own; they take effect at the next plug, as in XenServer, and jumbo frames then pass end to end."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import Inside, Pool, links, pool
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
