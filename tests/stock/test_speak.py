"""The host speaks for a guest on a tap, on the Linux bridge with what only a stock kernel has."""

import pytest

from tests.datapath.bridge_host import hosts, needs_tap
from tests.datapath.spoken import check_bond, check_vlan

pytestmark = [pytest.mark.kernel, pytest.mark.stock, needs_tap]


@pytest.mark.parametrize("check", [check_vlan, check_bond])
def test_on_the_bridge(check) -> None:
    with hosts() as host:
        check(host)
