"""The main job through the published SDK, unmodified: over http, https and the Unix socket."""

from contextlib import ExitStack

import pytest
import XenAPI

from tests.server.api_server import PASSWORD, api_server, vif_record, vm_record


@pytest.fixture(scope="module")
def servers():
    with ExitStack() as stack:
        plain = stack.enter_context(api_server())
        yield {"http": plain, "unix": plain, "https": stack.enter_context(api_server("--tls"))}


@pytest.fixture(params=["http", "https", "unix"])
def api(servers, request):
    local = request.param == "unix"
    with servers[request.param].sdk(unix=local) as session:
        session.login_with_password("root", "" if local else PASSWORD)
        yield session.xenapi
        session.xenapi.session.logout()


def refused(call, *args):
    with pytest.raises(XenAPI.Failure) as failure:
        call(*args)
    return failure.value.details


def test_from_a_network_to_a_plugged_vif_and_back(api):
    network = api.network.create({"name_label": "lan", "name_description": "", "MTU": "1400", "other_config": {}})
    other = api.network.create({"other_config": {}})
    vm = api.VM.create(vm_record(name_label="web"))
    vif = api.VIF.create(vif_record(vm, network))
    assert refused(api.VIF.plug, vif) == ["VM_BAD_POWER_STATE", vm, "running", "halted"]

    api.VM.start(vm, False, False)
    record = api.VIF.get_record(vif)
    assert record["currently_attached"] is True
    assert record["allowed_operations"] == ["unplug"]
    assert record["MTU"] == "1400"
    assert api.VM.get_power_state(vm) == "Running"
    assert api.VM.get_resident_on(vm) == api.host.get_all()[0]
    assert int(api.VM.get_domid(vm)) > 0

    api.VIF.unplug(vif)
    assert api.VIF.get_currently_attached(vif) is False
    api.VIF.plug(vif)
    api.VIF.move(vif, other)
    assert api.VIF.get_network(vif) == other
    assert api.network.get_VIFs(network) == []
    assert refused(api.VIF.destroy, vif) == ["OPERATION_NOT_ALLOWED", "VIF currently attached to a running VM"]
    assert refused(api.network.destroy, other) == ["NETWORK_CONTAINS_VIF", vif]

    api.VM.clean_reboot(vm)
    api.VM.hard_shutdown(vm)
    assert api.VIF.get_currently_attached(vif) is False
    api.VM.destroy(vm)
    assert refused(api.VIF.get_uuid, vif) == ["HANDLE_INVALID", "VIF", vif]
    api.network.destroy(network)
    api.network.destroy(other)
    assert api.task.get_all() == [], "synchronous calls leave no task"


def test_nics_have_their_networks(api):
    networks = api.network.get_all_records()
    assert {n["name_label"] for n in networks.values()} >= {f"Pool-wide network associated with eth{i}" for i in (0, 1)}
    for pif in api.PIF.get_all_records().values():
        assert pif["currently_attached"] is True
        assert networks[pif["network"]]["bridge"] == f"xenbr{pif['device'][-1]}"
        assert api.PIF_metrics.get_carrier(pif["metrics"]) is True


def test_there_is_one_pool_and_its_master_lives(api):
    (pool,) = api.pool.get_all_records().values()
    metrics = api.host.get_metrics(pool["master"])
    assert api.host_metrics.get_live(metrics) is True
    assert api.host.get_software_version(pool["master"])["product_version"].split(".") == ["8", "4", "0"]


def test_the_mac_table_of_a_network(api):
    (network,) = [ref for ref, record in api.network.get_all_records().items() if record["bridge"] == "xenbr0"]
    assert isinstance(api.network.get_fdb(network), list)


def test_the_sdk_finds_the_version_of_the_api(servers):
    with servers["http"].sdk() as session:
        session.login_with_password("root", PASSWORD)
        assert session.API_version == "2.21"
