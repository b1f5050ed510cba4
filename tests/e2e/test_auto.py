"""`--datapath auto` at a host's very first start, in a pool that needs what this kernel lacks."""

from pathlib import Path

import pytest

from tests.datapath.bridge_host import needs_tap
from tests.e2e.test_pif_life import refusal
from tests.e2e.world import pool, until
from tests.netns import cable, namespaces
from xenet.datapath import vlans

pytestmark = [pytest.mark.kernel, needs_tap, pytest.mark.skipif(not vlans.find_lack(), reason="this kernel has VLANs")]


def test_a_new_host_of_a_pool_with_vlans_is_on_open_vswitch_at_once(tmp_path: Path) -> None:
    with namespaces(3) as (one, two, switch), pool(tmp_path) as made:
        for number, host in enumerate((one, two)):
            cable(host, "eth0", switch, f"port{number}")
        made.start_agent("host1", netns=one, extra=("--datapath", "openvswitch"))
        made.wait_for("host1")
        api = made.api
        (pif,) = (pif for pif in api.PIF.get_all() if api.PIF.get_managed(pif) and api.PIF.get_device(pif) == "eth0")
        api.pool.create_VLAN_from_PIF(pif, made.network("dmz"), "42")
        made.start_agent("host2", netns=two, extra=("--datapath", "auto"))
        until(lambda: api.host.get_by_name_label("host2"), 60)
        until(lambda: api.host.get_software_version(made.host("host2"))["network_backend"] == "openvswitch", 60)
        (vlan,) = (pif for pif in api.host.get_PIFs(made.host("host2")) if api.PIF.get_VLAN(pif) == "42")
        api.PIF.plug(vlan)
        assert api.PIF.get_currently_attached(vlan)
        text = "eth0 has VLAN 42, and the kernel of host2 has no VLAN devices (8021q)"
        assert refusal(api.host.set_network_backend, made.host("host2"), "bridge") == ["OPERATION_NOT_ALLOWED", text]
        assert api.host.get_software_version(made.host("host2"))["network_backend"] == "openvswitch" and api.PIF.get_currently_attached(vlan)
        assert "datapath openvswitch: " in (tmp_path / "host2.log").read_text()
