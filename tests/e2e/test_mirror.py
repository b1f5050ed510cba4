"""A VIF mirrored to another from the published client to frames, over a migration of the target and kills of agents and daemons."""

import os
import signal
from pathlib import Path

import pytest

from tests.datapath.bridge_host import needs_tap
from tests.e2e.world import capture, links, send, until
from tests.e2e.yard import Yard, yard
from xenet.datapath.openvswitch.daemons import holder

pytestmark = pytest.mark.kernel
HERE, THERE = "host1", "host2"


def copies(place: Yard, payload: bytes = b"to be copied") -> int:
    """How many of one frame of the source's the target hears; it is for a MAC that is behind another port."""
    source = place.others[HERE]
    mac = bytes.fromhex(mac_of(place, f"at-{HERE}").replace(":", ""))
    router = bytes.fromhex(links(place.router)["eth0"]["address"].replace(":", ""))
    with capture(place.guest, "eth0") as ear, capture(place.router, "eth0") as door:
        source(send, "eth0", router + mac + b"\x88\xb5" + payload + bytes(50))
    assert sum(payload in frame for frame in door) == 1, "it arrives, once, whoever listens"
    return sum(payload in frame for frame in ear)


def vif_of(place: Yard, name: str) -> str:
    api = place.pool.api
    return str(api.VM.get_VIFs(api.VM.get_by_name_label(name)[0])[0])


def mac_of(place: Yard, name: str) -> str:
    return str(place.pool.api.VIF.get_MAC(vif_of(place, name)))


@pytest.mark.parametrize("datapath", ["bridge", pytest.param("openvswitch", marks=needs_tap)])
def test_a_mirror_goes_and_comes_with_its_target_and_outlives_who_made_it(tmp_path: Path, datapath: str) -> None:
    with yard(tmp_path, datapath) as place:
        made, api, source = place.pool, place.pool.api, vif_of(place, f"at-{HERE}")
        assert place.ping()
        assert copies(place) == 0
        api.VIF.add_to_other_config(source, "mirror-to", api.VIF.get_uuid(place.vif))
        until(lambda: copies(place) == 1)
        assert api.VIF.get_runtime_properties(source) == {"mirror": "active"}
        assert api.VIF.get_runtime_properties(place.vif) == {"mirror-of": f"VIF {api.VIF.get_uuid(source)}"}
        made.kill(HERE)
        assert copies(place) == 1
        made.start_agent(HERE, extra=("--datapath", datapath))
        made.wait_for(HERE)
        place.migrate(THERE)
        assert copies(place) == 0
        assert "is on another host" in api.VIF.get_runtime_properties(source)["mirror"]
        place.migrate(HERE)
        until(lambda: copies(place) == 1)
        for name in ("ovs-vswitchd", "ovsdb-server") if datapath == "openvswitch" else ():
            pid = holder(tmp_path / HERE / "openvswitch" / f"{name}.pid")
            assert pid
            os.kill(pid, signal.SIGKILL)
            until(lambda: comes_through(place) and copies(place) == 1, 30)
        api.VIF.remove_from_other_config(source, "mirror-to")
        until(place.ping)
        assert copies(place) == 0


def comes_through(place: Yard) -> bool:
    try:
        copies(place)
    except AssertionError:
        return False
    return True
