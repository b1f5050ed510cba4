"""A batch of steps in three parts: what must be so before the database is written (devices are there, what leaves is down), one transaction for
all of it, which ovs-vswitchd carries out, and what can be only after it (addresses on a switch's local device, ports that come up).

A step that fails in one part has no further one, nor have those behind it that serve the same object.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from xenet.datapath.batch import TROUBLE, Refused, failure_of, runs
from xenet.datapath.openvswitch.apply import apply
from xenet.datapath.openvswitch.board import Board
from xenet.datapath.openvswitch.database import Database
from xenet.datapath.openvswitch.mesh import ends_of
from xenet.datapath.openvswitch.specs import bridges_of
from xenet.datapath.openvswitch.uplinks import nics_of
from xenet.datapath.openvswitch.write import Writer
from xenet.plan import steps as s
from xenet.plan.view import SwitchView

Act = Callable[[Sequence[Any]], list[s.StepFailure]]
Acts = Mapping[type[s.Step], Act]


def each(act: Callable[[Any], None]) -> Act:
    """What does one step, for several."""

    def run(steps: Sequence[Any]) -> list[s.StepFailure]:
        failures = []
        for step in steps:
            try:
                act(step)
            except TROUBLE as error:
                failures.append(failure_of(step, error))
        return failures

    return run


class Batch:
    """Its steps, and what became of them."""

    def __init__(self, steps: Sequence[s.Step]) -> None:
        self._steps = steps
        self._failed: dict[int, s.StepFailure] = {}
        """By the step's identity: two may be equal."""
        self._causes: dict[str, s.StepFailure] = {}

    def left(self) -> list[s.Step]:
        """The steps that nothing has stopped."""
        return [step for step in self._steps if step.object not in self._causes]

    def fail(self, failures: Sequence[s.StepFailure]) -> None:
        for failure in failures:
            self._failed[id(failure.step)] = failure
            self._causes.setdefault(failure.step.object, failure)

    def failures(self) -> list[s.StepFailure]:
        """In the steps' order, with those that a failure took along: what stood behind it and serves the same object."""
        found: list[s.StepFailure] = []
        broken: set[str] = set()
        for step in self._steps:
            cause = self._causes.get(step.object)
            if id(step) in self._failed:
                found.append(self._failed[id(step)])
                broken.add(step.object)
            elif cause and step.object in broken:
                found.append(s.StepFailure(step, cause.text, cause.retry))
        return found

    def part(self, acts: Acts, before_run: Callable[[], None]) -> None:
        """The steps of these types, those of one type that stand together at once."""
        for run in runs(self._steps):
            act = acts.get(type(run[0]))
            here = [step for step in run if step.object not in self._causes]
            if act and here:
                before_run()
                self.fail(act(here))

    # --- the transaction ---------------------------------------------------------------------------

    def write(self, database: Database, board: Board, datapath: str) -> set[str]:
        """All of it at once, and read back what ovs-vswitchd says of it; what changed by it, or meanwhile."""
        try:
            database.transact(lambda txn: self._draft(txn, database, board, datapath))
        except OSError as error:
            self.fail([failure_of(step, error) for step in self.left()])
        touched = board.take(database.changed())
        self._read_back({row.name: row.error[0] for row in database.rows("Interface") if row.error})
        return touched

    def clear_away(self, database: Database, board: Board, ports: set[str]) -> None:
        """A transaction before that one, for ports that shall come back as other devices under the same names: by the name alone
        ovs-vswitchd would not see that they are others."""

        def draft(txn: Any) -> None:
            bridges = {
                name: msgspec.structs.replace(bridge, ports={port: row for port, row in bridge.ports.items() if port not in ports})
                for name, bridge in board.bridges.items()
            }
            Writer(txn, database.root()).write(board.bridges, bridges)

        try:
            database.transact(draft)
        except OSError as error:
            self.fail([failure_of(step, error) for step in self.left()])
        board.take(database.changed())

    def _draft(self, txn: Any, database: Database, board: Board, datapath: str) -> None:
        writer = Writer(txn, database.root())
        want = bridges_of(self._switches(board.standing()), datapath)
        while conflicts := writer.conflicts(want):
            hopeless = [step for step in self.left() if (self._names(step) & conflicts.keys())]
            if not hopeless:
                raise Refused("; ".join(conflicts.values()))
            self.fail([failure_of(step, Refused(conflicts[(self._names(step) & conflicts.keys()).pop()])) for step in hopeless])
            want = bridges_of(self._switches(board.standing()), datapath)
        writer.write(board.bridges, want)

    def _switches(self, switches: Mapping[str, SwitchView]) -> dict[str, SwitchView]:
        """As they are after the steps."""
        now = dict(switches)
        for step in self._steps:
            if step.object in self._causes:
                continue
            try:
                now = apply(now, step)
            except Refused as error:
                self.fail([failure_of(step, error)])
        return now

    def _names(self, step: s.Step) -> set[str]:
        """Of the bridge or port that a step makes."""
        match step:
            case s.CreateSwitch():
                return {step.switch.bridge}
            case s.AttachUplink():
                return {step.bridge, step.uplink.device, *ends_of(step.uplink)}
            case s.CreatePort() | s.SetPort():
                return {step.port.device}
        return set()

    def _read_back(self, errors: Mapping[str, str]) -> None:
        """Where ovs-vswitchd could not have a device."""
        for step in self.left() if errors else ():
            names = {*nics_of(step.uplink), *ends_of(step.uplink)} if isinstance(step, s.AttachUplink) else self._names(step)
            if broken := names & errors.keys():
                self.fail([failure_of(step, Refused(f"ovs-vswitchd: {errors[broken.pop()]}"))])
