"""The SQLite file: pleasant to read, open to older and newer xenets, and plain about what is wrong with it."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from tests.model.records import contents
from xenet.model.change import Draft
from xenet.model.classes import STORED
from xenet.model.declare import stored_fields
from xenet.model.hidden import Edit
from xenet.model.network import Network
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.state import PoolState
from xenet.model.types import NULL, Record, Ref, ref_of
from xenet.store import memory
from xenet.store.base import StoreError
from xenet.store.form import columns_of, write
from xenet.store.sqlite import SqliteStore

NETWORK = Network(uuid="n", name_label="it's a 'net'", other_config={"a": "1"}, tags=("x", "y"))
PIF0 = PIF(
    uuid="p", device="eth0", network=NETWORK.ref, host=Ref("OpaqueRef:h"), MAC="02:00:00:00:00:01", MTU=1500, VLAN=-1, metrics=NULL, plugged=True
)
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def _commit(store: SqliteStore, *records: Record) -> PoolState:
    draft = Draft(store.snapshot())
    for record in records:
        draft.put(record)
    return store.commit(draft.change())


def _made(path: Path, *records: Record) -> PoolState:
    with closing(SqliteStore(path)) as store:
        return _commit(store, *records)


def _state(path: Path) -> PoolState:
    with closing(SqliteStore(path)) as store:
        return store.snapshot()


def _sql(path: Path, *statements: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return [row for statement in statements for row in db.execute(statement)]


def test_a_person_reads_it_with_sqlite3_while_it_is_open(path: Path) -> None:
    metrics = PIFMetrics(
        uuid="m", carrier=True, vendor_id="", vendor_name="", device_id="", device_name="", speed=10, duplex=False, pci_bus_path="", last_updated=TIME
    )
    with closing(SqliteStore(path)) as store:
        _commit(store, NETWORK, PIF0, metrics)
        assert _sql(path, "select device, MAC, VLAN, plugged, network from PIF") == [("eth0", "02:00:00:00:00:01", -1, 1, NETWORK.ref)]
        assert _sql(path, "select name_label, other_config, tags from network") == [("it's a 'net'", '{"a":"1"}', '["x","y"]')]
        assert _sql(path, "select carrier, last_updated from PIF_metrics") == [(1, "2026-01-02T03:04:05Z")]


def test_an_update_writes_the_changed_columns_alone() -> None:
    assert write(Edit("PIF", PIF0.ref, {"MTU": 1500}, {"MTU": 9000})) == ('UPDATE "PIF" SET "MTU" = ? WHERE "uuid" = ?', [9000, "p"])


def test_only_its_owner_may_read_it(path: Path) -> None:
    path.touch(0o644)
    with closing(SqliteStore(path)) as store:
        _commit(store, NETWORK)
        files = list(path.parent.iterdir())
        assert {file.name for file in files} == {"state.db", "state.db-wal", "state.db-shm", "state.db.lock"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_an_older_file_gets_the_columns_and_tables_that_it_lacks(path: Path) -> None:
    _made(path, NETWORK, PIF0)
    _sql(path, "alter table PIF drop column plugged", "alter table PIF drop column MAC", "alter table network drop column tags", "drop table VIF")
    state = _state(path)
    assert state.get(PIF, PIF0.ref) == msgspec.structs.replace(PIF0, plugged=False, MAC="")
    assert state.get(Network, NETWORK.ref) == msgspec.structs.replace(NETWORK, tags=())


@pytest.mark.parametrize("cls", STORED.values(), ids=STORED)
def test_a_column_that_an_older_file_lacks_gets_the_declared_default(cls: type[Record]) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        for name, column in columns_of(cls).items():
            if name == "uuid":
                continue
            (value,) = db.execute(f"select {column.declaration.split(' DEFAULT ')[1]}").fetchone()
            field = stored_fields(cls)[name]
            decoded = column.decode(value) if column.decode else value
            # Whatever it is, the record can be built with it.
            msgspec.convert(decoded, next(info.type for info in msgspec.structs.fields(cls) if info.name == name))
            assert field.required or decoded == field.default


def test_a_newer_files_columns_and_tables_are_left_alone(path: Path) -> None:
    _made(path, NETWORK)
    _sql(path, "alter table network add column future TEXT NOT NULL DEFAULT 'none'", "update network set future = 'bright'", "create table later (x)")
    _sql(path, "insert into log values (1, 'later', 'OpaqueRef:l', 'add')")
    state = _made(path, msgspec.structs.replace(NETWORK, name_label="new"), msgspec.structs.replace(NETWORK, uuid="m"))
    assert _sql(path, "select uuid, name_label, future from network order by uuid") == [("m", "it's a 'net'", "none"), ("n", "new", "bright")]
    assert _sql(path, "select count(*) from later") == [(0,)]
    assert contents(_state(path)) == contents(state)


def test_a_second_store_on_the_file_is_refused_whoever_opens_it(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        with pytest.raises(StoreError, match=rf"state.db is in use by another process \(pid {os.getpid()}\): stop that one"):
            SqliteStore(path)
        code = f"from xenet.store.sqlite import SqliteStore; SqliteStore({str(path)!r})"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
        assert f"StoreError: {path} is in use by another process (pid {os.getpid()})" in other.stderr
        _commit(store, NETWORK)
    assert _state(path).count(Network) == 1


def test_a_file_of_another_program_is_left_as_it_is(path: Path) -> None:
    _sql(path, "create table theirs (x)")
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"state\.db is a database of another program: choose another file"):
        SqliteStore(path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (before, 0o644)


def test_a_newer_format_is_refused(path: Path) -> None:
    _made(path, NETWORK)
    _sql(path, "pragma user_version = 99")
    with pytest.raises(StoreError, match=r"was written by a newer xenet \(format 99"):
        SqliteStore(path)


def _garbage(path: Path) -> None:
    path.write_bytes(b"no database at all" * 99)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _smeared(path: Path) -> None:
    page = path.stat().st_size // 2 // 4096 * 4096
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xaa" * page)


def _bad_value(path: Path) -> None:
    _sql(path, "update network set other_config = '{'")


def _no_revision(path: Path) -> None:
    _sql(path, "delete from xenet")


@pytest.mark.parametrize("damage", [_garbage, _cut, _smeared, _bad_value, _no_revision])
def test_a_damaged_file_gives_one_clear_error_and_is_not_held(path: Path, damage: object) -> None:
    assert callable(damage)
    _made(path, *(msgspec.structs.replace(NETWORK, uuid=f"{n}") for n in range(500)))
    damage(path)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"state.db cannot be read \(.+\): .* put a copy in its place"):
            SqliteStore(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/state\.db cannot be read .*No such file"):
        SqliteStore(tmp_path / "nowhere" / "state.db")


def test_a_commit_that_cannot_be_written_changes_nothing(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        state, told = _commit(store, NETWORK), []
        store.watch(lambda *news: told.append(news))
        _sql(path, "create trigger full before insert on PIF begin select raise(abort, 'the disk is full'); end")
        draft = Draft(state)
        draft.update(NETWORK, name_label="new")
        draft.put(PIF0)
        with pytest.raises(StoreError, match=r"state\.db cannot be written \(the disk is full\): make room"):
            store.commit(draft.change())
        assert (store.snapshot(), store.log_since(1), told) == (state, [], [])
        _sql(path, "drop trigger full")
        assert store.commit(draft.change()).revision == 2
    assert _state(path).get(Network, NETWORK.ref).name_label == "new"


def test_a_number_too_large_for_the_file_is_refused(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        with pytest.raises(StoreError, match="too large"):
            _commit(store, NETWORK, msgspec.structs.replace(PIF0, MTU=2**63))
        assert store.snapshot().revision == 0
        assert _commit(store, PIF0).revision == 1


def test_a_row_that_somebody_took_away_is_noticed(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        _commit(store, NETWORK)
        _sql(path, "delete from network")
        with pytest.raises(StoreError, match="network OpaqueRef:n is not there as it was read"):
            _commit(store, msgspec.structs.replace(NETWORK, name_label="new"))


def test_the_log_on_disk_is_bounded_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "KEEP", 10)
    monkeypatch.setattr(memory, "SLACK", 3)
    with closing(SqliteStore(path)) as store:
        for n in range(40):
            _commit(store, msgspec.structs.replace(NETWORK, uuid=f"{n}"))
        logs = [store.log_since(since) for since in range(41)]
    ((rows,),) = _sql(path, "select count(*) from log")
    assert isinstance(rows, int)
    assert 10 <= rows <= 14
    with closing(SqliteStore(path)) as store:
        assert [store.log_since(since) for since in range(41)] == logs
        assert logs[0] is None
        assert [entry.ref for entry in logs[38] or []] == [ref_of("38"), ref_of("39")]
