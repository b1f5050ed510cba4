"""From one named state to another on the real kernel: those that need neither VLANs nor bonds, which tests/stock has."""

import os
from random import Random

import pytest

from tests.datapath.bridge_host import needs_tap
from tests.datapath.walk import NAMES, path, walk, walkers
from tests.plan.states import WORDS

pytestmark = pytest.mark.kernel
PLAIN = [name for name in NAMES if not WORDS[name].keys() & {"vlans", "bonds"}]
LONG = bool(os.environ.get("XENET_LONG"))


@needs_tap
@pytest.mark.parametrize("seed", range(20 if LONG else 2))
def test_from_state_to_state(seed: int) -> None:
    random = Random(seed)
    with walkers() as walker:
        walk(walker, path(PLAIN, random, 1), random)
