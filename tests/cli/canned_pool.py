"""A small pool as records, and a server that answers XenAPI's implicit messages from them.

Two hosts; eth0 and eth1 of each, eth10 to try the natural order; a VLAN on host1's eth0; a bond on host2; two VMs, a template and
dom0. Every record has all fields of its declaration, so that what `xe` shows of them is shown from real records.
"""

from collections.abc import Mapping
from typing import Any

from xenet.model.classes import API
from xenet.model.declare import Field, public_fields
from xenet.model.errors import Failure
from xenet.model.himn import BRIDGE, SETTINGS
from xenet.model.types import NULL

CLASSES = {cls.xenapi: cls for cls in API}
_EMPTY = {"string": "", "int": 0, "float": 0.0, "bool": False, "datetime": "19700101T00:00:00Z", "ref": NULL, "set": [], "map": {}}
SESSION = "OpaqueRef:session"
_HEARD = {"frames": 998, "lost": 2, "duplicated": 0, "gap": "2.5", "announced": "1.2", "whole": "true"}
MIGRATED = "<value><struct>{}</struct></value>".format(
    "".join(f"<member><name>{name}</name><value>{value}</value></member>" for name, value in _HEARD.items())
)
"""What VM.pool_migrate found out, as its task has it."""
NEW_YEAR = "20260101T00:00:00Z"


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def ref(number: int) -> str:
    """References are not made of uuids here, so that nothing can cut one out of the other."""
    return f"OpaqueRef:ref-{number}"


def _default(field: Field) -> Any:
    if field.default is None or field.default == () or field.type.kind == "datetime":
        return field.type.values[0] if field.type.kind == "enum" else _EMPTY[field.type.kind]
    return field.default


def record(cls: str, number: int, /, **fields: Any) -> dict[str, Any]:
    """A record with all public fields of its class."""
    declared = public_fields(CLASSES[cls])
    unknown = set(fields) - set(declared)
    assert not unknown, f"{cls} has no {unknown}"
    return {**{name: _default(field) for name, field in declared.items()}, "uuid": uuid(number), **fields}


def pif(number: int, device: str, host: int, network: int, metrics: int, **fields: Any) -> dict[str, Any]:
    known = {"device": device, "host": ref(host), "network": ref(network), "metrics": ref(metrics), "MTU": 1500, "VLAN": -1, "physical": True}
    mac = f"02:00:00:00:0{host}:{number:02x}"
    return record("PIF", number, **{**known, "MAC": mac, "currently_attached": True, "managed": True, "properties": {"gro": "on"}, **fields})


def vif(number: int, device: str, vm: int, network: int, **fields: Any) -> dict[str, Any]:
    known = {"device": device, "VM": ref(vm), "network": ref(network), "MAC": f"4a:00:00:00:00:{number:02x}", "MTU": 1500}
    return record("VIF", number, **known, qos_algorithm_type="", qos_algorithm_params={}, other_config={}, **fields)


