"""Random records and changes for property tests, made from the declarations: every class and field, few uuids, so that references meet."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from xenet.model.change import Change, Draft, edit_between
from xenet.model.classes import STORED
from xenet.model.declare import APIType, Field, fields_of, stored_fields
from xenet.model.hidden import NIC, BondLinks, Claim, ForeignBridge, Frame, Heard, HostFacts, Phase
from xenet.model.state import PoolState, indexed_fields
from xenet.model.types import NULL, Record, Ref, ref_of

UUIDS = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(4)]
REFS = [NULL, *map(ref_of, UUIDS)]
TEXTS = st.one_of(st.sampled_from(["", "a", "b", 'it\'s "quoted"\n', "null", "1", "ä€😀"]), st.text(st.characters(codec="utf-8"), max_size=4))
NICS = st.builds(NIC, device=TEXTS, mac=TEXTS, carrier=st.booleans(), addresses=st.lists(TEXTS, max_size=2).map(tuple))
BONDS = st.builds(BondLinks, device=TEXTS, up=st.lists(TEXTS, max_size=2).map(tuple))
BRIDGES = st.builds(ForeignBridge, name=TEXTS, mtu=st.integers(68, 65535))
HEARD = st.builds(Heard, vif=TEXTS, coming=st.booleans(), seen=st.tuples(st.builds(Frame, time=st.just(2), digest=st.just(3))))
CLAIMS = st.builds(Claim, address=TEXTS, heard=st.integers(0, 2**40))
STRUCTS = {"nics": NICS, "bonds": BONDS, "bridges": BRIDGES, "heard": HEARD, "claims": CLAIMS}
"""Fields that hold structs of no XenAPI class."""
TIMES = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))


def values(kind: APIType) -> st.SearchStrategy[Any]:
    """Any value of a XenAPI type."""
    match kind:
        case APIType(kind="enum", values=allowed):
            return st.sampled_from(allowed)
        case APIType(kind="set", of=APIType() as of):
            return st.lists(values(of), max_size=2).map(tuple)
        case APIType(kind="map", key=APIType() as key, of=APIType() as of):
            return st.dictionaries(values(key), values(of), max_size=2)
        case APIType(kind=plain):
            return PLAIN[plain]
    raise TypeError(kind)


PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "int": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    # JSON and XML-RPC have no word for the others.
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "datetime": TIMES,
    "ref": st.sampled_from(REFS),
}


@st.composite
def edits(draw: st.DrawFn) -> Any:
    """What an operation holds: creations, among them one with structs inside, and updates."""
    facts = HostFacts(uuid=draw(st.sampled_from(UUIDS)), host=NULL, nics=(draw(NICS),))
    cls = STORED[draw(st.sampled_from(["VIF", "VM_metrics", "network"]))]
    old, new = (draw(records(cls, facts.uuid)) for _ in range(2))
    return tuple(edit for edit in (edit_between("host_facts", facts.ref, None, facts), edit_between(cls.xenapi, old.ref, old, new)) if edit)


def field_values(field: Field) -> st.SearchStrategy[Any]:
    if field.name in ("done", "undo"):
        return edits()
    if field.name in ("then", "back"):
        last = st.builds(Phase, waiting=st.just((NULL,)), enter=edits())
        return st.lists(st.builds(Phase, waiting=st.just(()), enter=edits(), undo=edits(), back=st.tuples(last)), max_size=1).map(tuple)
    return st.lists(STRUCTS[field.name], max_size=2).map(tuple) if field.name in STRUCTS else values(field.type)


@st.composite
def records(draw: st.DrawFn, cls: type[Record], uuid: str) -> Record:
    """A record: what is required, and a few of the fields that have a default."""
    fields = {name: field for name, field in stored_fields(cls).items() if name != "uuid"}
    optional = [name for name, field in fields.items() if not field.required]
    chosen = draw(st.lists(st.sampled_from(optional), max_size=3)) if optional else []
    return cls(uuid=uuid, **{name: draw(field_values(field)) for name, field in fields.items() if field.required or name in chosen})


@st.composite
def changes(draw: st.DrawFn, state: PoolState, classes: Sequence[type[Record]] = tuple(STORED.values())) -> Change:
    """A change of that state: creations, updates and deletions through a Draft."""
    draft = Draft(state)
    for cls in draw(st.lists(st.sampled_from(classes), min_size=1, max_size=4)):
        uuid = draw(st.sampled_from(UUIDS))
        current = draft.state.find(cls, ref_of(uuid))
        if current is None:
            draft.put(draw(records(cls, uuid)))
        elif draw(st.booleans()):
            draft.delete(current)
        else:
            name = draw(st.sampled_from([name for name in stored_fields(cls) if name != "uuid"]))
            draft.update(current, **{name: draw(field_values(stored_fields(cls)[name]))})
    return draft.change()


def contents(state: PoolState) -> dict[tuple[str, Ref], Record]:
    return {(name, ref): record for name, table in state.tables.items() for ref, record in table.items()}


def index_by_hand(state: PoolState) -> dict[tuple[str, str, str], set[Ref]]:
    """The indexes as a reader of all records finds them."""
    index: dict[tuple[str, str, str], set[Ref]] = {}
    for (name, ref), record in contents(state).items():
        for field in indexed_fields(type(record)):
            value = getattr(record, field)
            for key in value if isinstance(value, tuple) else [value]:
                if isinstance(value, tuple) or key != NULL:
                    index.setdefault((name, field, key), set()).add(ref)
    return index


def index_of(state: PoolState) -> dict[tuple[str, str, str], set[Ref]]:
    return {key: set(refs) for key, refs in state.index.items()}


def shown(state: PoolState) -> dict[tuple[str, Ref], tuple[Record, dict[str, list[Ref]]]]:
    """What a client could see: each record with its computed back-references."""
    return {
        (name, ref): (record, {field.name: state.back(ref, field.back) for field in fields_of(type(record)).values() if field.back})
        for (name, ref), record in contents(state).items()
    }
