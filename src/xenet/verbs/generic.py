"""The messages that every class has, made from its declaration: getters, setters, look-ups, whole records, queries."""

from collections.abc import Iterator
from typing import Any

from xenet.model.classes import PUBLIC
from xenet.model.declare import APIType, Field, public_fields
from xenet.model.errors import Failure
from xenet.model.state import PoolState
from xenet.model.types import Qualifier, Record, Ref, ref_of
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.mirror import check_mirror
from xenet.verbs.query import matcher
from xenet.verbs.registry import VOID, Message, Param, register
from xenet.verbs.stack import check_own_mtu

STRING = APIType("string")
SETTABLE = {
    ("task", "other_config"),
    ("pool", "guest_agent_config"),
    *(("VM", name) for name in ("other_config", "platform", "blocked_operations", "bios_strings", "order", "start_delay", "shutdown_delay")),
}
"""What the datamodel calls read-only, for which XenServer has setters all the same: xe and Xen Orchestra call them."""


def view(state: PoolState, record: Record) -> dict[str, Any]:
    """A record as clients see it: every public field, back-references computed, references to what is gone kept as they are."""
    return {name: read(state, record, field) for name, field in public_fields(type(record)).items()}


def read(state: PoolState, record: Record, field: Field) -> Any:
    if field.back is not None:
        return state.back(record.ref, field.back)
    return getattr(record, field.name)


def _look_ups(cls: type[Record]) -> Iterator[Message]:
    me = APIType("ref", name=cls.xenapi)
    record, many = APIType("record", name=cls.xenapi), APIType("set", of=me)
    table = APIType("map", key=me, of=record)

    def get_all(call: Call) -> list[Ref]:
        return [r.ref for r in call.state.all(cls)]

    def get_all_records(call: Call) -> dict[Ref, dict[str, Any]]:
        return {r.ref: view(call.state, r) for r in call.state.all(cls)}

    def get_record(call: Call, self: Ref) -> dict[str, Any]:
        return view(call.state, call.state.get(cls, self))

    def get_by_uuid(call: Call, uuid: str) -> Ref:
        if call.state.find(cls, ref_of(uuid)) is None:
            raise Failure("UUID_INVALID", cls.xenapi, uuid)
        return ref_of(uuid)

    def get_by_name_label(call: Call, label: str) -> list[Ref]:
        return call.state.refs_where(cls.xenapi, "name_label", label)

    def get_all_where(call: Call, expr: str) -> list[Ref]:
        return list(get_all_records_where(call, expr))

    def get_all_records_where(call: Call, expr: str) -> dict[Ref, dict[str, Any]]:
        matches = matcher(expr)
        return {ref: record for ref, record in get_all_records(call).items() if matches(record)}

    yield _implicit(cls, "get_all", get_all, (), many)
    yield _implicit(cls, "get_all_records", get_all_records, (), table)
    yield _implicit(cls, "get_all_where", get_all_where, (("expr", STRING),), many)
    yield _implicit(cls, "get_all_records_where", get_all_records_where, (("expr", STRING),), table)
    yield _implicit(cls, "get_record", get_record, (("self", me),), record)
    yield _implicit(cls, "get_by_uuid", get_by_uuid, (("uuid", STRING),), me)
    if "name_label" in public_fields(cls):
        yield _implicit(cls, "get_by_name_label", get_by_name_label, (("label", STRING),), many)


def _getter(cls: type[Record], field: Field) -> Message:
    def get(call: Call, self: Ref) -> Any:
        return read(call.state, call.state.get(cls, self), field)

    return _implicit(cls, f"get_{field.name}", get, (("self", APIType("ref", name=cls.xenapi)),), field.type)


def _setters(cls: type[Record], field: Field) -> Iterator[Message]:
    self_param = ("self", APIType("ref", name=cls.xenapi))
    name = field.name

    def put(call: Call, self: Ref, value: Any) -> Outcome:
        record, work = call.state.get(cls, self), Work(call)
        if name == "other_config":
            check_mirror(call.state, record, value)
            check_own_mtu(call.state, record, value)
        work.update(record, **{name: value})
        return work.outcome()

    def add_to(call: Call, self: Ref, key: Any, value: Any) -> Outcome:
        current = getattr(call.state.get(cls, self), name)
        if key in current:
            raise Failure("MAP_DUPLICATE_KEY", cls.xenapi, name, self, str(key))
        return put(call, self, {**current, key: value})

    def remove_from(call: Call, self: Ref, key: Any) -> Outcome:
        current = getattr(call.state.get(cls, self), name)
        return put(call, self, {k: v for k, v in current.items() if k != key})

    def add(call: Call, self: Ref, value: Any) -> Outcome:
        current = getattr(call.state.get(cls, self), name)
        return put(call, self, current if value in current else (*current, value))

    def remove(call: Call, self: Ref, value: Any) -> Outcome:
        current = getattr(call.state.get(cls, self), name)
        return put(call, self, tuple(v for v in current if v != value))

    yield _implicit(cls, f"set_{name}", put, (self_param, ("value", field.type)), VOID)
    if field.type.kind == "map" and field.type.key and field.type.of:
        key = ("key", field.type.key)
        yield _implicit(cls, f"add_to_{name}", add_to, (self_param, key, ("value", field.type.of)), VOID)
        yield _implicit(cls, f"remove_from_{name}", remove_from, (self_param, key), VOID)
    if field.type.kind == "set" and field.type.of:
        yield _implicit(cls, f"add_{name}", add, (self_param, ("value", field.type.of)), VOID)
        yield _implicit(cls, f"remove_{name}", remove, (self_param, ("value", field.type.of)), VOID)


def _implicit(cls: type[Record], name: str, run: Any, params: tuple[tuple[str, APIType], ...], result: APIType) -> Message:
    return Message(cls.xenapi, name, tuple(Param(n, t) for n, t in params), result, run, implicit=True)


def register_generic() -> None:
    """Enter the implicit messages of every public class."""
    for cls in PUBLIC:
        for entry in _look_ups(cls):
            register(entry)
        for field in public_fields(cls).values():
            register(_getter(cls, field))
            if field.qualifier is Qualifier.RW or (cls.xenapi, field.name) in SETTABLE:
                for entry in _setters(cls, field):
                    register(entry)


def construct(cls: type[Record], uuid: str, given: dict[str, Any], **fixed: Any) -> Any:
    """A new record from a constructor's struct (values already typed): fields the client may not give are ignored,
    absent ones take their default. Raises INTERNAL_ERROR for an absent field without one, as XenServer does."""
    values = dict(fixed)
    for name, field in public_fields(cls).items():
        if name in values or field.qualifier is Qualifier.RO or field.back is not None:
            continue
        if name in given:
            values[name] = given[name]
        elif field.required:
            raise Failure("INTERNAL_ERROR", f'Db_exn.FieldNotFound("{name}")')
    return cls(uuid=uuid, **values)
