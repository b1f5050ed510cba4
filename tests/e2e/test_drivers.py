"""What drivers are told, from the API to `ethtool`: gro and ethtool-* of PIFs, networks and VIFs, at once; what others change is mended."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import Pool, pool, until
from tests.netns import Namespace, cable, namespaces, ping

pytestmark = pytest.mark.kernel


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Pool, Namespace, Namespace]]:
    with namespaces(2) as (host, far), pool(tmp_path) as made:
        cable(host, "eth0", far, "wire")
        made.start_agent("host1", netns=host)
        made.wait_for("host1")
        yield made, host, far


def feature(host: Namespace, device: str, name: str) -> str:
    found = re.search(rf"^{name}: (on|off)", host.command("ethtool", "-k", device), re.MULTILINE)
    assert found
    return found[1]


GRO, TSO, TX = "generic-receive-offload", "tcp-segmentation-offload", "tx-checksumming"


def test_gro_follows_the_property_and_is_kept(site: tuple[Pool, Namespace, Namespace]) -> None:
    world, host, far = site
    api = world.api
    pif = api.host.get_PIFs(world.host("host1"))[0]
    assert feature(host, "eth0", GRO) == "on", "what the new PIF says is true, whatever the driver's own choice"
    api.PIF.set_property(pif, "gro", "off")
    assert feature(host, "eth0", GRO) == "off"
    host.command("ethtool", "-K", "eth0", "gro", "on")
    until(lambda: feature(host, "eth0", GRO) == "off")
    world.kill("host1")
    host.command("ethtool", "-K", "eth0", "gro", "on")
    world.start_agent("host1")
    until(lambda: feature(host, "eth0", GRO) == "off")
    world.wait_for("host1")
    api.PIF.add_to_other_config(pif, "ethtool-gro", "on")
    until(lambda: feature(host, "eth0", GRO) == "on")
    assert api.PIF.get_properties(pif) == {"gro": "off"}, "the other_config is stronger"
    far.ip("address", "add", "10.0.0.254/24", "dev", "wire")
    guest = world.start(world.vm("a", world.external()), "host1", "10.0.0.1/24")
    assert ping(guest, "10.0.0.254")
    api.VM.hard_shutdown(api.VM.get_by_name_label("a")[0])
    api.PIF.forget(pif)
    assert feature(host, "eth0", GRO) == "on", "a NIC that is given back keeps what it was told"
    host.command("ethtool", "-K", "eth0", "gro", "off")
    vm = world.vm("b", world.network("inside"))
    world.start(vm, "host1")
    assert feature(host, "eth0", GRO) == "off", "it is its administrator's now"


def test_keys_of_pifs_networks_and_vifs(site: tuple[Pool, Namespace, Namespace]) -> None:
    world, host, _ = site
    api, network = world.api, world.external()
    pif = api.network.get_PIFs(network)[0]
    vm = world.vm("a", network)
    vif = api.VM.get_VIFs(vm)[0]
    api.VIF.add_to_other_config(vif, "ethtool-tx", "off")
    world.start(vm, "host1")
    device = world.device(vif)
    assert feature(host, device, TX) == "off"
    api.VIF.set_other_config(vif, {"ethtool-tx": "on", "ethtool-gso": "maybe"})
    until(lambda: feature(host, device, TX) == "on")
    api.network.add_to_other_config(network, "ethtool-tso", "off")
    until(lambda: feature(host, "xenbr0", TSO) == "off")
    api.PIF.set_other_config(pif, {"ethtool-tso": "off", "ethtool-speed": "fast", "ethtool-lro": "on"})
    until(lambda: feature(host, "eth0", TSO) == "off")
    assert api.PIF.get_currently_attached(pif) is True
    log = (world.folder / "host1.log").read_text()
    assert [log.count(text) for text in ("ethtool-gso=maybe is ignored", "ethtool-speed=fast is ignored")] == [1, 1]
    until(lambda: (world.folder / "host1.log").read_text().count("eth0 does not do lro on") == 1)
    api.VM.hard_shutdown(vm)
    api.PIF.unplug(pif)
    api.PIF.plug(pif)
    assert (world.folder / "host1.log").read_text().count("eth0 does not do lro on") == 1
    assert feature(host, "eth0", TSO) == "off"
