"""`xenet` used wrongly: one line that says what is wrong, exit status 2, and nothing is made."""

import subprocess
import sys
from pathlib import Path

import pytest


def xenet(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "xenet.cli.xenet", *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("serve",), "--state"),
        (("serve", "--state", "s", "--listen", "127.0.0.1:99999"), "65535"),
        (("serve", "--state", "s", "--listen", "nowhere"), "ADDRESS:PORT"),
        (("serve", "--state", "s", "--nics", ""), "--nics"),
        (("agent", "--state", "s"), "--link"),
        (("down", "--state", "is-not-there"), "--state"),
        (("lab", "cut"), "Missing argument"),
        (("nonsense",), "nonsense"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: tuple[str, ...], word: str) -> None:
    done = xenet(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_not_ours_is_named(tmp_path: Path) -> None:
    done = xenet("serve", "--no-agent", "--state", str(tmp_path / "s"), "--listen", "192.0.2.77:80", folder=tmp_path)
    assert done.returncode == 1
    assert "192.0.2.77 port 80" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("xenet: ")
