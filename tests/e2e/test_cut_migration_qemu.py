"""The cable of either host is cut between two steps of a virtual machine's move, and mended later in it or after it: the VM has moved, is on that
host alone, its network works there, and a connection to it lives on when the cable is whole."""

import socket
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest

from tests.e2e.cutting import cut, cuttings, during, mend, stand_still_on_demand
from tests.e2e.echoes import ADDRESS
from tests.e2e.machine import Machine, running_machine
from tests.e2e.world import until
from tests.e2e.yard import answers
from tests.tiny import ECHO

pytestmark = pytest.mark.kernel
SAMPLED = {"source": (3, 8), "destination": (4, 15)}
LATER = 5
"""Moments until the cable is mended, where that is within the move."""
WITHIN = 40.0
"""Seconds: less than an operation has."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with running_machine(tmp_path_factory.mktemp("pool")) as made:
        stand_still_on_demand(made.site.pool)
        until(made.answers)
        yield made


@pytest.mark.parametrize("end", ["source", "destination"])
@pytest.mark.parametrize("who", ["source", "destination"])
def test_a_cable_is_cut_in_a_migration(machine: Machine, who: str, end: str) -> None:
    site, cuts, mends = machine.site, 0, 0
    for moment, within in cuttings(SAMPLED[who]):
        source, target = machine.where(), machine.elsewhere()
        names = {"source": source, "destination": target}
        severed = names[end]
        acts = {moment: partial(cut, site, severed), **({moment + LATER: partial(mend, site, severed)} if within else {})}
        with closing(site.router(socket.create_connection, (ADDRESS, ECHO), 20)) as talk:
            try:
                reached = during(site.pool, names[who], acts, partial(machine.migrate, target))
                assert machine.where() == target
                until(machine.settled, WITHIN)
                until(partial(answers, site.others[target], ADDRESS))
            finally:
                mend(site, severed)
            talk.sendall(b"still here")
            assert talk.recv(100) == b"still here", f"cut at moment {moment}"
        until(machine.answers)
        if not reached:
            break
        cuts, mends = cuts + 1, mends + (reached == 2)
    assert cuts >= 2
    assert mends >= 1
