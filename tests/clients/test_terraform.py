"""What Terraform's provider and the Go SDK below it send, call by call: whole records, strict types, references that are there at once."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.strict import Refused, Strict
from tests.server.api_server import NULL, PASSWORD, ApiServer, api_server

NETWORK: dict[str, Any] = {
    "uuid": "",
    "name_label": "terraform",
    "name_description": "",
    "allowed_operations": [],
    "current_operations": {},
    "VIFs": [],
    "PIFs": [],
    "MTU": 1500,
    "other_config": {},
    "bridge": "",
    "managed": True,
    "blobs": {},
    "tags": [],
    "default_locking_mode": "unlocked",
    "assigned_ips": {},
    "purpose": [],
}
"""The SDK sends every field of a record, those that nobody may set, too."""


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with api_server("--store", "memory", "--nics", "eth0,eth1,eth2") as running:
        yield running


@pytest.fixture
def go(server: ApiServer) -> Iterator[Strict]:
    client = Strict(server.url).login(PASSWORD, "1.0", "terraform")
    yield client
    client.close()


def of_device(go: Strict, device: str) -> str:
    return next(ref for ref, record in go("PIF.get_all_records").items() if record["device"] == device and record["physical"])


def test_a_vlan(go: Strict) -> None:
    network = go("network.create", NETWORK)
    made = go("network.get_record", network)
    assert made["uuid"] != ""
    assert made["bridge"].startswith("xapi")
    assert set(made) == set(NETWORK)
    assert go("Bond.get_all_records") == {}
    go("pool.create_VLAN_from_PIF", of_device(go, "eth1"), network, 31)
    record = go("network.get_record", network)
    vlan = go("PIF.get_VLAN_master_of", record["PIFs"][0])  # without asking whether there is one
    assert go("VLAN.get_tag", vlan) == 31
    go("VLAN.destroy", vlan)
    go("network.destroy", network)


def test_a_pif_is_configured(go: Strict) -> None:
    pif = go("PIF.get_by_uuid", go("PIF.get_uuid", of_device(go, "eth2")))
    assert go("PIF_metrics.get_carrier", go("PIF.get_metrics", pif)) is True
    go("PIF.set_disallow_unplug", pif, True)
    go("PIF.set_other_config", pif, {"management_purpose": "storage"})
    go("PIF.reconfigure_ip", pif, "Static", "192.0.2.30", "255.255.255.0", "", "")
    assert go("PIF.get_IP", pif) == "192.0.2.30"
    record = go("PIF.get_record", pif)
    assert record["disallow_unplug"] is True
    assert record["bond_slave_of"] == NULL
    go("PIF.set_disallow_unplug", pif, False)
    go("PIF.reconfigure_ip", pif, "None", "", "", "", "")


def test_every_record_has_the_types_that_go_demands(go: Strict) -> None:
    """Maps are maps, bools are bools, lists are lists, in every record of every class."""
    kinds: dict[tuple[str, str], type] = {}
    for method in go.raw("system.listMethods"):
        cls, _, name = method.partition(".")
        if name != "get_all_records":
            continue
        for record in go(method).values():
            for field, value in record.items():
                assert kinds.setdefault((cls, field), type(value)) is type(value), (cls, field)
                assert type(value) in (str, int, float, bool, list, dict)
    assert kinds["PIF", "management"] is bool
    assert kinds["PIF", "VLAN"] is int
    assert kinds["host", "software_version"] is dict


def test_the_pool(go: Strict) -> None:
    (host,) = go("host.get_all")
    assert go("host.get_enabled", host) is True
    with pytest.raises(Refused) as refused:
        go("pool.eject", host)
    assert refused.value.description[0] in ("MESSAGE_METHOD_UNKNOWN", "HOST_CANNOT_DESTROY_SELF", "HOST_IS_SLAVE", "OPERATION_NOT_ALLOWED")
