"""From loose values to a message: unknown names, numbers of parameters, types, references; and that a refusal changes nothing."""

import http.client
import json
from contextlib import closing
from urllib.parse import urlsplit
from xmlrpc.client import Fault, ServerProxy

import pytest

from tests.server.api_server import ABSENT, PASSWORD, api_server, vif_record, vm_record
from xenet.model.errors import Failure


@pytest.fixture(scope="module")
def server():
    with api_server() as running:
        yield running


@pytest.fixture
def client(server):
    with server.client() as logged_in:
        yield logged_in


@pytest.fixture
def network(client):
    ref = client.call("network.create", {"name_label": "mine", "other_config": {"k": "v"}, "tags": ["t"]})
    yield ref
    client.call("network.destroy", ref)


def refused(client, method, *args):
    """The refusal, after which the pool is at the same revision."""
    before = client.call("event.get_current_id")
    with pytest.raises(Failure) as failure:
        client.call(method, *args)
    assert client.call("event.get_current_id") == before
    return failure.value.description


# --- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["network.frobnicate", "nothing.get_all", "network", "network.", "network.Create", "Async", "Async.x.y"])
def test_no_such_message(client, method):
    assert refused(client, method) == ["MESSAGE_METHOD_UNKNOWN", method]


@pytest.mark.parametrize("method", ["network_get_all", "VM_get_all_records", "VIF_metrics_get_all", "session_get_all_subject_identifiers"])
def test_the_form_with_an_underscore(client, method):
    assert client.call(method) is not None


def test_an_asynchronous_form_with_an_underscore(client):
    task = client.call("Async.network_create", {"other_config": {}})
    made = client.call("task.get_result", task).removeprefix("<value>").removesuffix("</value>")
    client.call("network.destroy", made)
    client.call("task.destroy", task)


def test_is_alive(client):
    assert client.raw("system.isAlive:anything") is True


def test_list_methods_needs_no_session_and_is_bare_in_xml(server, client):
    names = client.raw("system.listMethods")
    with ServerProxy(server.url) as proxy:
        assert proxy.system.listMethods() == names
    assert names == sorted(set(names))
    assert {"system.listMethods", "network.get_all_records", "VIF.plug", "Async.VIF.plug", "event.from"} <= set(names)


def test_every_listed_method_is_there(client):
    """A hundred parameters are too many for any, so that none is carried out."""
    for name in client.raw("system.listMethods"):
        if name != "system.listMethods":
            code, method, _, received = refused_once(client, name, *["x"] * 100)
            assert (code, method, received) == ("MESSAGE_PARAMETER_COUNT_MISMATCH", name, "100" if "login_with" not in name else "101")


def refused_once(client, method, *args):
    with pytest.raises(Failure) as failure:
        client.call(method, *args)
    return failure.value.description


def test_every_class_that_is_listed_is_answered(client):
    """npm's xen-api asks each of them at its start."""
    for name in client.raw("system.listMethods"):
        if name.endswith(".get_all_records"):
            assert isinstance(client.call(name), dict), name


# --- numbers of parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "args", "expected"),
    [
        ("network.create", (), "1"),
        ("network.create", ({}, "x"), "1"),
        ("network.get_record", (), "1"),
        ("network.get_all", ("x",), "0"),
        ("VM.start", ("x",), "3"),
        ("VM.start", ("x", False, False, False), "3"),
        ("event.from", (["*"], ""), "3"),
        ("session.logout", ("x",), "0"),
        ("Async.VM.start", ("x",), "3"),
    ],
)
def test_a_wrong_number_of_parameters(client, method, args, expected):
    assert refused(client, method, *args) == ["MESSAGE_PARAMETER_COUNT_MISMATCH", method, expected, str(len(args))]


def test_not_even_a_session(client):
    with pytest.raises(Failure) as failure:
        client.raw("network.get_all")
    assert failure.value.description == ["MESSAGE_PARAMETER_COUNT_MISMATCH", "network.get_all", "0", "0"]


def test_an_optional_parameter_may_be_left_out(client):
    (host,) = client.call("host.get_all")
    client.call("host.disable", host)
    client.call("host.enable", host)
    client.call("host.disable", host, True)
    client.call("host.enable", host)


