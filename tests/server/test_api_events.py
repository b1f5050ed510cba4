"""Events as clients wait for them: tokens, subscriptions, the barrier, coalescing, time-outs, the deprecated queue; and tasks by their events."""

import threading
import time

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
    ref = client.call("network.create", {"name_label": "mine", "other_config": {}})
    yield ref
    client.call("network.destroy", ref)


def events(client, classes, token, timeout=0.0):
    batch = client.call("event.from", classes, token, timeout)
    return batch["events"], batch["token"]


def now(client):
    """The token of the present."""
    (pool,) = client.call("pool.get_all")
    return events(client, ["*"], client.call("event.inject", "pool", pool))[1]


def refused(call, *args):
    with pytest.raises(Failure) as failure:
        call(*args)
    return failure.value.description


# --- what is told --------------------------------------------------------------------------------------------------------


def test_an_empty_token_tells_all_there_is(client, network):
    told, token = events(client, ["*"], "")
    assert {event["operation"] for event in told} == {"add"}
    assert {event["class"] for event in told} >= {"pool", "host", "host_metrics", "network", "pif", "pif_metrics"}
    records = {event["ref"]: event["snapshot"] for event in told if event["class"] == "network"}
    assert records == client.call("network.get_all_records")
    assert events(client, ["*"], token)[0] == []


def test_an_event_has_what_clients_read(client, network):
    (event,) = [event for event in events(client, ["network"], "")[0] if event["ref"] == network]
    assert set(event) == {"id", "timestamp", "class", "operation", "ref", "snapshot"}
    assert (event["class"], event["timestamp"]) == ("network", "0.0")
    assert event["snapshot"]["name_label"] == "mine"


def test_changes_are_told_once_with_the_latest_record(client, network):
    token = now(client)
    for name in ("a", "b", "c"):
        client.call("network.set_name_label", network, name)
    (event,) = events(client, ["network"], token)[0]
    assert (event["operation"], event["snapshot"]["name_label"]) == ("mod", "c")


def test_what_came_and_went_is_not_told(client):
    token = now(client)
    client.call("network.destroy", client.call("network.create", {"other_config": {}}))
    assert events(client, ["network"], token)[0] == []


def test_what_went_is_told_without_record(client):
    ref = client.call("network.create", {"other_config": {}})
    token = now(client)
    client.call("network.set_name_label", ref, "last words")
    client.call("network.destroy", ref)
    (event,) = events(client, ["network"], token)[0]
    assert (event["operation"], event["ref"]) == ("del", ref)
    assert "snapshot" not in event


def test_adds_come_before_mods_before_dels(client, network):
    gone = client.call("network.create", {"other_config": {}})
    token = now(client)
    client.call("network.destroy", gone)
    client.call("network.set_name_label", network, "x")
    made = client.call("network.create", {"other_config": {}})
    told = [(event["operation"], event["ref"]) for event in events(client, ["network"], token)[0]]
    assert told == [("add", made), ("mod", network), ("del", gone)]
    client.call("network.destroy", made)


def test_back_references_are_changes_too(client, network):
    """A new VIF changes its network and its VM, whose records list it; clients' caches count on it."""
    vm = client.call("VM.create", vm_record())
    token = now(client)
    vif = client.call("VIF.create", vif_record(vm, network))
    told = {(event["class"], event["operation"]): event for event in events(client, ["*"], token)[0]}
    assert set(told) == {("vif", "add"), ("network", "mod"), ("vm", "mod")}
    assert told["network", "mod"]["snapshot"]["VIFs"] == [vif]
    client.call("VM.destroy", vm)


def test_nothing_of_the_server_s_own_is_told(client, network):
    vm = client.call("VM.create", vm_record())
    client.call("VIF.create", vif_record(vm, network))
    token = now(client)
    client.call("VM.start", vm, False, False)
    told = events(client, ["*"], token)[0]
    assert {event["class"] for event in told} <= {"vm", "vif", "vm_metrics", "network", "host", "task", "pool", "pif"}
    for event in told:
        assert not {"running_on", "plugged", "next_domid"} & set(event.get("snapshot", {}))
    client.call("VM.hard_shutdown", vm)
    client.call("VM.destroy", vm)


