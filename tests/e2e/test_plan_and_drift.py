"""`xenet plan`, `drift` and `check` on a real kernel: somebody else takes what xenet needs, and the programs say so until it is given back."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.world import Pool, links, pool, ports, until
from tests.netns import Namespace, cable, namespaces

pytestmark = pytest.mark.kernel


class Site:
    """A host with two NICs, and the programs."""

    def __init__(self, made: Pool, host: Namespace) -> None:
        self.pool = made
        self.host = host

    def xenet(self, *words: str, status: int = 0, socket: bool = True) -> str:
        environ = {**os.environ, "XENET_SOCKET": str(self.pool.folder / "xapi") if socket else "", "COLUMNS": "120"}
        done = subprocess.run([sys.executable, "-m", "xenet.cli.xenet", *words], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def drift(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads(self.xenet("drift", "--json"))
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with namespaces(2) as (host, far), pool(tmp_path_factory.mktemp("pool")) as made:
        for nic in range(2):
            cable(host, f"eth{nic}", far, f"far{nic}")
        made.start_agent("host1", netns=host, nics="eth0,eth1")
        made.wait_for("host1")
        yield Site(made, host)


def test_a_host_that_is_as_wanted_says_nothing(site: Site) -> None:
    world = site.pool
    world.start(world.vm("a", world.network("red"), world.external()), "host1")
    assert site.xenet("plan") == ""
    assert site.xenet("drift") == ""
    assert site.xenet("check") == ""
    assert site.xenet("check", "--state", str(world.folder), socket=False) == ""


def test_a_nic_that_another_bridge_took_is_drift_until_it_is_given_back(site: Site) -> None:
    network = site.pool.api.network.get_uuid(site.pool.external("xenbr1"))
    site.host.ip("link", "add", "br9", "type", "bridge")
    site.host.ip("link", "set", "eth1", "master", "br9")
    row = {"host": "host1", "class": "network", "uuid": network, "name": "xenbr1", "field": "uplink", "wanted": "eth1", "observed": ""}
    until(lambda: site.drift() == [row])
    assert until(lambda: "when last tried" in site.xenet("plan"))
    head, step, why = site.xenet("plan").splitlines()
    assert head == "# host1"
    assert step == f"ip link set eth1 mtu 1500 master xenbr1 up    # the network's PIF here: network {network}"
    assert why.strip() == "# when last tried: eth1 belongs to br9, which is not xenet's"
    assert "uplink" in site.xenet("drift")
    assert links(site.host)["eth1"]["master"] == "br9", "what is another's was touched"
    site.host.ip("link", "set", "eth1", "nomaster")
    until(lambda: site.drift() == [])
    assert "eth1" in ports(site.host, "xenbr1")
    assert site.xenet("plan") == ""


def test_a_bridges_name_that_another_has_taken_is_drift_of_all_that_hangs_there(site: Site) -> None:
    world = site.pool
    network = world.network("blue")
    bridge = world.api.network.get_bridge(network)
    vm = world.vm("b", network)
    world.start(vm, "host1")
    vif = world.api.VM.get_VIFs(vm)[0]
    device = world.device(vif)
    assert world.stop("host1") == 0
    site.host.ip("link", "del", bridge)
    site.host.ip("link", "add", bridge, "type", "bridge")
    told = site.xenet("plan", status=1)
    assert told == "xenet: host1: its agent is not there to answer (HOST_OFFLINE)\n"
    world.start_agent("host1")
    rows = until(lambda: site.pool.api.host_metrics.get_live(site.pool.api.host.get_metrics(site.pool.host("host1"))) and site.drift())
    assert [(row["class"], row["uuid"], row["name"], row["field"], row["wanted"], row["observed"]) for row in rows] == [
        ("network", world.api.network.get_uuid(network), bridge, "present", "true", "false"),
        ("VIF", world.api.VIF.get_uuid(vif), device, "bridge", bridge, ""),
    ]
    lines = site.xenet("plan").splitlines()
    assert lines[1].startswith(f"ip link add {bridge} ")
    assert any(f"master {bridge} up    # its VIF is plugged: VIF {world.api.VIF.get_uuid(vif)}" in line for line in lines)
    assert ports(site.host, bridge) == set(), "what is another's was touched"
    site.host.ip("link", "del", bridge)
    until(lambda: site.drift() == [])
    assert device in ports(site.host, bridge)
