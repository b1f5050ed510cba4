"""The tour's steps on VLANs and bonds, played where the kernel has them."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from tests.e2e.forge import forge
from xenet.cli.xe.main import run as run_xe
from xenet.datapath import bonds, vlans
from xenet.lab import pool, process, up
from xenet.lab.run import find_run
from xenet.lab.topology import default_lab
from xenet.lab.tour import stage as stages
from xenet.lab.tour.bonds import bond
from xenet.lab.tour.stage import CommandFailed, Stage
from xenet.lab.tour.vlans import storage_on_a_vlan, vlan_network

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


class QuickStage(Stage):
    """`xe` in this process: its start takes seconds on an emulated machine."""

    def _xe(self, arguments: Sequence[str]) -> str:
        out, err = io.StringIO(), io.StringIO()
        if run_xe(arguments, {**os.environ, "XENET_SOCKET": str(self.run.socket)}, io.StringIO(), out, err):
            raise CommandFailed(f"xe {' '.join(arguments)}: {' '.join((err.getvalue() or out.getvalue()).split())}")
        return out.getvalue().strip()


def start(folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """As process.start, by a fork."""
    folder.mkdir(parents=True)
    arguments = command[len(up.XENET) :]
    forge().start(arguments, folder / process.OUTPUT, folder / process.LOG, environment, folder / process.PID)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setenv("XENET_RUN", str(tmp_path / "labs"))
    for module, name in ((up, "SERVER_S"), (stages, "LISTENS_S")):
        monkeypatch.setattr(module, name, 120.0)
    monkeypatch.setattr(process, "start", start)
    monkeypatch.setattr(pool.wait_for_hosts, "__defaults__", (240.0,))
    run, lab = find_run("tour"), default_lab(2, 3, 4)
    with up.making(run):
        up.up(run, lab, up.Options(), lambda _: None)
        yield QuickStage(run, lab, Console(width=200))
        up.down(run)


def test_the_steps_on_vlans_and_bonds_pass_here(stage: Stage) -> None:
    assert (vlans.find_lack(), bonds.find_lack()) == ("", "")
    stage.play(5, vlan_network)
    stage.play(6, bond)
    stage.play(7, storage_on_a_vlan)
    assert (stage.failed, stage.skipped) == ([], [])
