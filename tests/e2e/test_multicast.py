"""IGMP snooping of a pool by the published client: a member hears, wherever it has migrated and whichever daemon dies."""

import os
import signal
from pathlib import Path

import pytest

from tests.datapath.bridge_host import needs_tap
from tests.datapath.test_snooping_kernel import member, say
from tests.e2e.world import capture, until
from tests.e2e.yard import Yard, yard
from xenet.datapath.openvswitch.daemons import holder

pytestmark = [pytest.mark.kernel, needs_tap]


def hears(place: Yard, bystander: str) -> bool:
    """Whether the VM that moves hears the router speak to the group, once, and the other VM of this host does not."""
    with capture(place.guest, "eth0") as ear, capture(place.others[bystander], "eth0") as other:
        say(place.router)
    assert not any(b"to the group" in frame for frame in other)
    return sum(b"to the group" in frame for frame in ear) == 1


def test_a_member_hears_wherever_it_is_and_whatever_dies(tmp_path: Path) -> None:
    with yard(tmp_path, "openvswitch") as place:
        api = place.pool.api
        (pool,) = api.pool.get_all()
        with member(place.guest):
            api.pool.set_igmp_snooping_enabled(pool, True)
            assert {api.PIF.get_igmp_snooping_status(pif) for pif in api.PIF.get_all() if api.PIF.get_managed(pif)} == {"enabled"}
            until(lambda: hears(place, "host1"))
            place.migrate("host2")
        with member(place.guest):  # a namespace's sockets joined by the NIC that it has left; a machine's driver keeps them
            until(lambda: hears(place, "host2"), 10)
            for name in ("ovsdb-server", "ovs-vswitchd"):
                pid = holder(tmp_path / "host2" / "openvswitch" / f"{name}.pid")
                assert pid
                os.kill(pid, signal.SIGKILL)
                until(lambda: hears(place, "host2"), 30)
        api.pool.set_igmp_snooping_enabled(pool, False)
        assert {api.PIF.get_igmp_snooping_status(pif) for pif in api.PIF.get_all() if api.PIF.get_managed(pif)} == {"disabled"}
