"""Random changes through a Draft keep the state whole, can be taken back, and refuse a state that moved on."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.records import changes, contents, index_by_hand, index_of
from xenet.model.change import GROWING, Change, Conflict, Draft, revive
from xenet.model.classes import STORED
from xenet.model.hidden import Edit
from xenet.model.network import Network
from xenet.model.pool import Pool
from xenet.model.state import PoolState, state_of
from xenet.model.types import NULL

FIXED = settings(max_examples=150, deadline=None, derandomize=True)
NETWORK = Network(uuid="n", name_label="old", other_config={})


def _walk(data: st.DataObject, steps: int) -> list[tuple[PoolState, Change]]:
    """Some states, each with the change that leads on from it."""
    state, walk = PoolState(), []
    for _ in range(steps):
        change = data.draw(changes(state))
        walk.append((state, change))
        state = change.apply(state)
    return walk


@FIXED
@given(st.data())
def test_indexes_are_those_of_a_state_read_from_scratch(data: st.DataObject) -> None:
    for before, change in _walk(data, 5):
        state = change.apply(before)
        assert index_of(state) == index_by_hand(state)
        built = state_of(state.revision, contents(state).values())
        assert (contents(built), index_of(built)) == (contents(state), index_of(state))


@FIXED
@given(st.data())
def test_old_states_do_not_change(data: st.DataObject) -> None:
    state, seen = PoolState(), []
    for _ in range(5):
        seen.append((state, msgspec.json.encode(sorted(contents(state).items())), index_of(state)))
        state = data.draw(changes(state)).apply(state)
    assert all(msgspec.json.encode(sorted(contents(old).items())) == text and index_of(old) == index for old, text, index in seen)


@FIXED
@given(st.data())
def test_an_inverse_gives_back_the_same_records_but_for_counters(data: st.DataObject) -> None:
    for before, change in _walk(data, 4):
        after = change.apply(before)
        again = change.inverse().apply(after)
        expected = contents(before)
        for (name, ref), record in expected.items():
            current = after.find(type(record), ref)
            if name in GROWING and current is not None:
                expected[name, ref] = msgspec.structs.replace(record, **{counter: getattr(current, counter) for counter in GROWING[name]})
        assert contents(again) == expected
        assert index_of(again) == index_by_hand(again)


@FIXED
@given(st.data())
def test_a_change_of_what_another_change_touched_is_refused(data: st.DataObject) -> None:
    base = _walk(data, 3)[-1]
    state = base[1].apply(base[0])
    first, second = data.draw(changes(state)), data.draw(changes(state))
    moved = first.apply(state)
    if _clashes(first, second):
        with pytest.raises(Conflict):
            second.apply(moved)
    elif _clashes(second, first):
        # A deletion may follow an update of the record, but not the other way round.
        after = second.apply(moved)
        assert all(after.find(STORED[edit.cls], edit.ref) is None for edit in second.edits if _clashes(Change((edit,)), first))
    else:
        # What does not touch the same fields may come in either order.
        assert contents(second.apply(moved)) == contents(first.apply(second.apply(state)))


def _clashes(first: Change, second: Change) -> bool:
    return any(_clash(one, other) for one in first.edits for other in second.edits)


def _clash(first: Edit, second: Edit) -> bool:
    if (first.cls, first.ref) != (second.cls, second.ref):
        return False
    # A deletion needs the record alone; fields that changed meanwhile go with it.
    if first.before is None or first.after is None or second.before is None:
        return True
    return second.after is not None and not second.before.keys().isdisjoint(first.after)


@FIXED
@given(st.data())
def test_edits_get_their_types_back_after_json(data: st.DataObject) -> None:
    for _, change in _walk(data, 3):
        sent = msgspec.json.encode(change.edits)
        assert revive(msgspec.json.decode(sent, type=tuple[Edit, ...])) == change.edits


def test_edits_inside_an_operation_get_their_types_back_at_any_depth() -> None:
    metrics = {"start_time": "2026-01-01T00:00:00Z"}
    inner = {"cls": "VM_metrics", "ref": "OpaqueRef:m", "before": metrics, "after": metrics}
    middle = {"cls": "operation", "ref": "OpaqueRef:o", "before": {"done": []}, "after": {"done": [inner]}}
    (edit,) = revive([Edit("operation", NULL, {"undo": []}, {"undo": [middle]})])
    assert edit.after is not None
    assert edit.after["undo"][0].after["done"][0].after["start_time"].year == 2026


def test_a_refused_change_leaves_nothing_of_itself() -> None:
    state = PoolState().with_record("network", NETWORK.ref, NETWORK)
    draft = Draft(state)
    draft.put(msgspec.structs.replace(NETWORK, uuid="m"))
    draft.update(NETWORK, name_label="mine")
    theirs = Draft(state)
    theirs.update(NETWORK, name_label="theirs")
    moved = theirs.change().apply(state)
    with pytest.raises(Conflict, match="has another name_label"):
        draft.change().apply(moved)
    assert contents(moved) == {("network", NETWORK.ref): msgspec.structs.replace(NETWORK, name_label="theirs")}


def test_a_draft_that_ends_where_it_began_is_no_change() -> None:
    draft = Draft(PoolState())
    draft.delete(draft.put(NETWORK))
    assert draft.change() == Change()


def test_the_inverse_of_a_counter_alone_is_empty() -> None:
    pool = Pool(uuid="p", name_label="", name_description="", master=NULL, default_SR=NULL, other_config={})
    draft = Draft(PoolState().with_record("pool", pool.ref, pool))
    draft.update(pool, next_domid=2)
    assert draft.change().inverse() == Change()