def test_counts_have_lower_case_names(client):
    counts = client.call("event.from", ["vm"], "", 0.0)["valid_ref_counts"]
    assert (counts["pool"], counts["host"], counts["pif"], counts["task"]) == (1, 1, 2, 0)


# --- subscriptions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [["network"], ["NetWork"], ["*"], ["vm", "network"]])
def test_a_class_in_any_case(client, network, classes):
    token = now(client)
    client.call("network.set_name_label", network, "told")
    assert [event["ref"] for event in events(client, classes, token)[0]] == [network]


def test_one_object_alone(client, network):
    other = client.call("network.create", {"other_config": {}})
    token = now(client)
    for ref in (network, other):
        client.call("network.set_name_label", ref, "told")
    assert [event["ref"] for event in events(client, [f"network/{network}"], token)[0]] == [network]
    assert events(client, ["vm"], token)[0] == []
    assert events(client, [], token)[0] == []
    client.call("network.destroy", other)


@pytest.mark.parametrize("text", ["network/", "/OpaqueRef:x", "/"])
def test_a_subscription_that_means_nothing(client, text):
    assert refused(client.call, "event.from", [text], "", 0.0) == ["EVENT_SUBSCRIPTION_PARSE_FAILURE", text]
    assert refused(client.call, "event.register", [text]) == ["EVENT_SUBSCRIPTION_PARSE_FAILURE", text]


@pytest.mark.parametrize("token", ["x", "1", ",", "1,x", "-1,0", "1,2,3", "²,0", "9" * 5000 + ",0"])
def test_a_token_that_means_nothing(client, token):
    assert refused(client.call, "event.from", ["*"], token, 0.0) == ["EVENT_FROM_TOKEN_PARSE_FAILURE", token]


def test_a_token_of_the_future_tells_all_again(client, network):
    """A server that lost its memory knows no more what it told."""
    told, _ = events(client, ["network"], f"{10**15:020d},{0:020d}")
    assert network in {event["ref"] for event in told}


def test_tokens_are_in_order(client, network):
    first = now(client)
    client.call("network.set_name_label", network, "x")
    assert now(client) > first


# --- the barrier ---------------------------------------------------------------------------------------------------------


def test_inject_makes_the_object_come(client):
    """npm's xen-api and XO Lite begin with it."""
    (pool,) = client.call("pool.get_all")
    token = client.call("event.inject", "pool", pool)
    (event,) = events(client, ["pool"], token)[0]
    assert (event["operation"], event["ref"]) == ("mod", pool)


def test_a_barrier_by_a_key_of_the_pool(client):
    """Xen Orchestra adds a key and waits for the pool that has it."""
    (pool,) = client.call("pool.get_all")
    token = now(client)
    client.call("pool.add_to_other_config", pool, "xo:barrier:1", "")
    (event,) = events(client, ["pool"], token)[0]
    assert "xo:barrier:1" in event["snapshot"]["other_config"]
    client.call("pool.remove_from_other_config", pool, "xo:barrier:1")


@pytest.mark.parametrize("cls", ["pool", "network", "nonsense", ""])
def test_inject_of_nothing(client, cls):
    assert refused(client.call, "event.inject", cls, ABSENT) == ["HANDLE_INVALID", cls, ABSENT]


# --- waiting -------------------------------------------------------------------------------------------------------------


def test_nothing_until_the_time_is_over(client):
    before = time.monotonic()
    told, _ = events(client, ["network"], now(client), 1.2)
    assert told == []
    assert time.monotonic() - before >= 1.2


def test_a_change_wakes_who_waits(server, client, network):
    token = now(client)
    with server.client() as other:
        later = threading.Timer(0.3, other.call, ["network.set_name_label", network, "woken"])
        later.start()
        (event,) = events(client, ["network"], token, 30.0)[0]
        later.join()
    assert event["snapshot"]["name_label"] == "woken"


def test_another_change_does_not(server, client, network):
    """What wakes it is looked at, and the wait goes on."""
    token = now(client)
    with server.client() as other:
        later = threading.Timer(0.3, other.call, ["network.set_name_label", network, "not for you"])
        later.start()
        told, reached = events(client, ["vm"], token, 1.0)
        later.join()
    assert told == []
    assert reached > token


