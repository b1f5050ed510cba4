"""xe's output, to the last blank, against transcripts in golden/.

A transcript is a list of `$ xe ...` lines, each with what it prints; standard error and a status other than 0 are marked. With
XENET_UPDATE_GOLDEN=1 the transcripts are written anew from their `$` lines; read the difference before it is committed.
"""

import os
from pathlib import Path

import pytest

from tests.cli.xe_runner import Runner, running

GOLDEN = Path(__file__).parent / "golden"
PROMPT = "$ xe "


def replayed(text: str, xe: Runner) -> str:
    parts = []
    for line in text.splitlines():
        if line.startswith(PROMPT):
            outcome = xe(line.removeprefix(PROMPT))
            errors = "".join(f"stderr: {one}\n" for one in outcome.err.splitlines())
            parts.append(f"{line}\n{outcome.out}{errors}" + (f"status: {outcome.status}\n" if outcome.status else ""))
    return "".join(parts)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path, tmp_path: Path) -> None:
    expected = path.read_text()
    with running(tmp_path) as xe:
        actual = replayed(expected, xe)
    if os.environ.get("XENET_UPDATE_GOLDEN"):
        path.write_text(actual)
    assert actual == expected.replace("\r", "")


def test_every_class_has_a_transcript() -> None:
    from xenet.cli.xe.tables import tables

    shown = "".join(path.read_text() for path in GOLDEN.glob("*.txt"))
    missing = [table.name for table in tables() if f"{PROMPT}{table.name}-list" not in shown]
    assert missing == []
