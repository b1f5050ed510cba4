"""What goes wrong around a migration: the announcement is lost, a cable is cut, the guest dies, both agents die. The VM ends on exactly one
host, nothing of it is on the other, and its network works as far as the cables do."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import XenAPI

from tests.e2e.test_kill import DYING, attempt, ended
from tests.e2e.world import PASSWORD, links, until
from tests.e2e.yard import HOSTS, Yard, yard
from xenet.guests.namespace import NamespaceGuests

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with yard(tmp_path_factory.mktemp("pool")) as made:
        made.guest.command("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        assert made.ping()
        yield made


def test_a_lost_announcement_is_made_up_for(site: Yard) -> None:
    """The physical switch drops what the VM says for half a second; nobody asks for the VM meanwhile."""
    source, target = site.where(), site.elsewhere()
    assert site.port_of(site.mac) == source
    hook = "type filter hook prerouting priority 0;"
    rule = f"add table bridge lost; add chain bridge lost in {{ {hook} }}; add rule bridge lost in ether saddr {site.mac} drop"
    site.switch.command("nft", rule)
    try:
        site.migrate(target)
        time.sleep(0.5)
        assert site.port_of(site.mac) in (source, ""), "the announcement was not lost"
    finally:
        site.switch.command("nft", "delete table bridge lost")
    until(lambda: site.port_of(site.mac) == target)
    assert site.ping()
    site.settle()


@pytest.mark.parametrize("end", ["source", "destination"])
def test_a_cut_cable(site: Yard, end: str) -> None:
    """The agents speak with the server all the same: the VM moves. Who is on its side of the cut reaches it, and all do when it is mended."""
    source, target = site.where(), site.elsewhere()
    cut = {"source": source, "destination": target}[end]
    site.switch.ip("link", "set", cut, "down")
    site.migrate(target)
    assert site.where() == target
    site.settle()
    site.others[target].command("ping", "-c1", "-W2", "10.0.0.1")
    site.switch.ip("link", "set", cut, "up")
    until(site.ping)


def guests(site: Yard, uuid: str) -> list[str]:
    """The hosts that have this guest."""
    return [host for host in HOSTS if NamespaceGuests(site.pool.folder / host / "guests").find(uuid)]


@pytest.mark.parametrize("after", [0.0, 0.015, 0.03, 0.05])
def test_the_guest_dies(site: Yard, after: float) -> None:
    """It is started again, where the VM then is."""
    api = site.pool.api
    vm = site.pool.vm("mortal", site.pool.external())
    uuid, vif = api.VM.get_uuid(vm), api.VM.get_VIFs(vm)[0]
    api.VM.start_on(vm, site.pool.host("host1"), False, False)
    namespace = NamespaceGuests(site.pool.folder / "host1" / "guests").find(uuid)
    assert namespace is not None
    killing = threading.Timer(after, os.kill, (namespace.pid, signal.SIGKILL))
    killing.start()
    attempt(lambda: api.VM.pool_migrate(vm, site.pool.host("host2"), {}))
    killing.join()
    until(lambda: is_whole(site, vm, vif, uuid))
    found = NamespaceGuests(site.pool.folder / guests(site, uuid)[0] / "guests").find(uuid)
    assert found is not None
    assert found.pid != namespace.pid
    api.VM.hard_shutdown(vm)
    api.VM.destroy(vm)


def is_whole(site: Yard, vm: str, vif: str, uuid: str) -> bool:
    """On one host: the guest, and its one device."""
    api = site.pool.api
    home = api.host.get_name_label(api.VM.get_resident_on(vm))
    devices = {host: {name for name, link in links(place).items() if f"vm={uuid}" in link.get("ifalias", "")} for host, place in site.hosts.items()}
    there = devices.pop(home) == {site.pool.device(vif)} and not any(devices.values())
    return there and guests(site, uuid) == [home] and not api.VM.get_current_operations(vm)


def migrated(site: Yard, target: str) -> None:
    """In a session of its own: the other one looks at the hosts meanwhile."""
    session = XenAPI.Session(site.pool.url)
    try:
        session.login_with_password("root", PASSWORD)
        session.xenapi.VM.pool_migrate(site.vm, session.xenapi.host.get_by_name_label(target)[0], {})
    finally:
        session("close")()


@pytest.mark.parametrize("back_first", ["source", "destination"])
@pytest.mark.parametrize("moment", [12, 32])
def test_both_agents_die(site: Yard, tmp_path: Path, moment: int, back_first: str) -> None:
    """The destination's at some moment of its work, the source's right after; whichever is back first."""
    world, mark = site.pool, tmp_path / "mark"
    source, target = site.where(), site.elsewhere()
    world.kill(target)
    world.start_agent(target, sys.executable, str(DYING), str(mark), str(moment))
    world.wait_for(*HOSTS)
    mark.touch()
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(attempt, partial(migrated, site, target))
        end = time.monotonic() + 5
        while not (died := ended(world.processes[target])) and not call.done() and time.monotonic() < end:
            time.sleep(0.01)
        mark.unlink()
        world.kill(source)
        if died:
            world.processes.pop(target)
        order = [source, target] if back_first == "source" else [target, source]
        for host in order:
            if host not in world.processes:
                world.start_agent(host)
                until(lambda host=host: world.api.host_metrics.get_live(world.api.host.get_metrics(world.host(host))))  # type: ignore[misc]
        call.result(90)
    site.settle()
    assert site.ping()
