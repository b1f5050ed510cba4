"""The host speaks for a guest that it cannot enter."""

import pytest

from tests.datapath.bridge_host import Host, external, needs_tap, port, tap
from tests.datapath.spoken import FRAMES, TAP, check_bond, check_plain, check_vlan
from tests.datapath.switch_host import switch_hosts

pytestmark = [pytest.mark.kernel, needs_tap]


def test_by_the_uplink_and_the_switch_learns(either: Host) -> None:
    check_plain(either)


def test_not_for_a_port_that_is_not_there(either: Host) -> None:
    either.reach(external(either, port(1)))
    with pytest.raises(OSError, match=r"tap1\.0"):
        either.ns(either.datapath.speak, tap(1), FRAMES)
    assert TAP.device not in either.names()


@pytest.mark.parametrize("check", [check_vlan, check_bond])
def test_on_open_vswitch(check) -> None:
    with switch_hosts() as host:
        check(host)