@pytest.mark.parametrize("method", ["event.from", "event.next"])
def test_logout_wakes_who_waits(server, client, method):
    with server.client() as waiting:
        waiting.call("event.register", ["vm"])
        ref = waiting.session
        later = threading.Timer(0.3, client.raw, ["session.logout", ref])
        later.start()
        args = (["vm"], now(client), 30.0) if method == "event.from" else ()
        assert refused(waiting.call, method, *args) == ["SESSION_INVALID", ref]
        later.join()


def test_the_sdk_waits_too(server, network):
    with server.sdk() as sdk:
        sdk.login_with_password("root", PASSWORD)
        batch = getattr(sdk.xenapi.event, "from")(["network"], "", 1)
        assert network in {event["ref"] for event in batch["events"]}


# --- the deprecated queue ------------------------------------------------------------------------------------------------


def test_the_queue_begins_when_it_is_asked_for(server, network):
    with server.client() as client:
        assert refused(client.call, "event.next") == ["SESSION_NOT_REGISTERED", client.session]
        assert refused(client.call, "event.unregister", ["network"]) == ["SESSION_NOT_REGISTERED", client.session]
        client.call("network.set_name_label", network, "before")
        client.call("event.register", ["network"])
        client.call("network.set_name_label", network, "after")
        (event,) = client.call("event.next")
        assert event["snapshot"]["name_label"] == "after"
        assert abs(float(event["timestamp"]) - time.time()) < 60
        client.call("event.unregister", ["network"])
        assert refused(client.call, "event.next") == ["SESSION_NOT_REGISTERED", client.session]


def test_registering_for_more_loses_nothing(server, network):
    with server.client() as client:
        client.call("event.register", ["vm"])
        client.call("network.set_name_label", network, "early")
        client.call("event.register", ["network"])
        (event,) = client.call("event.next")
        assert event["ref"] == network


def test_the_current_id_grows(client, network):
    before = client.call("event.get_current_id")
    client.call("network.set_name_label", network, "grown")
    assert client.call("event.get_current_id") > before


# --- tasks ---------------------------------------------------------------------------------------------------------------


def ended(client, task, token):
    """The task's record once it is over, as clients hear of it: by its events."""
    while True:
        told, token = events(client, [f"task/{task}"], token, 10.0)
        assert told, "no news of the task"
        if told[0]["snapshot"]["status"] != "pending":
            return told[0]["snapshot"]


def test_a_task_that_hosts_work_on(client, network):
    vm = client.call("VM.create", vm_record())
    token = now(client)
    task = client.call("Async.VM.start", vm, False, False)
    record = ended(client, task, token)
    assert (record["status"], record["progress"], record["result"], record["error_info"]) == ("success", 1.0, "", [])
    assert record["name_label"] == "Async.VM.start"
    assert record["finished"] >= record["created"]
    assert client.call("VM.get_power_state", vm) == "Running"
    assert client.call("task.get_status", task) == "success", "it stays until it is destroyed"
    client.call("task.destroy", task)
    assert refused(client.call, "task.get_status", task) == ["HANDLE_INVALID", "task", task]
    client.call("VM.hard_shutdown", vm)
    client.call("VM.destroy", vm)


def test_the_result_of_a_task_is_xml_on_every_wire(server, client):
    token = now(client)
    task = client.call("Async.network.create", {"other_config": {}})
    result = ended(client, task, token)["result"]
    made = client.call("network.get_all_records")
    ref = result.removeprefix("<value>").removesuffix("</value>")
    assert ref in made
    with server.sdk() as sdk:
        sdk.login_with_password("root", PASSWORD)
        assert sdk.xenapi.task.get_result(task) == result
    client.call("network.destroy", ref)
    client.call("task.destroy", task)


def test_a_task_that_is_refused(client, network):
    token = now(client)
    task = client.call("Async.network.destroy", ABSENT)
    record = ended(client, task, token)
    assert (record["status"], record["error_info"]) == ("failure", ["HANDLE_INVALID", "network", ABSENT])
    client.call("task.destroy", task)


def test_the_result_of_a_task_that_only_asks(client):
    vm = client.call("VM.create", vm_record())
    (host,) = client.call("host.get_all")
    task = client.call("Async.VM.get_possible_hosts", vm)
    assert client.call("task.get_result", task) == f"<value><array><data><value>{host}</value></data></array></value>"
    client.call("task.destroy", task)
    client.call("VM.destroy", vm)
