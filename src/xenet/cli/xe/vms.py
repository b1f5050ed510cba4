"""Commands on VMs that take more than one message."""

from collections.abc import Mapping
from typing import Any

from xenet.cli.xe.abroad import is_abroad, migrate_abroad
from xenet.cli.xe.context import NULL, Context
from xenet.cli.xe.cost import cost_of
from xenet.cli.xe.fields import sro
from xenet.cli.xe.fields_machine import HOST
from xenet.cli.xe.fields_network import VIF
from xenet.cli.xe.generic import print_rows
from xenet.cli.xe.grammar import Misuse
from xenet.cli.xe.records import Names, Row, fetch
from xenet.cli.xe.tasks import run_task

Values = Mapping[str, Any]
_MIB = 1 << 20
_NEW = {
    "user_version": 1,
    "is_a_template": False,
    "affinity": NULL,
    "memory_static_max": 256 * _MIB,
    "memory_dynamic_max": 256 * _MIB,
    "memory_dynamic_min": 256 * _MIB,
    "memory_static_min": 128 * _MIB,
    "VCPUs_params": {},
    "VCPUs_max": 1,
    "VCPUs_at_startup": 1,
    "actions_after_shutdown": "destroy",
    "actions_after_reboot": "restart",
    "actions_after_crash": "restart",
    "PV_bootloader": "",
    "PV_kernel": "",
    "PV_ramdisk": "",
    "PV_args": "",
    "PV_bootloader_args": "",
    "PV_legacy_args": "",
    "HVM_boot_policy": "BIOS order",
    "HVM_boot_params": {},
    "platform": {},
    "PCI_bus": "",
    "recommendations": "",
}
"""What XenServer wants to be told of a new VM."""
_VIF_COLUMNS = ("uuid", "vm-name-label", "device", "MAC", "network-uuid", "network-name-label")


def create(ctx: Context, values: Values) -> None:
    names = {"name_label": values["name-label"], "name_description": values["name-description"]}
    record = {**_NEW, **names, "other_config": values["other-config"]}
    ctx.out.values([ctx.uuid("VM", ctx.call("VM.create", record))])


def start(ctx: Context, vm: Row, values: Values) -> None:
    how = (values["paused"], values["force"])
    if values["on"]:
        ctx.call("VM.start_on", vm.ref, find_host(ctx, values["on"]), *how)
    else:
        ctx.call("VM.start", vm.ref, *how)


def resume(ctx: Context, vm: Row, values: Values) -> None:
    how = (False, values["force"])
    if values["on"]:
        ctx.call("VM.resume_on", vm.ref, find_host(ctx, values["on"]), *how)
    else:
        ctx.call("VM.resume", vm.ref, *how)


def migrate(ctx: Context, vm: Row, values: Values) -> None:
    """Within the pool, or to another one. Raises Misuse."""
    if is_abroad(values):
        migrate_abroad(ctx, vm, values)
        return
    if values["copy"]:
        raise Misuse("A copy goes to another pool: remote-master=<address>")
    if not values["host"] and not values["host-uuid"]:
        raise Misuse("Where to? host=<uuid or name>")
    host = find_host(ctx, values["host"] or values["host-uuid"])
    options = {name: str(values[name]).lower() for name in ("live", "force", "compress") if values[name] != ""}
    cost = cost_of(run_task(ctx, "VM.pool_migrate", vm.ref, host, options))
    ctx.out.message(f"{vm.record['name_label']} runs on {ctx.call('host.get_name_label', host)}{f': {cost}' if cost else ''}")


def shutdown(ctx: Context, vm: Row, values: Values) -> None:
    ctx.call("VM.hard_shutdown" if values["force"] else "VM.clean_shutdown", vm.ref)


def reboot(ctx: Context, vm: Row, values: Values) -> None:
    ctx.call("VM.hard_reboot" if values["force"] else "VM.clean_reboot", vm.ref)


def reset_powerstate(ctx: Context, vm: Row, values: Values) -> None:
    if not values["force"]:
        raise Misuse("A VM that still runs somewhere would run twice: be sure that its host is down, then repeat with --force")
    ctx.call("VM.power_state_reset", vm.ref)


def uninstall(ctx: Context, vm: Row, values: Values) -> None:
    ctx.require_consent("The following items are about to be destroyed", f"VM : {vm.record['uuid']} ({vm.record['name_label']})")
    if vm.record["power_state"] != "Halted":
        ctx.call("VM.hard_shutdown", vm.ref)
    ctx.call("VM.destroy", vm.ref)
    ctx.out.message("All objects destroyed")


def vif_list(ctx: Context, vm: Row, values: Values) -> None:
    names = Names(ctx.call)
    names.load([vm], [sro("VIFs", "VIFs>VIF")])
    found = [(ref, names.find("VIF", ref)) for ref in vm.record["VIFs"]]
    rows = sorted((Row(VIF, ref, record) for ref, record in found if record is not None), key=lambda row: int(row.record["device"]))
    print_rows(ctx, rows, [column for column in VIF.columns if column.name in _VIF_COLUMNS], names)


def find_host(ctx: Context, text: str) -> str:
    """The reference of the host with this uuid, hostname or name-label. Raises Misuse."""
    hosts = [row for row in fetch(ctx.call, HOST) if text in (row.record[name] for name in ("uuid", "hostname", "name_label"))]
    if len(hosts) != 1:
        raise Misuse(f"{len(hosts)} hosts are called '{text}'" if hosts else f"No host is called '{text}'")
    return hosts[0].ref
