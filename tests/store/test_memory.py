"""What every store does around its writing: revisions, watchers, the bounded log."""

import logging

import pytest

from xenet.model.change import Change, Conflict, Draft
from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.types import ref_of
from xenet.store import memory
from xenet.store.base import LogEntry
from xenet.store.memory import MemoryStore


def _creation(state: PoolState, *uuids: str) -> Change:
    draft = Draft(state)
    for uuid in uuids:
        draft.put(Network(uuid=uuid, other_config={}))
    return draft.change()


def test_a_commit_moves_the_revision_on_by_one_and_an_empty_one_does_not() -> None:
    store = MemoryStore()
    state = store.commit(_creation(store.snapshot(), "a", "b"))
    assert (state.revision, state.count(Network)) == (1, 2)
    assert store.commit(Change()) is store.snapshot() is state


def test_a_conflict_changes_nothing_and_tells_nobody() -> None:
    store, told = MemoryStore(), []
    change = _creation(store.snapshot(), "a")
    state = store.commit(change)
    store.watch(lambda *news: told.append(news))
    with pytest.raises(Conflict, match="exists already"):
        store.commit(change)
    assert store.snapshot() is state
    assert told == []
    assert store.log_since(1) == []


def test_watchers_hear_of_commits_in_their_order_even_when_one_commits_in_turn() -> None:
    store, heard = MemoryStore(), []

    def answers(state: PoolState, change: Change, entries: list[LogEntry]) -> None:
        heard.append(("first", state.revision, change, entries))
        if state.revision == 1:
            store.commit(_creation(state, "b"))

    store.watch(answers)
    store.watch(lambda state, change, entries: heard.append(("second", state.revision, change, entries)))
    first = _creation(store.snapshot(), "a")
    store.commit(first)
    assert [(who, revision) for who, revision, *_ in heard] == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]
    assert heard[0][2:] == (first, [LogEntry(1, "network", ref_of("a"), "add")])


def test_a_watcher_that_fails_stops_neither_the_commit_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    store, heard = MemoryStore(), []

    def fails(*_: object) -> None:
        raise ValueError("not my day")

    store.watch(fails)
    store.watch(lambda state, *_: heard.append(state.revision))
    with caplog.at_level(logging.ERROR):
        store.commit(_creation(store.snapshot(), "a"))
    assert heard == [store.snapshot().revision] == [1]
    assert "not my day" in caplog.text


def test_the_log_forgets_the_oldest_whole_commits_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "KEEP", 10)
    monkeypatch.setattr(memory, "SLACK", 3)
    store, known = MemoryStore(), [0]
    for n in range(20):
        store.commit(_creation(store.snapshot(), f"{n}", f"{n}'"))
        known = [since for since in range(n + 2) if store.log_since(since) is not None]
        # At least the last ten entries, which are five commits, and at most three entries more.
        assert known[0] <= max(0, n - 4)
        for since in known:
            assert [entry.revision for entry in store.log_since(since) or []] == [r for r in range(since + 1, n + 2) for _ in range(2)]
    assert len(store.log_since(known[0]) or []) <= 13
    assert store.log_since(0) is None


def test_a_revision_that_no_commit_had_is_not_in_the_log() -> None:
    assert MemoryStore().log_since(1) is None


def test_the_log_of_a_store_begun_with_a_state_begins_there() -> None:
    store = MemoryStore(PoolState().at(7))
    assert (store.log_since(6), store.log_since(7)) == (None, [])
