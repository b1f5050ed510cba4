"""Both data planes and a model of the wires, held against each other with the tags and bonds that a slim kernel's bridges have not."""

import os

import pytest

from tests.datapath.test_both_alike import check_alike

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


@pytest.mark.parametrize("seed", range(2, 22 if os.environ.get("XENET_LONG") else 3))
def test_bridge_open_vswitch_and_the_wires_say_the_same(seed: int) -> None:
    check_alike(seed, 3, everything=True)
