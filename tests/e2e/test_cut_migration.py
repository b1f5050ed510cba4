"""The cable of either host is cut between two steps of a move, and mended later in it or after it: the VM has moved, is on that host alone, and
its network works there; all reach it when the cable is whole."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.cutting import LONG, cut, cuttings, during, mend, stand_still_on_demand
from tests.e2e.world import until
from tests.e2e.yard import MOVER, Yard, answers, yard

pytestmark = pytest.mark.kernel
SAMPLED = {"server": (2, 9), "source": (3, 12), "destination": (5, 20)}
LATER = 7
"""Moments until the cable is mended, where that is within the move."""


@pytest.fixture(scope="module", params=["bridge", "openvswitch"] if LONG else ["bridge"])
def site(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Yard]:
    with yard(tmp_path_factory.mktemp("pool"), request.param) as made:
        stand_still_on_demand(made.pool)
        until(made.ping)
        yield made


@pytest.mark.parametrize("end", ["source", "destination"])
@pytest.mark.parametrize("who", ["server", "source", "destination"])
def test_a_cable_is_cut_in_a_migration(site: Yard, who: str, end: str) -> None:
    cuts = mends = 0
    for moment, within in cuttings(SAMPLED[who]):
        source, target = site.where(), site.elsewhere()
        names = {"server": "server", "source": source, "destination": target}
        severed = names[end]
        acts = {moment: partial(cut, site, severed), **({moment + LATER: partial(mend, site, severed)} if within else {})}
        try:
            reached = during(site.pool, names[who], acts, partial(site.migrate, target))
            assert site.where() == target
            site.settle()
            assert answers(site.others[target], MOVER), f"cut at moment {moment}"
            if severed == source:
                until(lambda: answers(site.router, MOVER))
        finally:
            mend(site, severed)
        until(site.ping)
        if not reached:
            break
        cuts, mends = cuts + 1, mends + (reached == 2)
    assert cuts >= 2
    assert mends >= 1
