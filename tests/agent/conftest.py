"""`play(script)` runs a script of a server and an agent."""

import asyncio
from pathlib import Path

import pytest

from tests.agent.scene import Play, perform
from xenet.agent import loop


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """With the loop's shorter waits shortened."""
    for name in ("REAP_AFTER", "RETRY_AFTER"):
        monkeypatch.setattr(loop, name, 0.02)
    return lambda script: asyncio.run(perform(tmp_path, script))