# --- types ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "args", "field"),
    [
        ("network.create", ("x",), "record"),
        ("network.create", (["x"],), "record"),
        ("network.create", ({"other_config": {}, "MTU": "big"},), "MTU"),
        ("network.create", ({"other_config": {}, "MTU": 1.5},), "MTU"),
        ("network.create", ({"other_config": {}, "MTU": True},), "MTU"),
        ("network.create", ({"other_config": {}, "MTU": str(2**63)},), "MTU"),
        ("network.create", ({"other_config": {}, "managed": "true"},), "managed"),
        ("network.create", ({"other_config": {}, "managed": 1},), "managed"),
        ("network.create", ({"other_config": "x"},), "other_config"),
        ("network.create", ({"other_config": {"k": 1}},), "other_config"),
        ("network.create", ({"other_config": {}, "tags": "t"},), "tags"),
        ("network.create", ({"other_config": {}, "tags": [1]},), "tags"),
        ("network.create", ({"other_config": {}, "name_label": 1},), "name_label"),
        ("network.get_record", (1,), "self"),
        ("network.get_record", ({},), "self"),
        ("network.get_by_uuid", (None,), "uuid"),
        ("event.from", ("*", "", 0.0), "classes"),
        ("event.from", (["*"], "", "soon"), "timeout"),
        ("VM.start", (ABSENT, "false", False), "start_paused"),
    ],
)
def test_a_wrong_type_names_its_field(client, method, args, field):
    assert refused(client, method, *args) == ["FIELD_TYPE_ERROR", field]


def test_a_wrong_enum_has_its_text_alone(client, network):
    assert refused(client, "network.add_purpose", network, "fun") == ["INVALID_VALUE", "fun"]


def test_a_bad_constructor_field_is_named_before_a_missing_one(client):
    assert refused(client, "network.create", {"MTU": "x"}) == ["FIELD_TYPE_ERROR", "MTU"]
    assert refused(client, "network.create", {"MTU": "1500"}) == ["INTERNAL_ERROR", 'Db_exn.FieldNotFound("other_config")']


def test_numbers_may_come_as_text_and_times_as_whole_numbers(client):
    ref = client.call("network.create", {"other_config": {}, "MTU": "9000"})
    client.call("network.set_MTU", ref, 1400)
    assert client.call("network.get_MTU", ref) == 1400
    client.call("network.destroy", ref)
    assert client.call("event.from", ["vm"], "", 0)["events"] == []


def test_a_whole_record_goes_back_in(client, network):
    """Terraform's provider creates with every field, the read-only ones too, as it got them."""
    record = client.call("network.get_record", network)
    again = client.call("network.create", {**record, "bridge": "", "PIFs": "nonsense", "uuid": 7})
    assert client.call("network.get_uuid", again) != record["uuid"]
    client.call("network.destroy", again)


# --- references ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", [ABSENT, "", "OpaqueRef:NULL", "nonsense"])
@pytest.mark.parametrize(
    ("method", "cls", "more"),
    [
        ("network.get_record", "network", ()),
        ("network.destroy", "network", ()),
        ("network.set_name_label", "network", ("x",)),
        ("network.add_to_other_config", "network", ("k", "v")),
        ("network.get_fdb", "network", ()),
        ("VIF.plug", "VIF", ()),
        ("VIF.unplug", "VIF", ()),
        ("VIF.destroy", "VIF", ()),
        ("VM.start", "VM", (False, False)),
        ("VM.clean_shutdown", "VM", ()),
        ("PIF.plug", "PIF", ()),
        ("host.enable", "host", ()),
        ("host.get_servertime", "host", ()),
        ("task.destroy", "task", ()),
        ("task.get_status", "task", ()),
        ("pool.get_master", "pool", ()),
    ],
)
def test_a_reference_to_nothing(client, method, cls, more, ref):
    assert refused(client, method, ref, *more) == ["HANDLE_INVALID", cls, ref]


def test_a_reference_to_another_class(client, network):
    assert refused(client, "VM.get_record", network) == ["HANDLE_INVALID", "VM", network]
    assert refused(client, "VIF.create", vif_record(network, network)) == ["HANDLE_INVALID", "VM", network]


def test_refusals_of_verbs_change_nothing(client, network):
    vm = client.call("VM.create", vm_record())
    vif = client.call("VIF.create", vif_record(vm, network))
    assert refused(client, "VIF.plug", vif) == ["VM_BAD_POWER_STATE", vm, "running", "halted"]
    assert refused(client, "VIF.create", vif_record(vm, network)) == ["DEVICE_ALREADY_EXISTS", "0"]
    assert refused(client, "VM.hard_shutdown", vm) == ["VM_BAD_POWER_STATE", vm, "running", "halted"]
    assert refused(client, "network.create", {"other_config": {}, "bridge": "xapi9"}) == ["INVALID_VALUE", "bridge", "xapi9"]
    client.call("VM.destroy", vm)


