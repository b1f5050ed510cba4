"""What XO Lite sends from a browser, call by call, as it was logged; its page comes from the server itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.strict import Refused, Strict
from tests.server.api_server import PASSWORD, ApiServer, api_server, vm_record

AT_START = ("pool", "host_metrics", "host", "VM", "VBD", "VDI", "PBD", "SR")
ON_PAGES = ("task", "VM_metrics", "PIF_metrics", "PIF", "Bond", "network", "VIF", "VM_guest_metrics")
CLASSES = [name.lower() for name in (*AT_START, *ON_PAGES)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    page: Path = tmp_path_factory.mktemp("www")
    (page / "index.html").write_text("<!doctype html><script type=module src=/assets/index.js></script>")
    (page / "assets").mkdir()
    (page / "assets/index.js").write_text("export {}")
    (page / "assets/logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    with api_server("--store", "memory", "--www", str(page), "--nics", "eth0,eth1,eth2") as running:
        yield running


@pytest.fixture
def lite(server: ApiServer) -> Iterator[Strict]:
    client = Strict(server.url).login(PASSWORD)
    yield client
    client.close()


def pif(lite: Strict, device: str) -> str:
    return next(ref for ref, record in lite("PIF.get_all_records").items() if (record["device"], record["VLAN"]) == (device, -1))


def test_the_page_is_served_with_types_that_browsers_run(lite: Strict) -> None:
    assert lite.get("/")[:2] == (200, "text/html; charset=utf-8")
    assert lite.get("/assets/index.js") == (200, "text/javascript; charset=utf-8", b"export {}")
    assert lite.get("/assets/logo.svg")[1].startswith("image/svg+xml")
    assert lite.get("/assets/../../../../etc/passwd")[0] == 404


def test_another_origin_may_ask(lite: Strict) -> None:
    lite.connection.request("OPTIONS", "/jsonrpc", headers={"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"})
    answer = lite.connection.getresponse()
    answer.read()
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Content-Type" in answer.headers["access-control-allow-headers"]


def test_start_and_watch(lite: Strict) -> None:
    found = {cls: lite(f"{cls}.get_all_records") for cls in AT_START}
    assert [metrics["live"] for metrics in found["host_metrics"].values()] == [True]
    (pool,) = found["pool"]
    token = lite("event.inject", "pool", pool)
    for cls in ON_PAGES:
        lite(f"{cls}.get_all_records")
    batch = lite("event.from", CLASSES, token, 5.001)
    assert [(event["class"], event["ref"]) for event in batch["events"]] == [("pool", pool)]
    vm = lite("VM.create", vm_record(name_label="lite"))
    batch = lite("event.from", CLASSES, batch["token"], 5.001)
    assert ("vm", "add", vm) in {(event["class"], event["operation"], event["ref"]) for event in batch["events"]}
    assert all(event["class"] in CLASSES for event in batch["events"])
    lite("VM.destroy", vm)


def test_a_remembered_session_is_tried(lite: Strict) -> None:
    assert lite.raw("session.get_all_subject_identifiers", lite.session) == []
    with pytest.raises(Refused) as refused:
        lite.raw("session.get_all_subject_identifiers", "OpaqueRef:of-yesterday")
    assert refused.value.description == ["SESSION_INVALID", "OpaqueRef:of-yesterday"]


def test_a_network_with_a_vlan(lite: Strict) -> None:
    network = lite("network.create", {"name_label": "lite", "name_description": "", "MTU": 1500, "other_config": {"automatic": "false"}})
    lite("pool.create_VLAN_from_PIF", pif(lite, "eth1"), network, 55)
    lite("network.add_purpose", network, "nbd")
    lite("network.remove_purpose", network, "nbd")
    with pytest.raises(Refused) as refused:
        lite("network.destroy", network)
    assert refused.value.description[0] == "NETWORK_CONTAINS_PIF"
    (made,) = lite("network.get_PIFs", network)
    lite("VLAN.destroy", lite("PIF.get_VLAN_master_of", made))
    lite("network.destroy", network)


def test_an_interface(lite: Strict) -> None:
    network = lite("PIF.get_network", pif(lite, "eth1"))
    assert pif(lite, "eth1") in lite("network.get_PIFs", network)
    vm = lite("VM.create", vm_record(name_label="lite"))
    device = lite("VM.get_allowed_VIF_devices", vm)[0]
    vif = lite(
        "VIF.create",
        {"device": device, "network": network, "VM": vm, "MAC": "", "MTU": lite("network.get_MTU", network), "other_config": {}}
        | {"qos_algorithm_type": "", "qos_algorithm_params": {}},
    )
    assert lite("VIF.get_device", vif) == "0"
    lite("VM.destroy", vm)
