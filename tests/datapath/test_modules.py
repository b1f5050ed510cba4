"""A module that is installed is believed, not loaded."""

import os
from pathlib import Path

import pytest

from xenet.datapath import modules


@pytest.mark.parametrize(
    ("loaded", "dependencies", "said"),
    [(False, "kernel/net/8021q/8021q.ko.xz: kernel/net/llc/llc.ko.xz", ""), (False, "x/y.ko:", "no"), (True, "kernel/net/8021q/8021q.ko:", "no")],
)
def test_only_what_loads_nothing_is_tried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: bool, dependencies: str, said: str) -> None:
    listed = tmp_path / "lib" / "modules" / os.uname().release / "modules.dep"
    listed.parent.mkdir(parents=True)
    listed.write_text(f"{dependencies}\n")
    if loaded:
        (tmp_path / "sys" / "module" / "8021q").mkdir(parents=True)
    monkeypatch.setattr(modules, "Path", lambda first, *more: Path(tmp_path, first.lstrip("/"), *more))
    assert modules.ask_quietly("8021q", lambda: "no") == said
