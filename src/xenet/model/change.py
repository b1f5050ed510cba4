"""How one PoolState becomes the next.

A verb writes into a Draft; the Draft yields a Change: edits that say what was and what shall be, field by
field. So a change can be undone (`inverse`), checked against a state that has moved on (`apply` raises
Conflict), written to a store and sent to a host, all as plain data.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from xenet.model.classes import STORED
from xenet.model.declare import stored_fields
from xenet.model.hidden import Edit, Phase
from xenet.model.state import PoolState
from xenet.model.types import Record, Ref

R = TypeVar("R", bound=Record)
GROWING = {"pool": frozenset({"next_xapi", "next_tunnel", "next_domid"})}
"""Counters that an undo leaves alone: a number once given is never given again."""


class Conflict(Exception):
    """The state no longer is what the change was decided on."""


class Change(msgspec.Struct, frozen=True):
    """Edits that are committed together or not at all."""

    edits: tuple[Edit, ...] = ()

    def inverse(self) -> "Change":
        """What takes this change back, counters excepted."""
        inverted = (_inverted(edit) for edit in reversed(self.edits))
        return Change(tuple(edit for edit in inverted if edit.before != edit.after))

    def apply(self, state: PoolState) -> PoolState:
        """The state after this change, at the next revision. Raises Conflict."""
        revision = state.revision + 1
        for edit in self.edits:
            state = apply_edit(state, edit)
        return state.at(revision)


def _inverted(edit: Edit) -> Edit:
    keep = GROWING.get(edit.cls, frozenset())
    if edit.before is None or edit.after is None or not keep:
        return Edit(edit.cls, edit.ref, edit.after, edit.before)
    before = {k: v for k, v in edit.before.items() if k not in keep}
    after = {k: v for k, v in edit.after.items() if k not in keep}
    return Edit(edit.cls, edit.ref, after, before)


def apply_edit(state: PoolState, edit: Edit) -> PoolState:
    """The state with one edit. Raises Conflict when the record is not as the edit found it."""
    cls = STORED[edit.cls]
    current = state.find(cls, edit.ref)
    if edit.before is None:
        if current is not None:
            raise Conflict(f"{edit.cls} {edit.ref} exists already")
        return state.with_record(edit.cls, edit.ref, cls(**(edit.after or {})))
    if current is None:
        raise Conflict(f"{edit.cls} {edit.ref} is gone")
    if edit.after is None:
        return state.with_record(edit.cls, edit.ref, None)
    for name, value in edit.before.items():
        if getattr(current, name) != value:
            raise Conflict(f"{edit.cls} {edit.ref} has another {name}")
    return state.with_record(edit.cls, edit.ref, msgspec.structs.replace(current, **edit.after))


def edit_between(cls: str, ref: Ref, old: Record | None, new: Record | None) -> Edit | None:
    """The edit that turns one form of a record into another; None when they are equal."""
    if old is None or new is None:
        return None if old is new else Edit(cls, ref, _all_fields(old), _all_fields(new))
    names = [name for name in stored_fields(type(old)) if getattr(old, name) != getattr(new, name)]
    if not names:
        return None
    return Edit(cls, ref, {n: getattr(old, n) for n in names}, {n: getattr(new, n) for n in names})


def _all_fields(record: Record | None) -> Mapping[str, Any] | None:
    return None if record is None else {name: getattr(record, name) for name in record.__struct_fields__}


def revive(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """Edits as they were before they went through JSON: times, sets and nested structs get their types back."""
    return tuple(Edit(e.cls, e.ref, _revived(e.cls, e.before), _revived(e.cls, e.after)) for e in edits)


def _revived(cls: str, fields: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if fields is None:
        return None
    types = _field_types(cls)
    return {name: with_edits(msgspec.convert(value, types[name])) for name, value in fields.items()}


def with_edits(value: Any) -> Any:
    """A field's value as it came out of JSON, the edits that it may hold revived: their own fields have no declared type."""
    if not isinstance(value, tuple) or not value:
        return value
    if isinstance(value[0], Phase):
        return tuple(_revived_phase(phase) for phase in value)
    return revive(value) if isinstance(value[0], Edit) else value


def _revived_phase(phase: Phase) -> Phase:
    back = tuple(_revived_phase(step) for step in phase.back)
    return msgspec.structs.replace(phase, enter=revive(phase.enter), undo=revive(phase.undo), back=back)


_TYPES: dict[str, dict[str, Any]] = {}


def _field_types(cls: str) -> dict[str, Any]:
    if cls not in _TYPES:
        _TYPES[cls] = {f.name: f.type for f in msgspec.structs.fields(STORED[cls])}
    return _TYPES[cls]


class Draft:
    """A state in the making: each step sees the ones before it; `change()` is their sum, one edit a record."""

    def __init__(self, base: PoolState) -> None:
        self.base = base
        self.state = base
        self._touched: dict[tuple[str, Ref], None] = {}

    def put(self, record: R) -> R:
        """Create the record, or replace the one with its uuid."""
        self._touched[record.xenapi, record.ref] = None
        self.state = self.state.with_record(record.xenapi, record.ref, record)
        return record

    def update(self, record: R, **fields: Any) -> R:
        """The record as it stands in the draft, with these fields changed."""
        current = self.state.get(type(record), record.ref)
        return self.put(msgspec.structs.replace(current, **fields))

    def delete(self, record: Record) -> None:
        self._touched[record.xenapi, record.ref] = None
        self.state = self.state.with_record(record.xenapi, record.ref, None)

    def touched(self) -> list[tuple[str, Ref]]:
        """Class and reference of every record that was put or deleted so far."""
        return list(self._touched)

    def change(self) -> Change:
        return self.change_since(self.base)

    def change_since(self, state: PoolState) -> Change:
        """What leads here from a state that this draft went through."""
        edits = (edit_between(cls, ref, state.find(STORED[cls], ref), self.state.find(STORED[cls], ref)) for cls, ref in self._touched)
        return Change(tuple(edit for edit in edits if edit is not None))

    def fork(self) -> "Draft":
        """Another draft that goes on from here, while this one stays."""
        other = Draft(self.base)
        other.state, other._touched = self.state, dict(self._touched)
        return other
