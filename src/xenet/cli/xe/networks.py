"""Commands on networks, VIFs and VLANs that take more than one message."""

import os
from collections.abc import Mapping
from typing import Any

from xenet.cli.xe.context import Context
from xenet.cli.xe.grammar import Misuse
from xenet.model.errors import Failure

Values = Mapping[str, Any]
MTU_COLUMNS = ("device", "host", "owner", "mtu")
FDB_COLUMNS = ("mac", "host", "port", "owner", "age", "local")


def network_create(ctx: Context, values: Values) -> None:
    record = {
        "name_label": values["name-label"],
        "name_description": values["name-description"],
        "MTU": values["MTU"],
        "bridge": values["bridge"],
        "managed": values["managed"],
        "other_config": {},
        "tags": [],
    }
    ctx.out.values([ctx.uuid("network", ctx.call("network.create", record))])


def network_fdb_list(ctx: Context, values: Values) -> None:
    """xenet's own: the forwarding tables as a table, ages in seconds; --minimal gives the addresses. Raises Misuse where a host is left out."""
    entries: list[Mapping[str, str]] = ctx.call("network.get_fdb", values["uuid"])
    rows = [[str(entry.get(name, "")) for name in FDB_COLUMNS] for entry in entries]
    ctx.out.table([name.upper() for name in FDB_COLUMNS], sorted(rows, key=lambda row: (row[1], row[2], row[0])))
    silent = sorted(ctx.call("host.get_name_label", host) for host in ctx.call("network.get_silent_hosts", values["uuid"]))
    if silent:
        raise Misuse(f"{', '.join(silent)} left out: no agent is there to answer")


def network_mtu_list(ctx: Context, values: Values) -> None:
    """xenet's own: a table; --minimal gives the devices."""
    size = int(values["size"])
    entries: list[Mapping[str, str]] = ctx.call("network.get_mtus", values["uuid"])
    rows = [[entry[name] for name in MTU_COLUMNS] for entry in entries if not size or int(entry["mtu"]) < size]
    ctx.out.table([name.upper() for name in MTU_COLUMNS], rows)


def vif_create(ctx: Context, values: Values) -> None:
    record = {
        "device": values["device"],
        "network": values["network-uuid"],
        "VM": values["vm-uuid"],
        "MAC": random_mac() if values["mac"].lower() == "random" else values["mac"],
        "MTU": ctx.call("network.get_MTU", values["network-uuid"]),
        "other_config": {},
        "currently_attached": False,
        "qos_algorithm_type": "",
        "qos_algorithm_params": {},
        "locking_mode": "network_default",
        "ipv4_allowed": [],
        "ipv6_allowed": [],
    }
    ctx.out.values([ctx.uuid("VIF", ctx.call("VIF.create", record))])


def random_mac() -> str:
    """A random unicast address of the locally administered range (IEEE 802: second lowest bit of the first byte)."""
    first, *rest = os.urandom(6)
    return ":".join(f"{byte:02x}" for byte in (first & 0xFC | 0x02, *rest))


def vif_unplug(ctx: Context, values: Values) -> None:
    ctx.call("VIF.unplug_force" if values["force"] else "VIF.unplug", values["uuid"])


def vlan_destroy(ctx: Context, values: Values) -> None:
    """A uuid that is no VLAN's may be its untagged PIF's, which is what vlan-create printed."""
    uuid = values["uuid"]
    try:
        ref = ctx.ref("VLAN", uuid)
    except Failure as failure:
        if failure.code != "UUID_INVALID":
            raise
        ref = ctx.call("PIF.get_VLAN_master_of", ctx.ref("PIF", uuid))
    ctx.call("VLAN.destroy", ref)
