"""kill -9 of the server and of either agent at every step of a migration: the VM ends on exactly one host, its network works there, and
nothing of it is left on the other. Nobody else notices, and the guest's processes never end."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.test_kill import moments, struck
from tests.e2e.yard import ROUTER, Yard, yard

pytestmark = pytest.mark.kernel
EVERY = 1 if os.environ.get("XENET_LONG") else 4


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with yard(tmp_path_factory.mktemp("pool")) as made:
        made.guest.command("ip", "route", "add", "default", "via", ROUTER)
        yield made


@pytest.mark.parametrize("victim", ["server", "source", "destination"])
def test_kill_in_a_migration(site: Yard, tmp_path: Path, victim: str) -> None:
    deaths, places = 0, set()
    for moment in moments(step=EVERY):
        source, target = site.where(), site.elsewhere()
        name = {"source": source, "destination": target}.get(victim, victim)
        died = struck(site.pool, name, tmp_path / "mark", moment, partial(site.migrate, target))
        site.settle()
        assert site.ping(), f"killed at moment {moment}"
        places.add(site.where() == target)
        if not died:
            break
        deaths += 1
    assert deaths >= 3
    assert places == {True, False}, "some deaths come before the switch-over, and some after it"
