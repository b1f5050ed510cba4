"""xe's output, to the last blank, against transcripts in golden/; of every command there is one, here or in golden/served/.

A transcript is a list of `$ xe ...` lines, each with the messages that it sends beside reading, and with what it prints; standard error and a
status other than 0 are marked. With
XENET_UPDATE_GOLDEN=1 the transcripts are written anew from their `$` lines; read the difference before it is committed.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.canned_pool import CannedPool, ref
from tests.cli.xe_runner import Outcome, running
from xenet.cli.xe.catalog import commands
from xenet.cli.xe.tables import tables

GOLDEN = Path(__file__).parent / "golden"
PROMPT = "$ xe "
RESULTS = {
    "network.create": ref(32),
    "VIF.create": ref(71),
    "VM.create": ref(62),
    "Bond.create": ref(91),
    "VLAN.create": ref(81),
    "tunnel.create": ref(101),
    "network_sriov.create": ref(102),
    "PIF.introduce": ref(41),
    "subject.create": ref(103),
    "pool.create_VLAN_from_PIF": [ref(47), ref(44)],
    "pool.recover_slaves": [ref(2)],
    "host.is_in_emergency_mode": False,
    "host.call_plugin": "done",
    "role.get_by_name_label": [ref(105)],
    "session.get_all_subject_identifiers": ["ann"],
    "network.get_silent_hosts": [],
    "network.get_fdb": [{"mac": "4a:00:00:00:00:48", "host": "host1", "port": "vif3.1", "owner": "VIF", "age": "0", "local": "false"}],
    "network.get_mtus": [{"device": "eth0", "host": "host1", "owner": "", "mtu": "1500"}],
    "Diagnostics.get_unimplemented_calls": [{"message": "VM.snapshot", "count": "2", "last": "20260101T00:00:00Z", "reason": "no disks here"}],
    "pool.set_vswitch_controller": "",
    "network_sriov.get_remaining_capacity": "0",
    "Async.VM.pool_migrate": ref(96),
}
"""What the canned pool answers to commands that make something or ask for it."""


def replayed(text: str, xe: Callable[[str], Outcome], sent: Callable[[], list[str]] = list) -> str:
    parts = []
    for line in text.splitlines():
        if line.startswith(PROMPT):
            outcome = xe(line.removeprefix(PROMPT))
            errors = "".join(f"stderr: {one}\n" for one in outcome.err.splitlines())
            messages = "".join(f"sends: {one}\n" for one in sent())
            parts.append(f"{line}\n{messages}{outcome.out}{errors}" + (f"status: {outcome.status}\n" if outcome.status else ""))
    return "".join(parts)


def new_acts(pool: CannedPool) -> list[str]:
    """What was asked since the last look beside reading, one line each."""
    acts = [" ".join([method, *(one if isinstance(one, str) and one else json.dumps(one) for one in args)]) for method, *args in pool.acts]
    pool.calls.clear()
    return acts


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path, tmp_path: Path) -> None:
    expected = path.read_text()
    with running(tmp_path) as xe:
        xe.pool.results |= RESULTS
        actual = replayed(expected, xe, lambda: new_acts(xe.pool))
    if os.environ.get("XENET_UPDATE_GOLDEN"):
        path.write_text(actual)
    assert actual == expected.replace("\r", "")


def test_every_command_has_a_transcript() -> None:
    lines = [line for path in GOLDEN.rglob("*.txt") for line in path.read_text().splitlines() if line.startswith(PROMPT)]
    shown = {word for line in lines for word in line.split()}
    assert [name for name in commands() if name not in shown] == []


def test_every_class_has_a_transcript() -> None:
    shown = "".join(path.read_text() for path in GOLDEN.glob("*.txt"))
    missing = [table.name for table in tables() if f"{PROMPT}{table.name}-list" not in shown]
    assert missing == []
