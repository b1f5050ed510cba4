"""What xe's commands send, and what they print of the answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.canned_pool import ref, uuid
from tests.cli.xe_runner import Runner, running
from xenet.cli.xe.networks import random_mac
from xenet.model.errors import Failure
from xenet.model.types import NULL


@pytest.fixture
def xe(tmp_path: Path) -> Iterator[Runner]:
    with running(tmp_path) as runner:
        yield runner


SENT: list[tuple[str, list[tuple[Any, ...]]]] = [
    (f"network-destroy uuid={uuid(32)}", [("network.destroy", ref(32))]),
    (f"network-attach uuid={uuid(32)} host-uuid={uuid(1)}", [("network.attach", ref(32), ref(1))]),
    (f"vif-plug uuid={uuid(71)}", [("VIF.plug", ref(71))]),
    (f"vif-unplug uuid={uuid(71)}", [("VIF.unplug", ref(71))]),
    (f"vif-unplug uuid={uuid(71)} --force", [("VIF.unplug_force", ref(71))]),
    (f"vif-unplug uuid={uuid(71)} force=false", [("VIF.unplug", ref(71))]),
    (f"vif-move uuid={uuid(71)} network-uuid={uuid(32)}", [("VIF.move", ref(71), ref(32))]),
    (f"vif-configure-ipv4 uuid={uuid(71)} mode=static address=192.0.2.3/24", [("VIF.configure_ipv4", ref(71), "Static", "192.0.2.3/24", "")]),
    (
        f"pif-reconfigure-ip uuid={uuid(41)} mode=static ip=192.0.2.3 NETMASK=255.255.255.0 dns=192.0.2.1",
        [("PIF.reconfigure_ip", ref(41), "Static", "192.0.2.3", "255.255.255.0", "", "192.0.2.1")],
    ),
    (f"vlan-destroy uuid={uuid(81)}", [("VLAN.destroy", ref(81))]),
    (f"vlan-destroy uuid={uuid(47)}", [("VLAN.destroy", ref(81))]),
    ("host-management-disable", [("host.management_disable",)]),
    (f"host-management-reconfigure pif-uuid={uuid(45)}", [("host.management_reconfigure", ref(45))]),
    ("host-disable host=host1", [("host.disable", ref(1), True)]),
    ("host-evacuate address=192.0.2.2", [("host.evacuate", ref(2), NULL, 0)]),
    ("host-enable --multiple", [("host.enable", ref(1)), ("host.enable", ref(2))]),
    ("vm-start vm=vm2", [("VM.start", ref(62), False, False)]),
    (f"vm-start vm={uuid(62)} on=host2 paused=true force=true", [("VM.start_on", ref(62), ref(2), True, True)]),
    ("vm-shutdown name-label=vm1", [("VM.clean_shutdown", ref(61))]),
    ("vm-shutdown vm=vm1 --force", [("VM.hard_shutdown", ref(61))]),
    ("vm-reboot vm=vm1", [("VM.clean_reboot", ref(61))]),
    (f"vm-reboot uuid={uuid(61)} force=true", [("VM.hard_reboot", ref(61))]),
    ("vm-resume vm=vm2 on=host1", [("VM.resume_on", ref(62), ref(1), False, False)]),
    ("vm-pause vm=vm1", [("VM.pause", ref(61))]),
    ("vm-start --multiple", [("VM.start", ref(61), False, False), ("VM.start", ref(62), False, False)]),
    (f"vm-destroy uuid={uuid(62)}", [("VM.destroy", ref(62))]),
    ("vm-uninstall vm=vm1 --force", [("VM.hard_shutdown", ref(61)), ("VM.destroy", ref(61))]),
    (f"host-set-hostname-live host-uuid={uuid(1)} host-name=rack7", [("host.set_hostname_live", ref(1), "rack7")]),
    (f"task-cancel uuid={uuid(95)}", [("task.cancel", ref(95))]),
    (f"network-param-set uuid={uuid(32)} name-label=red MTU=9000", [("network.set_name_label", ref(32), "red"), ("network.set_MTU", ref(32), 9000)]),
    (
        f"network-param-set uuid={uuid(32)} other-config:a=b=c",
        [("network.remove_from_other_config", ref(32), "a"), ("network.add_to_other_config", ref(32), "a", "b=c")],
    ),
    (
        f"pif-param-set uuid={uuid(41)} disallow-unplug=no properties:gro=off",
        [("PIF.set_disallow_unplug", ref(41), False), ("PIF.set_property", ref(41), "gro", "off")],
    ),
    (
        f"vif-param-set uuid={uuid(71)} locking-mode=LOCKED trunks=5,6",
        [("VIF.set_locking_mode", ref(71), "locked"), ("VIF.set_trunks", ref(71), [5, 6])],
    ),
    (f"vm-param-set uuid={uuid(62)} affinity={uuid(1)}", [("VM.set_affinity", ref(62), ref(1))]),
    (f"vm-param-set uuid={uuid(62)} affinity=", [("VM.set_affinity", ref(62), NULL)]),
    (f"network-param-add uuid={uuid(32)} param-name=tags param-key=c", [("network.add_tags", ref(32), "c")]),
    (
        f"network-param-add uuid={uuid(32)} param-name=other-config a=b c=d",
        [("network.add_to_other_config", ref(32), "a", "b"), ("network.add_to_other_config", ref(32), "c", "d")],
    ),
    (f"network-param-add uuid={uuid(32)} param-name=purpose param-key=NBD", [("network.add_purpose", ref(32), "nbd")]),
    (f"network-param-remove uuid={uuid(32)} param-name=tags param-key=a", [("network.remove_tags", ref(32), "a")]),
    (
        f"network-param-remove uuid={uuid(34)} param-name=other-config param-key=automatic",
        [("network.remove_from_other_config", ref(34), "automatic")],
    ),
    (f"vif-param-remove uuid={uuid(72)} param-name=trunks param-key=5", [("VIF.remove_trunks", ref(72), 5)]),
    (f"network-param-clear uuid={uuid(32)} param-name=tags", [("network.remove_tags", ref(32), "a"), ("network.remove_tags", ref(32), "b")]),
    (f"network-param-clear uuid={uuid(34)} param-name=other-config", [("network.remove_from_other_config", ref(34), "automatic")]),
    (f"vif-param-clear uuid={uuid(72)} param-name=ipv4-allowed", [("VIF.set_ipv4_allowed", ref(72), [])]),
    (f"network-param-clear uuid={uuid(32)} param-name=name-description", [("network.set_name_description", ref(32), "")]),
]


@pytest.mark.parametrize(("line", "acts"), SENT, ids=[line for line, _ in SENT])
def test_messages(xe: Runner, line: str, acts: list[tuple[Any, ...]]) -> None:
    outcome = xe(line)
    assert (outcome.status, outcome.err) == (0, "")
    assert [(name, *args) for name, *args in xe.pool.acts] == acts


PRINTED = [
    (f"vlan-create pif-uuid={uuid(45)} vlan=5 network-uuid={uuid(32)}", "VLAN.create", (ref(45), 5, ref(32)), ref(81), uuid(47)),
    (f"bond-create network-uuid={uuid(32)} pif-uuids={uuid(45)},{uuid(46)} mode=LACP properties:lacp-time=fast", "Bond.create",
     (ref(32), [ref(45), ref(46)], "", "lacp", {"lacp-time": "fast"}), ref(91), uuid(91)),
    (f"bond-create network-uuid={uuid(32)} pif-uuids={uuid(45)} mode=", "Bond.create",
     (ref(32), [ref(45)], "", "balance-slb", {}), ref(91), uuid(91)),
    (f"pool-vlan-create pif-uuid={uuid(41)} vlan=5 network-uuid={uuid(32)}", "pool.create_VLAN_from_PIF", (ref(41), ref(32), 5), [ref(47), ref(41)],
     f"{uuid(47)}\n{uuid(41)}"),
    (f"pool-vlan-create pif-uuid={uuid(41)} vlan=5 network-uuid={uuid(32)} --minimal", "pool.create_VLAN_from_PIF", (ref(41), ref(32), 5),
     [ref(47), ref(41)], f"{uuid(47)},{uuid(41)}"),
    (f"pif-introduce host-uuid={uuid(1)} device=eth7", "PIF.introduce", (ref(1), "", "eth7", True), ref(45), uuid(45)),
    ("pool-recover-slaves", "pool.recover_slaves", (), [ref(2)], uuid(2)),
    ("host-is-in-emergency-mode", "host.is_in_emergency_mode", (), False, "false"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message", "args", "result", "printed"), PRINTED, ids=[row[0] for row in PRINTED])
def test_results(xe: Runner, line: str, message: str, args: tuple[Any, ...], result: Any, printed: str) -> None:
    xe.pool.results[message] = result
    assert xe(line) == (0, f"{printed}\n", "")
    assert xe.pool.acts == [(message, *args)]


def test_network_create(xe: Runner) -> None:
    xe.pool.results["network.create"] = ref(32)
    assert xe("network-create name-label=green MTU=9000").out == f"{uuid(32)}\n"
    [(_, record)] = xe.pool.acts
    assert record == {"name_label": "green", "name_description": "", "MTU": 9000, "bridge": "", "managed": True, "other_config": {}, "tags": []}


def test_vif_create_takes_the_network_s_mtu(xe: Runner) -> None:
    xe.pool.results["VIF.create"] = ref(71)
    xe.pool.records["network"][ref(32)]["MTU"] = 9000
    line = f"vif-create vm-uuid={uuid(61)} network-uuid={uuid(32)} device=2"
    assert xe(line).out == f"{uuid(71)}\n"
    assert xe(f"{line} mac=random").status == 0
    (_, plain), (_, random) = xe.pool.acts
    assert (plain["device"], plain["VM"], plain["network"], plain["MTU"], plain["MAC"]) == ("2", ref(61), ref(32), 9000, "")
    assert random["MAC"].count(":") == 5


def test_random_addresses_are_local_and_unicast() -> None:
    macs = {random_mac() for _ in range(64)}
    assert len(macs) == 64
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)


def test_vm_create(xe: Runner) -> None:
    xe.pool.results["VM.create"] = ref(61)
    assert xe("vm-create name-label=vm9 other-config:xenet-guest=namespace").out == f"{uuid(61)}\n"
    [(_, record)] = xe.pool.acts
    assert (record["name_label"], record["other_config"], record["affinity"]) == ("vm9", {"xenet-guest": "namespace"}, NULL)


def test_fdb_list(xe: Runner) -> None:
    entry = {"host": "host2", "mac": "4a:00:00:00:00:47", "port": "vif3.0", "owner": f"VIF {uuid(71)}", "age": "1", "local": "false"}
    xe.pool.results["network.get_fdb"] = [entry, {**entry, "host": "host1", "port": "eth0", "owner": "", "age": "12"}]
    xe.pool.results["network.get_silent_hosts"] = []
    line = f"network-fdb-list uuid={uuid(31)}"
    assert xe(line).out == (
        "MAC                HOST   PORT    OWNER                                     AGE  LOCAL\n"
        "4a:00:00:00:00:47  host1  eth0                                              12   false\n"
        f"4a:00:00:00:00:47  host2  vif3.0  VIF {uuid(71)}  1    false\n"
    )
    minimal = "4a:00:00:00:00:47,4a:00:00:00:00:47\n"
    assert xe(f"{line} --minimal") == (0, minimal, "")
    xe.pool.results["network.get_silent_hosts"] = [ref(2), ref(1)]
    assert xe(f"{line} --minimal") == (1, minimal, "Error: host1, host2 left out: no agent is there to answer\n")


def test_message_create(xe: Runner) -> None:
    xe.pool.results["message.create"] = ref(98)
    assert xe(f"message-create name=NOTE priority=5 body=hello host-uuid={uuid(1)}") == (0, "", "")
    assert xe(f"message-create name=NOTE priority=1 body=x vm-uuid={uuid(61)} pool-uuid={uuid(99)}").status == 1
    assert xe.pool.acts == [("message.create", "NOTE", 5, "Host", uuid(1), "hello")]


def test_mtu_list(xe: Runner) -> None:
    entry = {"host": "host1", "device": "eth0", "owner": f"PIF {uuid(41)}", "mtu": "1500"}
    xe.pool.results["network.get_mtus"] = [entry, {**entry, "device": "vif3.0", "owner": f"VIF {uuid(71)}", "mtu": "9000"}]
    line = f"network-mtu-list uuid={uuid(31)}"
    assert xe(line).out == (
        f"DEVICE  HOST   OWNER                                     MTU\neth0    host1  PIF {uuid(41)}  1500\nvif3.0  host1  VIF {uuid(71)}  9000\n"
    )
    assert xe(f"{line} --minimal").out == "eth0,vif3.0\n"
    assert xe(f"{line} size=9000 --minimal").out == "eth0\n"
    assert xe(f"{line} size=1500 --minimal").out == ""


def test_questions(xe: Runner) -> None:
    refused = xe("vm-uninstall vm=vm2", typed="no\n")
    assert refused.status == 1
    assert uuid(62) in refused.out
    assert "nothing was done" in refused.err
    assert xe(f"pool-eject host-uuid={uuid(2)}", typed="").status == 1
    assert xe(f"host-reset-networking host-uuid={uuid(1)}", typed="no\n").status == 1
    assert xe.pool.acts == []
    assert xe("vm-uninstall vm=vm2", typed="yes\n").status == 0
    assert xe(f"pool-eject host-uuid={uuid(2)}", typed="Yes\n").status == 0
    assert xe(f"host-reset-networking host-uuid={uuid(1)} --force").status == 0
    assert xe.pool.acts == [("VM.destroy", ref(62)), ("pool.eject", ref(2)), ("host.reset_networking", ref(1))]


def test_one_refusal_of_several_does_not_keep_the_others_back(xe: Runner) -> None:
    xe.pool.failures["VM.start"] = Failure("VM_BAD_POWER_STATE", ref(61), "halted", "running")
    outcome = xe("vm-start --multiple")
    assert outcome.status == 1
    assert outcome.err.startswith(
        "vm1:\nThe VM is in another power state than this needs.\nvm: " + uuid(61) + " (vm1)\nexpected: halted\nactual: running\nvm2:\n"
    )
    assert outcome.err.endswith("2 of 2 failed\n")
    assert len(xe.pool.acts) == 2


ERRORS = [
    (
        Failure("NETWORK_ALREADY_CONNECTED", ref(1), ref(41)),
        f"The host has a PIF on this network already.\nhost: {uuid(1)} (host1)\nPIF: {uuid(41)} (eth0)\n",
    ),
    (Failure("NETWORK_CONTAINS_VIF", ref(71), ref(72)), f"The network still has VIFs in use.\nvifs: {uuid(71)} (0)\nvifs: {uuid(72)} (1)\n"),
    (Failure("HANDLE_INVALID", "network", "OpaqueRef:gone"), "There is no such object (any more).\nclass: network\nhandle: OpaqueRef:gone\n"),
    (Failure("VLAN_TAG_INVALID"), "A VLAN's tag is a number from 0 to 4094.\nVLAN: <unknown>\n"),
    (Failure("VLAN_TAG_INVALID", "5000", "x"), "A VLAN's tag is a number from 0 to 4094.\nVLAN: 5000\n<extra>: x\n"),
    (Failure("PIF_IS_NOT_SRIOV_CAPABLE", ref(41)), f"The NIC has no SR-IOV.\nPIF: {uuid(41)} (eth0)\n"),
    (
        Failure("NETWORK_SRIOV_ENABLE_FAILED", ref(41), "no"),
        f"SR-IOV could not be switched on.\nPIF: {uuid(41)} (eth0)\nmessage: no\n",
    ),
    (Failure("CANNOT_CHANGE_PIF_PROPERTIES", ref(47)), f"Properties belong to bonds and to NICs that are in none.\nPIF: {uuid(47)} (eth0)\n"),
    (Failure("INVALID_VALUE", "properties", "gro = x"), "This value is not allowed here.\nfield: properties\nvalue: gro = x\n"),
    (Failure("HOST_NAME_INVALID", "hostname empty"), "This is no name that a host can have.\nreason: hostname empty\n"),
    (Failure("SOMETHING_NEW", "a", "b"), "Error code: SOMETHING_NEW\nError parameters: a, b\n"),
]


@pytest.mark.parametrize(("failure", "text"), ERRORS, ids=lambda value: getattr(value, "code", ""))
def test_refusals(xe: Runner, failure: Failure, text: str) -> None:
    xe.pool.failures["network.destroy"] = failure
    assert xe(f"network-destroy uuid={uuid(31)}") == (1, "", text)


def test_event_wait(xe: Runner) -> None:
    vm = xe.pool.records["VM"][ref(61)]

    def batch(state: str, token: str) -> dict[str, Any]:
        gone = {"class": "vm", "operation": "del", "ref": ref(62)}
        return {"token": token, "events": [gone, {"class": "vm", "operation": "mod", "ref": ref(61), "snapshot": {**vm, "power_state": state}}]}

    xe.pool.results["event.from"] = [batch("Running", "1"), batch("Paused", "2"), batch("Halted", "3")]
    assert xe("event-wait class=vm name-label=vm1 power-state=/=running power-state=/=paused") == (0, "", "")
    assert [call[1:] for call in xe.pool.acts] == [(["vm"], "", 30.0), (["vm"], "1", 30.0), (["vm"], "2", 30.0)]


def test_a_long_list_takes_one_call_for_each_class(xe: Runner) -> None:
    template = xe.pool.records["VIF"][ref(71)]
    for number in range(1000, 1400):
        vm, network = ref(number), ref(number)
        xe.pool.records["VIF"][ref(number)] = {**template, "uuid": uuid(number), "VM": vm, "network": network}
        xe.pool.records["VM"][vm] = {**xe.pool.records["VM"][ref(62)], "uuid": uuid(number), "name_label": f"vm{number}"}
        xe.pool.records["network"][network] = {**xe.pool.records["network"][ref(31)], "uuid": uuid(number)}
    assert xe("vif-list params=all").out.count("vm-name-label") == 403
    assert sorted(call[0] for call in xe.pool.calls) == ["VIF.get_all_records", "VM.get_all_records", "network.get_all_records"]