# --- maps, sets, queries -------------------------------------------------------------------------------------------------


def test_map_keys_come_and_go(client, network):
    """npm's client adds, and on MAP_DUPLICATE_KEY removes and adds again, without end."""
    duplicate = ["MAP_DUPLICATE_KEY", "network", "other_config", network, "k"]
    assert refused(client, "network.add_to_other_config", network, "k", "w") == duplicate
    client.call("network.remove_from_other_config", network, "k")
    client.call("network.remove_from_other_config", network, "k")
    client.call("network.add_to_other_config", network, "k", "w")
    assert client.call("network.get_other_config", network) == {"k": "w"}


def test_set_members_come_and_go(client, network):
    client.call("network.add_tags", network, "t")
    client.call("network.remove_tags", network, "u")
    client.call("network.add_tags", network, "u")
    assert client.call("network.get_tags", network) == ["t", "u"]


def test_queries(client, network):
    found = client.call("network.get_all_records_where", 'field "name__label" = "mine" and not field "MTU" = "1"')
    assert list(found) == [network]
    assert found[network] == client.call("network.get_record", network)
    assert client.call("network.get_all_where", 'field "name__label" = "mine"') == [network]
    assert refused(client, "network.get_all_records_where", "nonsense") == ["INVALID_VALUE", "expr", "nonsense"]


# --- the two wires -------------------------------------------------------------------------------------------------------


def test_asynchronous_where_there_is_none_is_a_fault(server, client, network):
    with ServerProxy(server.url) as proxy:
        for method in ("network.get_record", "task.create", "session.logout", "event.next"):
            with pytest.raises(Fault, match=method):
                getattr(proxy, f"Async.{method}")(client.session, network)


def test_both_versions_of_json(server):
    url = urlsplit(server.url)

    def post(body):
        with closing(http.client.HTTPConnection(url.hostname or "", url.port)) as connection:
            connection.request("POST", "/jsonrpc", json.dumps(body), {"Content-Type": "application/json; charset=utf-8"})
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
            return json.loads(answer.read())

    login = {"method": "session.login_with_password", "params": ["root", PASSWORD], "id": 0}
    first, second = post(login), post({"jsonrpc": "2.0", **login})
    assert (first["error"], first["id"]) == (None, 0)
    assert set(second) == {"jsonrpc", "result", "id"}
    bad = {"method": "VM.get_record", "params": [first["result"], ABSENT], "id": "x"}
    assert post(bad) == {"result": None, "error": ["HANDLE_INVALID", "VM", ABSENT], "id": "x"}
    answer = post({"jsonrpc": "2.0", **bad, "params": [second["result"], ABSENT]})
    assert answer == {"jsonrpc": "2.0", "error": {"code": 1, "message": "HANDLE_INVALID", "data": ["VM", ABSENT]}, "id": "x"}


def test_values_on_the_two_wires(server, client, network):
    vm = client.call("VM.create", vm_record())
    record = client.call("VM.get_record", vm)
    assert (record["memory_static_max"], record["is_a_template"], record["resident_on"]) == (1, False, "OpaqueRef:NULL")
    assert client.call("VM_metrics.get_start_time", record["metrics"]) == "19700101T00:00:00Z"
    with server.sdk() as sdk:
        sdk.login_with_password("root", PASSWORD)
        record = sdk.xenapi.VM.get_record(vm)
        assert (record["memory_static_max"], record["is_a_template"], record["resident_on"]) == ("1", False, "OpaqueRef:NULL")
        assert sdk.xenapi.VM_metrics.get_start_time(record["metrics"]).value == "19700101T00:00:00Z"
        assert sdk.xenapi.VM.set_name_label(vm, "x") == ""
    client.call("VM.destroy", vm)


@pytest.mark.parametrize("path", ["/", "/RPC2", "/xmlrpc", "/anything/else"])
def test_xml_on_any_path(server, path):
    with ServerProxy(server.url.rstrip("/") + path) as proxy:
        assert proxy.session.login_with_password("root", PASSWORD)["Status"] == "Success"
