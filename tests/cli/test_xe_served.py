"""xe's output against a running server, to the last blank, against transcripts in golden/served/: users, alerts, entries, gaps, tunnels, waiting,
progress.

They read as those of `test_xe_golden`, but for what no two runs share: a uuid stands as <1>, <2> .. in the order of its first appearance, the server
as <server>, times as <time>. Each transcript begins with a pool of its own. XENET_UPDATE_GOLDEN=1 writes them anew as well.
"""

import os
import re
import threading
from pathlib import Path

import pytest

from tests.cli.canned_pool import CannedPool
from tests.cli.test_xe_golden import replayed
from tests.cli.xe_runner import Outcome, Runner
from tests.server.api_server import PASSWORD, ApiServer, serving

GOLDEN = Path(__file__).parent / "golden" / "served"
UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
TIME = re.compile(r"\b[0-9]{8}T[0-9:]{8}Z")
UNDER_WAY = re.compile(r"\r\[=* +\] +[0-9]+%")
"""Drawn where the task has not ended at a look: how often, and how far it is then, is chance."""
LATER = 0.5
"""Seconds after which what stands behind ` & ` in a line is run, while the line waits."""


class Named:
    """Runs lines in which uuids have names."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self._runner = Runner(CannedPool(), {"XENET_SOCKET": server.socket, "HOME": str(folder)})
        self._server = server.url
        self._names: dict[str, str] = {}

    def __call__(self, line: str) -> Outcome:
        now, _, later = line.partition(" & xe ")
        timer = threading.Timer(LATER, lambda: self._runner(self._plain(later)))
        if later:
            timer.start()
        status, out, err = self._runner(self._plain(now))
        if later:
            timer.join()
        return Outcome(status, self._named(out), self._named(err))

    def _plain(self, text: str) -> str:
        for uuid, name in self._names.items():
            text = text.replace(name, uuid)
        return text.replace("<server>", self._server).replace("<password>", PASSWORD)

    def _named(self, text: str) -> str:
        text = UUID.sub(lambda found: self._names.setdefault(found[0], f"<{len(self._names) + 1}>"), text)
        return UNDER_WAY.sub("", TIME.sub("<time>", text))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path, tmp_path: Path) -> None:
    expected = path.read_text()
    with serving("--state", str(tmp_path / "state"), "--store", "memory", "--hosts", "2", "--nics", "2", "--vms", "2") as server:
        actual = replayed(expected, Named(server, tmp_path))
    if os.environ.get("XENET_UPDATE_GOLDEN"):
        path.write_text(actual)
    assert actual == expected
