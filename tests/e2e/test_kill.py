"""kill -9 of the server and of the agent at every step of a call: the store stays readable, the host ends as it says, nobody else notices."""

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from tests.e2e.forge import Forked
from tests.e2e.world import Pool, links, pool, ports, until
from tests.netns import Namespace, cable, namespaces

pytestmark = pytest.mark.kernel
DYING = Path(__file__).with_name("dying.py")
STEP = 1 if os.environ.get("XENET_LONG") else 2
"""Every moment in the long run, every second one otherwise."""


class Site:
    """A host with two VMs that ping each other all the time, and a third whose calls are interrupted."""

    def __init__(self, made: Pool, host: Namespace) -> None:
        self.pool = made
        self.namespace = host
        world = made
        self.quiet = [world.vm(name, world.external()) for name in ("q1", "q2")]
        self.pinger = world.start(self.quiet[0], "host1", "10.0.0.1/24")
        world.start(self.quiet[1], "host1", "10.0.0.2/24")
        self.network = world.network("shaken")
        self.bridge = world.api.network.get_bridge(self.network)
        self.vm = world.vm("shaken", self.network)
        world.start(self.vm, "host1")
        self.vif = world.api.VM.get_VIFs(self.vm)[0]

    def is_port(self) -> bool:
        return self.pool.device(self.vif) in ports(self.namespace, self.bridge)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with namespaces(2) as (host, far), pool(tmp_path_factory.mktemp("pool")) as made:
        cable(host, "eth0", far, "far0")
        made.start_agent("host1", netns=host)
        made.wait_for("host1")
        yield Site(made, host)


@pytest.fixture
def undisturbed(site: Site) -> Iterator[None]:
    """The other guests' packets flow all the while: none is lost."""
    assert "1 received" in site.pinger.command("ping", "-c1", "-W5", "10.0.0.2")
    ping: subprocess.Popen[str] = site.pinger.start("ping", "-q", "-i", "0.02", "-W5", "10.0.0.2")
    try:
        yield
    finally:
        ping.send_signal(signal.SIGINT)
        said = ping.communicate(timeout=20)[0]
    found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
    assert found, said
    # The last one may still be on its way when ping is told to stop.
    assert int(found[1]) - int(found[2]) <= 1, said
    assert int(found[1]) > 10


def attempt(call: Callable[[], Any]) -> None:
    """A call that may be answered, refused, or cut off."""
    try:
        call()
    except (XenAPI.Failure, OSError, http.client.HTTPException):
        return


def restart(world: Pool, name: str, *program: str) -> None:
    if name == "server":
        world.start_server(*program)
    else:
        world.start_agent(name, *program)
    world.wait_for(*world.hosts)


def struck(world: Pool, name: str, mark: Path, moment: int, call: Callable[[], Any], at_once: bool = False) -> bool:
    """Whether the process died in the call at this moment; it runs again, as it should, when this returns. `at_once`: an agent is started as soon
    as it has died, which the call may await; else after the call."""
    world.kill(name)
    restart(world, name, sys.executable, str(DYING), str(mark), str(moment))
    mark.touch()
    back = False
    try:
        with ThreadPoolExecutor(1) as thread:
            called = thread.submit(attempt, call)
            while at_once and name != "server" and not back and not called.done():
                if back := ended(world.processes[name], 0.02):
                    world.start_agent(name)
            called.result(90)
        if not back:
            ended(world.processes[name])  # what it still does after the answer counts, too
    finally:
        mark.unlink()
    # Only now, as it may have come to its last moment since.
    if (died := back or ended(world.processes[name])) and not back:
        world.processes.pop(name)
        restart(world, name)
    world.wait_for(*world.hosts)
    return died


def ended(process: "subprocess.Popen[bytes] | Forked", within: float = 0.3) -> bool:
    """Its last words may be here before its end is."""
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        return False
    return True


def settled(site: Site) -> bool:
    """No call in flight, and the host has exactly what the pool says."""
    api = site.pool.api
    record = api.VIF.get_record(site.vif)
    if record["current_operations"]:
        return False
    devices = links(site.namespace)
    return bool(record["currently_attached"] == site.is_port() == (site.bridge in devices))


def destroy(world: Pool, network: str) -> None:
    world.api.network.destroy(network)


def moments(last: int = 400, step: int = STEP) -> Iterator[int]:
    yield from range(1, last, step)


@pytest.mark.parametrize("victim", ["server", "host1"])
@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_kill_in_a_plug_and_an_unplug(site: Site, undisturbed: None, tmp_path: Path, victim: str, verb: str) -> None:
    world, deaths = site.pool, 0
    for moment in moments():
        prepare(site, verb)
        if not struck(world, victim, tmp_path / "mark", moment, lambda: getattr(world.api.VIF, verb)(site.vif)):
            break
        deaths += 1
        until(lambda: settled(site))
    world.kill(victim)
    restart(world, victim)
    until(lambda: settled(site))
    assert deaths >= 3


def prepare(site: Site, verb: str) -> None:
    """Attached before an unplug, detached before a plug."""
    api = site.pool.api
    if api.VIF.get_currently_attached(site.vif) == (verb == "plug"):
        (api.VIF.unplug if verb == "plug" else api.VIF.plug)(site.vif)
    until(lambda: settled(site))


@pytest.mark.parametrize("victim", ["server", "host1"])
def test_kill_in_a_network_destroy(site: Site, undisturbed: None, tmp_path: Path, victim: str) -> None:
    world, vif = site.pool, ""
    for moment in moments():
        network = world.network("doomed")
        vif = world.vif(site.vm, network, "7")
        if not struck(world, victim, tmp_path / "mark", moment, partial(destroy, world, network)):
            break
        there = {"network": network in world.api.network.get_all(), "VIF": vif in world.api.VIF.get_all()}
        assert there["network"] == there["VIF"]
        if there["network"]:
            world.api.network.destroy(network)
    assert vif not in world.api.VIF.get_all()
    until(lambda: settled(site))
