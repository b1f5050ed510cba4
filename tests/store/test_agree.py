"""Every store says the same: the one in memory, the one on disk, and the one on disk after a new start."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.records import changes, contents, index_of, shown
from xenet.model.classes import HIDDEN, STORED
from xenet.model.derived import VLAN, Bond, NetworkSriov, Tunnel
from xenet.model.hidden import Operation
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState, state_of
from xenet.model.task import Task
from xenet.model.types import Record
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.store.base import LogEntry, log_of
from xenet.store.memory import BoundedLog, MemoryStore
from xenet.store.sqlite import SqliteStore

FORGOTTEN = {cls.xenapi for cls in STORED.values() if not cls.persistent}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_memory_and_sqlite_agree_step_by_step_and_after_a_new_start(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        memory, disk = MemoryStore(), SqliteStore(path)
        for _ in range(4):
            change = data.draw(changes(memory.snapshot()))
            assert _facts(disk.commit(change)) == _facts(memory.commit(change))
            if data.draw(st.booleans()):
                disk.close()
                disk = SqliteStore(path)
                memory = _restarted(memory)
            assert _facts(disk.snapshot()) == _facts(memory.snapshot())
            for revision in range(memory.snapshot().revision + 2):
                assert disk.log_since(revision) == memory.log_since(revision)
        disk.close()


def _facts(state: PoolState) -> object:
    return state.revision, contents(state), index_of(state)


def _restarted(store: MemoryStore) -> MemoryStore:
    """What a restart leaves: tasks are gone, and where the log told of them it tells of their end."""
    state, log = store.snapshot(), store.log_since(0) or []
    last = {(entry.cls, entry.ref): entry.op for entry in log if entry.cls in FORGOTTEN}
    gone = [LogEntry(state.revision + 1, cls, ref, "del") for (cls, ref), op in last.items() if op != "del"]
    kept = (record for (cls, _), record in contents(state).items() if cls not in FORGOTTEN)
    return MemoryStore(state_of(state.revision + bool(gone), kept), BoundedLog(0, [*log, *gone]))


JOINED = [(Network, VIF, VM), (Network, PIF, Host), (PIF, Bond, VLAN), (PIF, Tunnel, NetworkSriov), (Task, Operation)]
"""Classes of which one shows the reverse of another's references."""


@pytest.mark.parametrize("classes", JOINED, ids=lambda classes: "-".join(cls.xenapi for cls in classes))
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_the_log_says_exactly_what_a_client_sees_change(classes: list[type[Record]], data: st.DataObject) -> None:
    hidden = {cls.xenapi for cls in HIDDEN}
    before = PoolState()
    for _ in range(6):
        change = data.draw(changes(before, classes))
        after = change.apply(before)
        old, new = ({key: seen for key, seen in shown(state).items() if key[0] not in hidden} for state in (before, after))
        expected = dict.fromkeys(new.keys() - old.keys(), "add") | dict.fromkeys(old.keys() - new.keys(), "del")
        expected |= dict.fromkeys((key for key in new.keys() & old.keys() if new[key] != old[key]), "mod")
        entries = log_of(change, before, after)
        assert {(entry.cls, entry.ref): entry.op for entry in entries} == expected
        assert len(entries) == len(expected)
        assert {entry.revision for entry in entries} <= {after.revision}
        before = after
