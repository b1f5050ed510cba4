"""kill -9 in the middle of commits: whatever was acknowledged is there, and nothing is half there."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.model.records import contents, index_by_hand, index_of
from tests.store.committer import next_change
from xenet.model.state import PoolState
from xenet.store.sqlite import SqliteStore

ROOT = Path(__file__).parents[2]


def _acknowledged_until_killed(path: Path, after: float) -> int:
    """The last revision that a committer acknowledged before it was killed, `after` seconds from its first."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))}
    command = [sys.executable, "-m", "tests.store.committer", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(after)
        process.kill()
        lines = (first + process.stdout.read()).splitlines(keepends=True)
    return int([line for line in lines if line.endswith(b"\n")][-1])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_acknowledged_commits_survive_kill_9(tmp_path: Path, seed: int) -> None:
    path, chance = tmp_path / "state.db", random.Random(seed)
    expected = PoolState()
    for _ in range(3):
        acknowledged = _acknowledged_until_killed(path, chance.uniform(0, 0.1))
        store = SqliteStore(path)
        state = store.snapshot()
        # It may have died between a commit and its acknowledgement.
        assert acknowledged <= state.revision <= acknowledged + 1
        while expected.revision < state.revision:
            expected = next_change(expected).apply(expected)
        assert contents(state) == contents(expected)
        assert index_of(state) == index_by_hand(expected)
        log = store.log_since(state.revision - 1)
        assert log is not None
        assert {entry.revision for entry in log} == {state.revision}
        store.close()
