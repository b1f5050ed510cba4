"""The state in a database file, for who only wants to look."""

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from xenet.model.state import PoolState
from xenet.store.base import StoreError
from xenet.store.sqlite import SqliteStore


def read_state(path: Path) -> PoolState:
    """What was last committed to the file. It is read from a copy, as a start would read it, so the file stays as it is and may be in
    use. Raises StoreError."""
    with TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        try:
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be read ({error}): check the path and its permissions") from error
        try:
            with closing(SqliteStore(copy)) as store:
                return store.snapshot()
        except StoreError as error:
            raise StoreError(str(error).replace(str(copy), str(path))) from error
