"""A database file can be looked at while a server keeps it, and stays as it is."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.model.records import contents
from tests.store.committer import next_change
from xenet.store.base import StoreError
from xenet.store.copy import read_state
from xenet.store.sqlite import SqliteStore


def test_it_is_what_was_last_committed_while_the_file_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "xenet.db"
    with closing(SqliteStore(path)) as store:
        for _ in range(3):
            store.commit(next_change(store.snapshot()))
            assert contents(read_state(path)) == contents(store.snapshot())
        assert read_state(path).revision == store.snapshot().revision
        store.commit(next_change(store.snapshot()))


def test_the_file_of_a_stopped_server_stays_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "a name?with #marks.db"
    with closing(SqliteStore(path)) as store:
        state = store.commit(next_change(store.snapshot()))
    before = path.read_bytes()
    assert contents(read_state(path)) == contents(state)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("made", "text"), [(None, "cannot be read"), (b"no database" * 100, "cannot be read"), ("CREATE TABLE x (y)", "a database of another program")]
)
def test_what_cannot_be_read_is_named(tmp_path: Path, made: bytes | str | None, text: str) -> None:
    path = tmp_path / "xenet.db"
    if isinstance(made, bytes):
        path.write_bytes(made)
    elif made:
        with closing(sqlite3.connect(path)) as db:
            db.execute(made)
    with pytest.raises(StoreError, match=text) as caught:
        read_state(path)
    assert str(caught.value).startswith(f"{path} ")
    assert path.exists() == (made is not None)
