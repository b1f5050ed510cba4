"""What the lab asks of its server, as any XenAPI client would: are the hosts there, and VMs to begin with."""

import time
from collections.abc import Callable
from typing import Any

from xenet.client import Client
from xenet.lab.boot import Boot
from xenet.lab.run import LabError
from xenet.lab.topology import MIB, VM, Host, Lab

HOSTS_S = 60.0
"""How long hosts may take to join and to plug their NICs, in seconds."""
Check = Callable[[], None]
"""Called while waiting; raises when there is nothing left to wait for."""


def wait_for_hosts(client: Client, hosts: tuple[Host, ...], check: Check, timeout_s: float = HOSTS_S) -> None:
    """Until each is live and every NIC's PIF is plugged on its external network. Raises LabError."""
    deadline = time.monotonic() + timeout_s
    while missing := _missing(client, hosts):
        check()
        if time.monotonic() > deadline:
            raise LabError(f"not there after {timeout_s:.0f} s: {', '.join(missing)}")
        time.sleep(0.05)


def _missing(client: Client, hosts: tuple[Host, ...]) -> list[str]:
    records = client.call("host.get_all_records")
    metrics = client.call("host_metrics.get_all_records")
    live = {r["name_label"]: ref for ref, r in records.items() if r["metrics"] in metrics and metrics[r["metrics"]]["live"]}
    plugged = {(pif["host"], pif["device"]) for pif in client.call("PIF.get_all_records").values() if pif["currently_attached"]}
    missing = [host.name for host in hosts if host.name not in live]
    return missing + [
        f"{host.name}/{nic.name}" for host in hosts if host.name in live for nic in host.nics if (live[host.name], nic.name) not in plugged
    ]


def create_vms(client: Client, lab: Lab) -> None:
    """Every VM of the topology, started on its host. Raises Failure."""
    hosts = {record["name_label"]: ref for ref, record in client.call("host.get_all_records").items()}
    networks = {(pif["host"], pif["device"]): pif["network"] for pif in client.call("PIF.get_all_records").values() if pif["physical"]}
    for vm in lab.vms:
        ref = create_vm(client, vm.name, {"xenet-lab-address": vm.address}, vm.boot)
        create_vif(client, ref, networks[hosts[vm.host], vm.nic])
        client.call("VM.start_on", ref, hosts[vm.host], False, False)


def create_vm(client: Client, name: str, other_config: dict[str, str] | None = None, boot: Boot | None = None) -> str:
    """A halted VM; its reference. Without `boot` its guest is a namespace, and the sizes are nobody's: that takes what it needs."""
    memory = (boot.memory if boot else 64) * MIB
    record: dict[str, Any] = {
        "name_label": name,
        "name_description": "a guest of the lab",
        "is_a_template": False,
        "affinity": "OpaqueRef:NULL",
        **dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min"), memory),
        "VCPUs_max": 1,
        "VCPUs_at_startup": 1,
        "VCPUs_params": {},
        "actions_after_shutdown": "destroy",
        "actions_after_reboot": "restart",
        "actions_after_crash": "restart",
        "HVM_boot_policy": "",
        "HVM_boot_params": {},
        "PV_bootloader": "",
        "PV_kernel": boot.kernel if boot else "",
        "PV_ramdisk": boot.ramdisk if boot else "",
        "PV_args": boot.args if boot else "",
        "PV_bootloader_args": "",
        "PV_legacy_args": "",
        "PCI_bus": "",
        "platform": {},
        "recommendations": "",
        "other_config": {"xenet-guest": "qemu" if boot else "namespace", **(other_config or {})},
    }
    return str(client.call("VM.create", record))


def create_vif(client: Client, vm: str, network: str, device: str = "0") -> str:
    """A VIF with a MAC from the VM's seed; its reference."""
    record = {
        "device": device,
        "network": network,
        "VM": vm,
        "MAC": "",
        "MTU": 1500,
        "other_config": {},
        "qos_algorithm_type": "",
        "qos_algorithm_params": {},
    }
    return str(client.call("VIF.create", record))


def address_of(vms: tuple[VM, ...], name: str) -> str | None:
    """The address that the topology gives to a VM of this name."""
    return next((vm.address for vm in vms if vm.name == name), None)
