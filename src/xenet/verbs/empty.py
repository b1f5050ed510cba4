"""The classes of XenServer that have no objects here, from one table: clients list them when they connect, and so hear of no storage, no GPU,
no patch. They answer the look-ups, with nothing; whatever else is asked of them is MESSAGE_METHOD_UNKNOWN."""

from collections.abc import Iterator
from typing import Any

from xenet.model.declare import APIType
from xenet.model.errors import Failure, handle_invalid
from xenet.model.types import Ref
from xenet.verbs.call import Call
from xenet.verbs.query import matcher
from xenet.verbs.registry import Message, Param, register

NAMED = (
    *("SR", "SM", "VDI", "PVS_site", "GPU_group", "USB_group", "VMPP", "VMSS", "VM_appliance", "VM_group", "DR_task"),
    *("Feature", "Repository", "blob", "host_patch", "pool_patch", "pool_update"),
)
"""Those with a name_label, and so with get_by_name_label."""
UNNAMED = (
    *("PBD", "VBD", "VBD_metrics", "VTPM", "VUSB", "VGPU", "VGPU_type", "PCI", "PGPU", "PUSB", "console", "crashdump", "secret"),
    *("host_cpu", "host_crashdump", "Cluster", "Cluster_host", "Certificate", "Observer", "SDN_controller", "host_driver", "driver_variant"),
    *("PVS_server", "PVS_proxy", "PVS_cache_storage"),
)
EMPTY_CLASSES = (*NAMED, *UNNAMED)
STRING = APIType("string")


def _look_ups(name: str) -> Iterator[Message]:
    me, record = APIType("ref", name=name), APIType("record", name=name)
    many, table = APIType("set", of=me), APIType("map", key=me, of=record)

    def none_of(call: Call) -> list[Ref]:
        return []

    def no_records(call: Call) -> dict[Ref, Any]:
        return {}

    def none_where(call: Call, expr: str) -> list[Ref]:
        matcher(expr)
        return []

    def no_records_where(call: Call, expr: str) -> dict[Ref, Any]:
        matcher(expr)
        return {}

    def none_named(call: Call, label: str) -> list[Ref]:
        return []

    def no_uuid(call: Call, uuid: str) -> Ref:
        raise Failure("UUID_INVALID", name, uuid)

    def no_object(call: Call, self: Ref) -> Any:
        raise handle_invalid(name, self)

    yield _made(name, "get_all", none_of, (), many)
    yield _made(name, "get_all_records", no_records, (), table)
    yield _made(name, "get_all_where", none_where, (Param("expr", STRING),), many)
    yield _made(name, "get_all_records_where", no_records_where, (Param("expr", STRING),), table)
    yield _made(name, "get_by_uuid", no_uuid, (Param("uuid", STRING),), me)
    yield _made(name, "get_record", no_object, (Param("self", me),), record)
    yield _made(name, "get_uuid", no_object, (Param("self", me),), STRING)
    if name in NAMED:
        yield _made(name, "get_by_name_label", none_named, (Param("label", STRING),), many)
        yield _made(name, "get_name_label", no_object, (Param("self", me),), STRING)


def _made(cls: str, name: str, run: Any, params: tuple[Param, ...], result: APIType) -> Message:
    return Message(cls, name, params, result, run, implicit=True)


def register_empty() -> None:
    """Enter the look-ups of every class without objects."""
    for name in EMPTY_CLASSES:
        for entry in _look_ups(name):
            register(entry)
