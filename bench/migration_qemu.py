"""What the migration of a virtual machine costs those who talk to it: numbered echo requests from the router while it moves there and back.

QEMU itself stops it for some time, which is its own and says how much memory it wrote last, and how fast the machine is that emulates it; the
bound is for the rest: from when it goes on to when frames reach it. A gap is the time from the first request that was lost to the first behind
it that was answered, by the clock of who sent them.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.harness import Row, at_most, median, percentile
from tests.e2e.machine import echoes, running_machine
from tests.e2e.world import until
from tests.tiny import tiny
from xenet.cli.xe.tasks import members

MOVES = 10
RATE = 200
"""Echo requests a second: an emulated guest answers no thousand of them without losing some."""
REST_MS = 20.0


class Move(msgspec.Struct, frozen=True):
    """In milliseconds."""

    gap: float
    pause: float
    announced: float
    lost: int
    duplicated: int


def moves(datapath: str) -> Iterator[Move]:
    with tempfile.TemporaryDirectory() as folder, running_machine(Path(folder), datapath) as machine:
        until(machine.answers)
        for number in range(MOVES + 1):
            with echoes(machine.site.router, RATE) as stream:
                said = members(machine.move(machine.elsewhere()))
            until(machine.settled)
            if number:  # the first one warms up
                duplicated = stream.duplicated() + int(said["duplicated"])
                yield Move(stream.gap(), float(said["pause"]), float(said["announced"]), len(stream.lost()), duplicated)


def run() -> Iterator[Row]:
    try:
        tiny()
    except pytest.skip.Exception as why:
        yield Row("no virtual machine here", float("nan"), "", note=str(why))
        return
    for datapath in ("bridge", "openvswitch"):
        yield from _rows(f"{datapath}, network, router", list(moves(datapath)))


def _rows(name: str, made: list[Move]) -> Iterator[Row]:
    rest = [move.gap - move.pause for move in made]
    note = f"{len(made)} moves, load {os.getloadavg()[0]:.1f}; each: {', '.join(f'{value:.0f}' for value in rest)}"
    yield at_most(f"{name}: gap minus the pause that QEMU says, median", median(rest), REST_MS, "ms", note)
    yield at_most(f"{name}: gap minus the pause that QEMU says, 95th percentile", percentile(rest, 95), REST_MS, "ms")
    yield Row(f"{name}: the pause that QEMU says, median", median([move.pause for move in made]), "ms")
    yield Row(f"{name}: packets lost, median", median([move.lost for move in made]), "", note=f"of {RATE} a second")
    yield at_most(f"{name}: packets duplicated, all moves", sum(move.duplicated for move in made), 0, "")
    yield Row(f"{name}: first announcement after the guest went on, median", median([move.announced for move in made]), "ms")
