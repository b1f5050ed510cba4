"""From one named state to another on a kernel that has VLANs, bonds and GRE: each state that needs them, from and to another one of any kind."""

import os
from itertools import count
from random import Random

import pytest

from tests.datapath.walk import NAMES, path, walk, walkers
from tests.plan.states import STATES, WORDS

pytestmark = [pytest.mark.kernel, pytest.mark.stock]
STACKED = [name for name, words in WORDS.items() if words.keys() & {"vlans", "bonds"} or "GRE" in name]
LONG = bool(os.environ.get("XENET_LONG"))


@pytest.mark.parametrize("name", ["a VLAN alone, with management", "a tunnel by GRE"])
def test_an_agent_dies_at_each_step_of_its_life(name: str) -> None:
    """Made and destroyed; the next agent goes on, or takes back."""
    without, stacked = STATES["two NICs"], STATES[name]
    with walkers() as walker:
        for before, after in ((without, stacked), (stacked, without)):
            for sends in count():
                walker.settle(before)
                died = walker.die_on_the_way_to(after, sends)
                walker.settle(after if sends % 2 else before)
                if not died:
                    break
            assert sends > 5
        walk(walker, [], Random(0))


@pytest.mark.parametrize("seed", range(20 if LONG else 1))
def test_from_state_to_state(seed: int) -> None:
    """Among themselves, then with a state of any kind between any two."""
    random = Random(seed)
    others = [name for name in NAMES if name not in STACKED]
    between = [name for stacked in path(STACKED, random, 1) for name in (stacked, random.choice(others))]
    with walkers() as walker:
        walk(walker, [*path(STACKED, random, 1), *between], random)
