"""What xo-server sends, call by call, as it was logged: connecting, networks, VLANs, bonds, PIFs, VIFs; and what it reads of the answers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.strict import DATE, REF, Refused, Strict, shapes
from tests.server.api_server import NULL, PASSWORD, ApiServer, api_server, vm_record


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with api_server("--store", "memory", "--nics", "eth0,eth1,eth2,eth3") as running:
        yield running


@pytest.fixture
def xo(server: ApiServer) -> Iterator[Strict]:
    client = Strict(server.url).login(PASSWORD)
    yield client
    client.close()


@pytest.fixture
def vm(xo: Strict) -> Iterator[str]:
    made = xo("VM.create", vm_record(name_label="xo"))
    xo.do("VM.start", made, False, False)
    yield made
    xo.do("VM.hard_shutdown", made)
    xo.do("VM.destroy", made)


def pif(xo: Strict, device: str, vlan: int = -1) -> str:
    return next(ref for ref, record in xo("PIF.get_all_records").items() if (record["device"], record["VLAN"]) == (device, vlan))


def new_network(xo: Strict, name: str) -> str:
    record = {"name_label": name, "name_description": "", "MTU": 1500, "other_config": {"automatic": "false"}}
    return str(xo("network.create", record))


def refusal(client: Strict, method: str, *params: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        client(method, *params)
    return refused.value.description


# --- connecting ----------------------------------------------------------------------------------------------------------


def test_connecting(xo: Strict, vm: str) -> None:
    (pool,) = xo("pool.get_all_records")
    hosts = xo("host.get_all_records")
    token = xo("event.inject", "pool", pool)
    methods = xo.raw("system.listMethods")
    classes = [method.partition(".")[0] for method in methods if method.endswith(".get_all_records")]
    assert len(classes) > 50
    everything = {cls: xo(f"{cls}.get_all_records") for cls in classes}
    assert everything["host"].keys() == hosts.keys()
    check_shapes(everything)
    check_dereferenced(everything)
    batch = xo("event.from", classes, token, 60.1)
    assert [(event["class"], event["operation"]) for event in batch["events"]] == [("pool", "mod")]
    assert batch["valid_ref_counts"]["task"] == len(everything["task"])


def check_shapes(everything: dict[str, dict[str, dict[str, Any]]]) -> None:
    uuids = [record["uuid"] for records in everything.values() for record in records.values()]
    assert len(set(uuids)) == len(uuids)
    assert all(len(uuid) == 36 for uuid in uuids)
    for cls, records in everything.items():
        assert all(REF.fullmatch(ref) for ref in records)
        found = {json.dumps(shape, sort_keys=True) for shape in shapes(records)}
        assert len(found) <= 1, f"{cls}: the fields or their kinds differ from record to record"


def check_dereferenced(everything: dict[str, dict[str, dict[str, Any]]]) -> None:
    """What xapi-object-to-xo.mjs reads without asking."""
    (pool,) = everything["pool"].values()
    assert isinstance(pool["ha_statefiles"], list)
    assert isinstance(pool["restrictions"], dict)
    assert isinstance(everything["host"][pool["master"]]["software_version"], dict)
    for host in everything["host"].values():
        assert all(isinstance(host[name], dict) for name in ("software_version", "license_params", "other_config", "chipset_info"))
        assert all(isinstance(host[name], list) for name in ("capabilities", "PIFs", "PCIs", "PGPUs", "PBDs", "patches", "resident_VMs"))
        assert host["metrics"] in everything["host_metrics"]
    for network in everything["network"].values():
        assert all(isinstance(everything["PIF"][ref]["bond_master_of"], list) for ref in network["PIFs"])
    for one in everything["PIF"].values():
        assert one["bond_slave_of"] == NULL
        assert one["metrics"] in everything["PIF_metrics"]
    for task in everything["task"].values():
        assert isinstance(task["other_config"], dict)
        assert DATE.fullmatch(task["created"])


def test_it_writes_to_the_pool_and_to_vms(xo: Strict, vm: str) -> None:
    (pool,) = xo("pool.get_all_records")
    for _ in range(2):
        xo("pool.remove_from_other_config", pool, "xo:clientInfo:1")
        xo("pool.add_to_other_config", pool, "xo:clientInfo:1", "{}")
    assert refusal(xo, "pool.add_to_other_config", pool, "xo:clientInfo:1", "{}")[0] == "MAP_DUPLICATE_KEY"
    xo("pool.remove_from_other_config", pool, "xo:clientInfo:1")
    platform = xo("VM.get_platform", vm)
    xo("VM.set_platform", vm, {**platform, "cores-per-socket": "1"})
    assert xo("VM.get_platform", vm)["cores-per-socket"] == "1"


def test_a_wrong_password_stops_it_for_good(server: ApiServer) -> None:
    client = Strict(server.url)
    with pytest.raises(Refused) as refused:
        client.raw("session.login_with_password", "root", "no")
    assert refused.value.description[:2] == ["SESSION_AUTHENTICATION_FAILED", "root"]
    assert len(refused.value.description) == 3
    client.close()


# --- networks ------------------------------------------------------------------------------------------------------------


def test_a_vlan_network_comes_and_goes(xo: Strict) -> None:
    token = xo("event.from", ["*"], "", 0)["token"]
    network = new_network(xo, "vlan 55")
    xo("pool.create_VLAN_from_PIF", pif(xo, "eth1"), network, "55")  # text, in JSON too
    (made,) = xo("network.get_PIFs", network)
    batch = xo("event.from", ["network", "PIF", "VLAN"], token, 0)
    told = {(event["class"], event["operation"], event["ref"]) for event in batch["events"]}
    assert {("network", "add", network), ("pif", "add", made)} <= told, "it looks the new PIF up as soon as the call has answered"
    record = xo("PIF.get_record", made)
    assert (record["VLAN"], record["physical"], record["network"]) == (55, False, network)
    for vlan in {xo("PIF.get_VLAN_master_of", one) for one in xo("network.get_PIFs", network)}:
        xo.do("VLAN.destroy", vlan)
    xo.do("network.destroy", network)
    assert refusal(xo, "network.get_record", network) == ["HANDLE_INVALID", "network", network]


def test_moving_a_vlan_to_another_tag(xo: Strict) -> None:
    """pif.editPif: the trap, for the new PIF is looked up in the cache at once."""
    network = new_network(xo, "moved")
    xo("pool.create_VLAN_from_PIF", pif(xo, "eth1"), network, "56")
    token = xo("event.from", ["*"], "", 0)["token"]
    xo.do("VLAN.destroy", xo("PIF.get_VLAN_master_of", pif(xo, "eth1", 56)))
    xo("pool.create_VLAN_from_PIF", pif(xo, "eth1"), network, "57")
    new = pif(xo, "eth1", 57)
    events = xo("event.from", ["PIF"], token, 0)["events"]
    assert [event["snapshot"]["VLAN"] for event in events if event["operation"] == "add"] == [57]
    assert [event["ref"] for event in events if event["operation"] == "add"] == [new]
    xo.do("VLAN.destroy", xo("PIF.get_VLAN_master_of", new))
    xo.do("network.destroy", network)


def test_a_bonded_network(xo: Strict) -> None:
    """Four arguments, no properties."""
    network = new_network(xo, "bonded")
    xo("Bond.create", network, [pif(xo, "eth2"), pif(xo, "eth3")], "", "balance-slb")
    (master,) = xo("network.get_PIFs", network)
    (bond,) = xo("PIF.get_bond_master_of", master)
    record = xo("Bond.get_record", bond)
    assert (record["mode"], sorted(record["slaves"])) == ("balance-slb", sorted([pif(xo, "eth2"), pif(xo, "eth3")]))
    xo("Bond.destroy", bond)
    xo.do("network.destroy", network)


def test_setting_a_network(xo: Strict) -> None:
    network = new_network(xo, "set")
    xo("network.set_name_label", network, "settled")
    xo("network.set_default_locking_mode", network, "disabled")
    xo("network.remove_purpose", network, "insecure_nbd")
    xo("network.add_purpose", network, "nbd")
    xo("network.remove_from_other_config", network, "automatic")
    xo("network.add_to_other_config", network, "automatic", "true")
    assert xo("network.get_record", network)["MTU"] == 1500
    xo("network.set_MTU", network, 1400)
    record = xo("network.get_record", network)
    assert (record["MTU"], record["purpose"], record["default_locking_mode"]) == (1400, ["nbd"], "disabled")
    xo("network.remove_purpose", network, "nbd")
    xo.do("network.destroy", network)


# --- PIFs and VIFs -------------------------------------------------------------------------------------------------------


def test_pifs(xo: Strict) -> None:
    eth1 = pif(xo, "eth1")
    xo.do("PIF.unplug", eth1)
    assert xo("PIF.get_currently_attached", eth1) is False
    xo.do("PIF.plug", eth1)
    xo("PIF.reconfigure_ip", eth1, "Static", "192.0.2.9", "255.255.255.0", "", "")
    assert xo("PIF.get_IP", eth1) == "192.0.2.9"
    xo("PIF.reconfigure_ip", eth1, "None", "", "", "", "")
    host = xo("PIF.get_host", eth1)
    xo.do("PIF.scan", host)
    assert xo("host.get_servertime", host).endswith("Z")


def test_an_interface_of_a_vm(xo: Strict, vm: str) -> None:
    network, other = new_network(xo, "one"), new_network(xo, "other")
    device = xo("VM.get_allowed_VIF_devices", vm)[0]
    assert xo("VM.get_power_state", vm) == "Running"
    mtu = xo("network.get_MTU", network)
    qos: dict[str, Any] = {"qos_algorithm_type": "", "qos_algorithm_params": {}}
    vif = xo("VIF.create", {"device": device, "MAC": "", "MTU": mtu, "network": network, "other_config": {}, "VM": vm, **qos})
    xo.do("VIF.plug", vif)
    xo.do("VIF.move", vif, other)
    xo("VIF.set_qos_algorithm_type", vif, "ratelimit")
    xo("VIF.remove_from_qos_algorithm_params", vif, "kbps")
    xo("VIF.add_to_qos_algorithm_params", vif, "kbps", "1000")
    xo("VIF.set_locking_mode", vif, "unlocked")
    record = xo("VIF.get_record", vif)
    assert (record["network"], record["currently_attached"], record["qos_algorithm_params"]) == (other, True, {"kbps": "1000"})
    xo.do("VIF.unplug_force", vif)
    xo.do("VIF.destroy", vif)
    for one in (network, other):
        xo.do("network.destroy", one)


def test_host_and_pool_pages(xo: Strict) -> None:
    task = xo("task.create", "Xapi#getResource /rrd_updates", "")
    status, _, _ = xo.get(f"/rrd_updates?cf=AVERAGE&host=true&json=true&session_id={xo.session}&task_id={task}")
    assert status == 404
    with pytest.raises(Refused):
        xo.finish(task)  # or the task would stand in its list of tasks for ever
    assert xo.get("/updates")[0] == 404
    (host,) = xo("host.get_all_records")
    assert refusal(xo, "host.call_plugin", host, "updater.py", "check_update", {}) == ["XENAPI_MISSING_PLUGIN", "updater.py"]
    assert xo("host.get_bios_strings", host) == {}
    assert refusal(xo, "host.get_sched_gran", host)[0] == "MESSAGE_METHOD_UNKNOWN"


def test_a_barrier_comes_through(xo: Strict) -> None:
    (pool,) = xo("pool.get_all_records")
    token = xo("event.inject", "pool", pool)
    xo("pool.add_to_other_config", pool, "xo:barrier:1", "1")
    events = xo("event.from", ["pool"], token, 60.1)["events"]
    assert "xo:barrier:1" in events[-1]["snapshot"]["other_config"]
    xo("pool.remove_from_other_config", pool, "xo:barrier:1")
