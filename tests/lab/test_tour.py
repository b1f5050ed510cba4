"""The tour: that it passes, that a broken claim is a cross and an exit status, that nothing stays."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from xenet.datapath import bonds, vlans
from xenet.lab.run import LabError, Run
from xenet.lab.topology import default_lab
from xenet.lab.tour.stage import Stage


def _stage() -> tuple[Stage, io.StringIO]:
    out = io.StringIO()
    return Stage(Run(Path("/nonexistent")), default_lab(1, 1, 0), Console(file=out, width=200)), out


def test_a_claim_that_does_not_hold_makes_its_step_fail_and_the_tour_go_on() -> None:
    stage, out = _stage()

    def good(stage: Stage) -> None:
        """All is [well]"""
        stage.check("two and two is four", 2 + 2 == 4)

    def bad(stage: Stage) -> None:
        """Something is wrong"""
        stage.check("two and two is five", 2 + 2 == 5)

    def broken(stage: Stage) -> None:
        """It does not get that far"""
        raise LabError("no lab nowhere here")

    def lacking(stage: Stage) -> None:
        """Half of it"""
        stage.needs("")
        stage.needs("no such thing [here]")

    for number, step in enumerate((good, bad, broken, lacking, good), 1):
        stage.play(number, step)
    assert stage.failed == ["step 2", "step 3"]
    assert stage.skipped == [4]
    said = out.getvalue()
    assert "1. All is [well]" in said
    assert said.count("✓ two and two is four") == 2
    assert "✗ two and two is five" in said
    assert "✗ no lab nowhere here" in said
    assert "skipped: no such thing [here]" in said


@pytest.mark.kernel
def test_the_tour_passes_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "XENET_RUN": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-m", "xenet.lab.tour"], capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    headings = re.findall(r"^(\d+)\. (.*)$", done.stdout, re.MULTILINE)
    lacks = {5: vlans.find_lack(), 6: bonds.find_lack(), 7: vlans.find_lack()}
    again = [number for number, lack in lacks.items() if lack]
    assert [int(number) for number, _ in headings] == [*range(1, 11), *again], "what the kernel lacks is played on Open vSwitch"
    assert "✓ all 10 steps\n" in done.stdout
    for lack in filter(None, lacks.values()):
        assert f"skipped: {lack}" in done.stdout
    assert "$ xe vif-plug uuid=$vm1_1" in done.stdout, "commands are shown as a shell would take them"
    assert list(tmp_path.iterdir()) == []