def build() -> dict[str, dict[str, dict[str, Any]]]:
    """Records by class and reference."""
    hosts = {
        n: record("host", n, name_label=f"host{n}", hostname=f"host{n}", enabled=True, address=f"192.0.2.{n}", metrics=ref(10 + n)) for n in (1, 2)
    }
    hosts[1] |= {
        "software_version": {"network_backend": "bridge", "product_version": "8.4.0"},
        "control_domain": ref(60),
        "resident_VMs": [ref(60), ref(61)],
    }
    networks = {
        30: record("network", 30, name_label="Host internal management network", bridge=BRIDGE, other_config=dict(SETTINGS)),
        31: record("network", 31, name_label="Pool-wide network associated with eth0", bridge="xenbr0", PIFs=[ref(41), ref(42)], VIFs=[ref(71)]),
        32: record("network", 32, name_label="green", name_description="what, and why", bridge="xapi0", tags=["a", "b"], VIFs=[ref(72), ref(73)]),
        33: record("network", 33, name_label="Pool-wide network associated with eth10", bridge="xenbr10", PIFs=[ref(45)]),
        34: record(
            "network", 34, name_label="Pool-wide network associated with eth2", bridge="xenbr2", PIFs=[ref(46)], other_config={"automatic": "false"}
        ),
    }
    pifs = {
        41: pif(41, "eth0", 1, 31, 51, management=True, ip_configuration_mode="DHCP", IP="192.0.2.1", VLAN_slave_of=[ref(81)], disallow_unplug=True),
        42: pif(42, "eth0", 2, 31, 52, bond_slave_of=ref(91)),
        43: pif(43, "eth1", 2, 31, 53, bond_slave_of=ref(91), currently_attached=False),
        44: pif(44, "bond0", 2, 32, 54, physical=False, bond_master_of=[ref(91)]),
        45: pif(45, "eth10", 1, 33, 55),
        46: pif(46, "eth2", 1, 34, 56),
        48: pif(48, "tunnel0", 1, 32, 51, physical=False, tunnel_access_PIF_of=[ref(101)]),
        49: pif(49, "eth10", 1, 32, 55, physical=False, sriov_logical_PIF_of=[ref(102)]),
        47: pif(47, "eth0", 1, 32, 51, physical=False, VLAN=5, VLAN_master_of=ref(81), MAC="fe:ff:ff:ff:ff:ff"),
    }
    vms = {
        60: record("VM", 60, name_label="Control domain on host1", is_control_domain=True, power_state="Running", resident_on=ref(1)),
        61: record(
            "VM",
            61,
            name_label="vm1",
            power_state="Running",
            resident_on=ref(1),
            metrics=ref(65),
            guest_metrics=ref(66),
            VIFs=[ref(72), ref(71)],
            domid=3,
        ),
        62: record("VM", 62, name_label="vm2", VIFs=[ref(73)], allowed_operations=["start", "destroy"]),
        63: record("VM", 63, name_label="Other install media", is_a_template=True),
        64: record("VM", 64, name_label="vm1 before", is_a_template=True, is_a_snapshot=True, snapshot_of=ref(61), snapshot_time=NEW_YEAR),
    }
    vifs = {
        71: vif(71, "0", 61, 31, currently_attached=True, current_operations={"OpaqueRef:t": "unplug"}, allowed_operations=["attach", "unplug"]),
        72: vif(72, "1", 61, 32, locking_mode="locked", ipv4_allowed=["192.0.2.7", "192.0.2.8"], trunks=[5, 6]),
        73: vif(73, "0", 62, 32, MAC_autogenerated=True),
    }
    tables: dict[str, dict[int, dict[str, Any]]] = {
        "pool": {5: record("pool", 5, name_label="lab", master=ref(1), allowed_operations=["eject"])},
        "host": hosts,
        "host_metrics": {n: record("host_metrics", n, live=n == 11, memory_total=1 << 30) for n in (11, 12)},
        "network": networks,
        "PIF": pifs,
        "PIF_metrics": {n: record("PIF_metrics", n, carrier=n < 54, speed=1000, duplex=True, vendor_name="Ventor, \\ Ltd") for n in range(51, 57)},
        "VIF": vifs,
        "VM": vms,
        "VM_metrics": {65: record("VM_metrics", 65, VCPUs_number=2, start_time=NEW_YEAR, memory_actual=268435456)},
        "VM_guest_metrics": {66: record("VM_guest_metrics", 66, networks={"0/ip": "192.0.2.9", "1/ip": "10.0.0.1"}, live=True)},
        "VLAN": {81: record("VLAN", 81, tagged_PIF=ref(41), untagged_PIF=ref(47), tag=5)},
        "Bond": {
            91: record(
                "Bond",
                91,
                master=ref(44),
                slaves=[ref(42), ref(43)],
                primary_slave=ref(42),
                mode="lacp",
                properties={"lacp-time": "slow"},
                links_up=1,
            )
        },
        "tunnel": {101: record("tunnel", 101, access_PIF=ref(48), transport_PIF=ref(41), status={"active": "true", "key": "1"}, protocol="vxlan")},
        "network_sriov": {102: record("network_sriov", 102, physical_PIF=ref(45), logical_PIF=ref(49), configuration_mode="sysfs")},
        "subject": {103: record("subject", 103, subject_identifier="ann", other_config={"subject-name": "ann"}, roles=[ref(105)])},
        "role": {
            104: record("role", 104, name_label="read-only", name_description="Sees everything and changes nothing"),
            105: record("role", 105, name_label="pool-operator", name_description="Does everything but keep users"),
        },
        "message": {
            106: record("message", 106, name="BOND_STATUS_CHANGED", priority=3, cls="Host", obj_uuid=uuid(2), timestamp=NEW_YEAR, body="a link")
        },
        "SDN_controller": {},
        "task": {
            95: record("task", 95, name_label="Async.VM.start", status="pending", progress=0.25, resident_on=ref(1), subtask_of=ref(99)),
            96: record("task", 96, name_label="Async.VM.pool_migrate", status="success", progress=1.0, result=MIGRATED),
        },
    }
    return {cls: {ref(number): one for number, one in rows.items()} for cls, rows in tables.items()}


class CannedPool:
    """Answers get_*, set_*, add_* and remove_* from the records, other messages from `results`; keeps what it was asked."""

    def __init__(self) -> None:
        self.records = build()
        self.calls: list[tuple[Any, ...]] = []
        self.results: dict[str, Any] = {
            "VM.get_allowed_VBD_devices": ["0", "1"],
            "VM.get_allowed_VIF_devices": ["2", "3"],
            "VM.get_possible_hosts": [ref(1), ref(2)],
        }
        self.failures: dict[str, Failure] = {}

    def answer(self, method: str, params: list[Any]) -> Any:
        if "login" in method or method in ("session.logout", "session.local_logout"):
            return SESSION
        assert params[0] == SESSION
        self.calls.append((method, *params[1:]))
        if method in self.failures:
            raise self.failures[method]
        if method in self.results:
            result = self.results[method]
            return result.pop(0) if isinstance(result, list) and method == "event.from" else result
        cls, _, message = method.partition(".")
        if cls == "session":
            return ""
        if cls not in self.records:
            raise Failure("MESSAGE_METHOD_UNKNOWN", method)
        return self._implicit(cls, message, params[1:])

    @property
    def acts(self) -> list[tuple[Any, ...]]:
        """What was asked beside reading."""
        return [call for call in self.calls if not call[0].partition(".")[2].startswith("get_")]

    def _implicit(self, cls: str, message: str, args: list[Any]) -> Any:
        table = self.records[cls]
        if message == "get_all_records":
            return table
        if message == "get_by_uuid":
            return next((key for key, one in table.items() if one["uuid"] == args[0]), None) or self._refuse("UUID_INVALID", cls, args[0])
        if not message.startswith(("get_", "set_", "add_", "remove_")):
            return ""
        one: Mapping[str, Any] = table.get(args[0]) or self._refuse("HANDLE_INVALID", cls, args[0])
        if message == "get_record":
            return one
        return one[message.removeprefix("get_")] if message.startswith("get_") else ""

    @staticmethod
    def _refuse(code: str, *params: str) -> Any:
        raise Failure(code, *params)
