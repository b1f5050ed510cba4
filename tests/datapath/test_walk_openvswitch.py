"""From one named state to another on a real Open vSwitch: the walk that a bridge has, with VLANs, bonds and GRE, which it has on any kernel."""

import os
from random import Random

import pytest

from tests.datapath.bridge_host import needs_tap
from tests.datapath.walk import ALL, path, switch_walkers, walk

pytestmark = pytest.mark.kernel
LONG = bool(os.environ.get("XENET_LONG"))


@needs_tap
@pytest.mark.parametrize("seed", range(20 if LONG else 1))
def test_from_state_to_state(seed: int) -> None:
    random = Random(seed)
    with switch_walkers() as walker:
        walk(walker, path(ALL, random, 1), random)
        assert walker.vsctl("list-br") == "br-theirs"
        assert walker.vsctl("list-ports", "br-theirs") == ""
