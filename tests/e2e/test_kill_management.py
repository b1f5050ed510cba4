"""kill -9 of the server and of the agent at every step of a management move: the API is reached where the pool says, and the host agrees."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_door import answers, port
from tests.e2e.test_host_addresses import addresses, default_device, static
from tests.e2e.test_kill import moments, restart, struck
from tests.e2e.test_pif_life import Site
from tests.e2e.world import pool, until
from tests.netns import cable, namespaces

pytestmark = pytest.mark.kernel
BRIDGES = {"10.0.0.1": "xenbr0", "10.1.0.1": "xenbr1"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two NICs, each with an address and a gateway; management on the first."""
    with namespaces(2) as (host, router), pool(tmp_path_factory.mktemp("pool")) as made:
        for nic in (0, 1):
            cable(host, f"eth{nic}", router, f"r{nic}")
            router.ip("address", "add", f"10.{nic}.0.254/24", "dev", f"r{nic}")
        made.start_agent("host1", netns=host, nics="eth0,eth1")
        made.wait_for("host1")
        site = Site(made, host, router)
        made.api.host.management_reconfigure(static(site, "eth0", "10.0.0.1", "10.0.0.254"))
        static(site, "eth1", "10.1.0.1", "10.1.0.254")
        yield site


def settled(site: Site) -> bool:
    """One management interface; the API there and nowhere else, and the default route through it."""
    api = site.pool.api
    found = [record for record in api.PIF.get_all_records().values() if record["management"]]
    address = api.host.get_address(site.ref)
    if [record["IP"] for record in found] != [address] or default_device(site.host) != BRIDGES[address]:
        return False
    return {at for at in BRIDGES if answers(site.router, at, port(site))} == {address}


@pytest.mark.parametrize("victim", ["server", "host1"])
def test_kill_in_a_management_move(site: Site, tmp_path: Path, victim: str) -> None:
    world, deaths = site.pool, 0
    first, second = site.pif("eth0"), site.pif("eth1")
    for moment in moments():
        if not world.api.PIF.get_management(first):
            world.api.host.management_reconfigure(first)
        until(lambda: settled(site))
        if not struck(world, victim, tmp_path / "mark", moment, lambda: world.api.host.management_reconfigure(second)):
            break
        deaths += 1
        until(lambda: settled(site))
        assert (addresses(site.host, "xenbr0"), addresses(site.host, "xenbr1")) == (["10.0.0.1/24"], ["10.1.0.1/24"])
    world.kill(victim)
    restart(world, victim)
    until(lambda: settled(site))
    assert world.api.PIF.get_management(second), "the last move was not struck"
    assert deaths >= 3
