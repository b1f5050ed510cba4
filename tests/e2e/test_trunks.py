"""A VIF with trunks from the published client to frames: over a migration, a killed ovs-vswitchd, a lock, and a change of the data plane."""

import os
import signal
from pathlib import Path

import pytest

from tests.datapath.bridge_host import needs_tap
from tests.datapath.tagged import LAST, NONE, send_all, shouted, shouts, tag_of, tagged
from tests.e2e.test_pif_life import refusal
from tests.e2e.world import links, until
from tests.e2e.yard import Yard, yard
from xenet.datapath.openvswitch.daemons import holder

pytestmark = [pytest.mark.kernel, needs_tap]
HERE, THERE = "host1", "host2"
SENT: list[tuple[int, ...]] = [(), (10,), (20,), (30,)]


def both_ways(place: Yard) -> list[dict[tuple[int, ...], int]]:
    """What the guest sends, as it comes to the machine outside, and the other way: the tags sent with -> the tag it came with."""
    outside = str(links(place.router)["eth0"]["address"])
    with tagged(place.guest, last=LAST) as back, tagged(place.router, last=LAST) as out:
        send_all(place.guest, shouts(place.mac, SENT))
        send_all(place.router, shouts(outside, SENT))
    return [shouted(out, place.mac), shouted(back, outside)]


def carries(place: Yard, *tags: int) -> bool:
    passes: dict[tuple[int, ...], int] = {(): NONE, **{(tag,): tag for tag in tags}}
    return both_ways(place) == [passes, passes]


def test_vlans_come_along_wherever_the_vm_goes(tmp_path: Path) -> None:
    with yard(tmp_path, "openvswitch") as place:
        api = place.pool.api
        assert carries(place, 10, 20, 30), "as long as nothing is said, it may tag frames itself"
        api.VIF.set_trunks(place.vif, ["10", "20"])
        assert api.VIF.get_trunks(place.vif) == ["10", "20"]
        assert carries(place, 10, 20)
        api.VIF.remove_trunks(place.vif, "20")
        assert carries(place, 10)
        with tagged(place.router) as heard:
            place.migrate(THERE)
        assert {tag_of(frame) for frame in heard if frame[6:12].hex(":") == place.mac} == {NONE, 10}, "it is announced in its VLAN as well"
        assert carries(place, 10)
        pid = holder(tmp_path / THERE / "openvswitch" / "ovs-vswitchd.pid")
        assert pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: carries(place, 10), 30)
        api.VIF.unplug(place.vif)
        api.VIF.add_trunks(place.vif, "30")
        api.VIF.plug(place.vif)
        place.guest.command("ip", "link", "set", "eth0", "up")
        until(lambda: carries(place, 10, 30))
        code, text = refusal(api.host.set_network_backend, place.pool.host(THERE), "bridge")
        assert (code, "10, 30" in text) == ("OPERATION_NOT_ALLOWED", True)
        api.VIF.set_locking_mode(place.vif, "locked")
        assert both_ways(place) == [{}, {(): NONE, (10,): 10, (30,): 30}], "what is shouted, no lock lets pass"
        api.VIF.set_trunks(place.vif, [])
        api.host.set_network_backend(place.pool.host(THERE), "bridge")
        assert refusal(api.VIF.set_trunks, place.vif, ["10"]) == ["OPENVSWITCH_NOT_ACTIVE"]
        place.migrate(HERE)
        api.VIF.set_trunks(place.vif, ["10"])
        api.VIF.set_locking_mode(place.vif, "unlocked")
        assert carries(place, 10)
        assert refusal(place.migrate, THERE) == ["OPENVSWITCH_NOT_ACTIVE"]
