"""The official SDK, unmodified, on a walk through the networking classes: over http, https and the local socket."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import XenAPI

from tests.server.api_server import NULL, PASSWORD, ApiServer, api_server, vif_record, vm_record

FINAL = ("success", "failure", "cancelled")


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, ApiServer]]:
    options = ("--store", "memory", "--nics", "eth0,eth1,eth2,eth3")
    with api_server(*options) as plain, api_server(*options, "--tls") as tls:
        yield {"http": plain, "https": tls, "unix": plain}


@pytest.fixture(params=["http", "https", "unix"])
def session(request: pytest.FixtureRequest, servers: dict[str, ApiServer]) -> Iterator[Any]:
    with servers[request.param].sdk(unix=request.param == "unix") as made:
        made.xenapi.login_with_password("root", "" if request.param == "unix" else PASSWORD, "2.21", "walk")
        yield made


@pytest.fixture
def api(session: Any) -> Any:
    return session.xenapi


@pytest.fixture
def later() -> Iterator[Callable[..., Any]]:
    """Registers what takes something away again, the last thing first."""
    with ExitStack() as stack:
        yield stack.callback


def refused(call: Callable[..., Any], *args: Any) -> list[str]:
    with pytest.raises(XenAPI.Failure) as failure:
        call(*args)
    return list(failure.value.details)


def network(api: Any, later: Callable[..., Any], name: str) -> str:
    made = api.network.create({"name_label": name, "name_description": "", "MTU": "1500", "other_config": {}, "tags": ["walk"]})
    later(api.network.destroy, made)
    return str(made)


def nic(api: Any, device: str) -> str:
    found = api.PIF.get_all_records_where(f'field "device" = "{device}" and field "physical" = "true"')
    return str(next(iter(found)))


def task(session: Any, made: str) -> dict[str, Any]:
    """A task's record at its end, which its events tell."""
    token = ""
    while True:
        batch = session.xenapi.event_from([f"task/{made}"], token, 20.0)
        token = batch["token"]
        for event in batch["events"]:
            if event["snapshot"]["status"] in FINAL:
                session.xenapi.task.destroy(made)
                return dict(event["snapshot"])
        assert batch["events"], "the task did not end"


def test_who_and_where(session: Any, api: Any) -> None:
    host = api.session.get_this_host(session._session)
    assert api.pool.get_master(api.pool.get_all()[0]) == host
    assert session.API_version == "2.21"
    assert [int(part) for part in api.host.get_software_version(host)["product_version"].split(".")]
    assert api.host.get_management_interface(host) == nic(api, "eth0")
    assert set(api.host.list_methods()) >= {"network.create", "Async.VIF.plug"}


def test_a_network_and_its_fields(api: Any, later: Callable[..., Any]) -> None:
    made = network(api, later, "walk")
    assert api.network.get_by_name_label("walk") == [made]
    assert api.network.get_by_uuid(api.network.get_uuid(made)) == made
    api.network.add_tags(made, "more")
    api.network.add_to_other_config(made, "k", "v")
    assert refused(api.network.add_to_other_config, made, "k", "w") == ["MAP_DUPLICATE_KEY", "network", "other_config", made, "k"]
    record = api.network.get_record(made)
    assert (record["MTU"], record["tags"], record["other_config"]) == ("1500", ["walk", "more"], {"k": "v"})
    assert refused(api.network.get_by_uuid, "no") == ["UUID_INVALID", "network", "no"]


def test_a_vm_and_its_vif(session: Any, api: Any, later: Callable[..., Any]) -> None:
    first, second = network(api, later, "first"), network(api, later, "second")
    vm = api.VM.create(vm_record(name_label="walk"))
    later(api.VM.destroy, vm)
    vif = api.VIF.create(vif_record(vm, first))
    assert refused(api.VIF.plug, vif) == ["VM_BAD_POWER_STATE", vm, "running", "halted"]
    started = task(session, api.Async.VM.start(vm, False, False))
    assert started["status"] == "success"
    later(api.VM.hard_shutdown, vm)
    assert api.VIF.get_currently_attached(vif) is True
    assert task(session, api.Async.VIF.plug(vif))["error_info"] == ["DEVICE_ALREADY_ATTACHED", vif]
    api.VIF.move(vif, second)
    api.VIF.set_locking_mode(vif, "locked")
    api.VIF.set_ipv4_allowed(vif, ["192.0.2.1"])
    assert api.VIF.get_network(vif) == second
    made = task(session, api.Async.VIF.create(vif_record(vm, first, "1")))["result"]
    ref = made.removeprefix("<value>").removesuffix("</value>")
    assert api.VIF.get_device(ref) == "1"
    api.VIF.unplug(vif)
    for one in (vif, ref):
        api.VIF.destroy(one)


def test_pifs_vlans_and_bonds(api: Any, later: Callable[..., Any]) -> None:
    eth1 = nic(api, "eth1")
    lower, bonded = network(api, later, "tagged"), network(api, later, "bonded")
    vlan = api.VLAN.create(eth1, "42", lower)
    later(api.VLAN.destroy, vlan)
    assert api.VLAN.get_tagged_PIF(vlan) == eth1
    assert refused(api.VLAN.create, eth1, "4095", bonded) == ["VLAN_TAG_INVALID", "4095"]
    bond = api.Bond.create(bonded, [nic(api, "eth2"), nic(api, "eth3")], "", "active-backup")
    later(api.Bond.destroy, bond)
    assert api.PIF.get_bond_slave_of(nic(api, "eth2")) == bond
    api.Bond.set_mode(bond, "balance-slb")
    assert refused(api.PIF.unplug, nic(api, "eth0")) == ["PIF_IS_MANAGEMENT_INTERFACE", nic(api, "eth0")]
    api.PIF.reconfigure_ip(eth1, "Static", "192.0.2.77", "255.255.255.0", "", "")
    assert api.PIF.get_IP(eth1) == "192.0.2.77"
    api.PIF.reconfigure_ip(eth1, "None", "", "", "", "")


def test_every_record_of_every_class_can_be_read(api: Any) -> None:
    for method in api.host.list_methods():
        cls, _, name = method.partition(".")
        if name == "get_all_records":
            for ref, record in getattr(api, cls).get_all_records().items():
                assert ref.startswith("OpaqueRef:")
                assert getattr(api, cls).get_record(ref).keys() == record.keys()
                assert getattr(api, cls).get_by_uuid(record["uuid"]) == ref


def test_the_older_events(api: Any, later: Callable[..., Any]) -> None:
    api.event.register(["network"])
    made = network(api, later, "heard")
    events = api.event.next()
    assert (events[0]["operation"], events[0]["ref"], events[0]["class"]) == ("add", made, "network")
    api.event.unregister(["network"])


def test_references_to_nothing(api: Any) -> None:
    assert refused(api.VIF.get_record, NULL) == ["HANDLE_INVALID", "VIF", NULL]
    assert refused(api.SR.get_record, NULL) == ["HANDLE_INVALID", "SR", NULL]
    assert api.pool.get_default_SR(api.pool.get_all()[0]) == NULL
