"""The host's copy of the pool's state, and which parts of its own view each news may change."""

from pathlib import Path

import msgspec

from xenet.link.messages import Delta, Snapshot
from xenet.model.change import Conflict, apply_edit, revive
from xenet.model.classes import STORED
from xenet.model.hidden import Edit, HostFacts
from xenet.model.pif import PIF
from xenet.model.state import PoolState, state_of
from xenet.model.types import Ref
from xenet.plan.compile import affected_bridges, affected_vms


class OutOfStep(Exception):
    """A message that does not fit what the server said before: only a new snapshot helps."""


class Replica:
    """What the server last said. `bridges` and `vms` (uuids) collect what deltas may have changed; a snapshot may change all."""

    def __init__(self) -> None:
        self.state = PoolState()
        self.host = Ref("")
        self.bridges: set[str] = set()
        self.vms: set[str] = set()

    @property
    def told(self) -> bool:
        """Whether a server ever said what it wants. Until then an empty state does not mean an empty host."""
        return bool(self.host)

    def hands_off(self) -> tuple[str, ...]:
        """The NICs that xenet was given but shall not touch: forgotten ones, and those whose PIF is unmanaged."""
        facts = self.state.find(HostFacts, self.host)
        unmanaged = (pif.device for pif in self.state.where(PIF, "host", self.host) if not pif.managed)
        return tuple(sorted({*(facts.forgotten if facts else ()), *unmanaged}))

    def neighbours(self) -> tuple[Path, ...]:
        """Where the other hosts of this machine have their guests of namespaces."""
        facts = self.state.find(HostFacts, self.host)
        machine = facts.place.partition(" ")[0] if facts else ""
        others = (other.place.partition(" ") for other in self.state.all(HostFacts) if machine and other.ref != self.host)
        return tuple(Path(folder) for theirs, _, folder in others if theirs == machine)

    def take(self, message: Snapshot | Delta) -> None:
        """Follow the server. Raises OutOfStep; the copy is then as it was."""
        try:
            if isinstance(message, Snapshot):
                self.state, self.host = _state_of(message), message.host
            else:
                self._apply(revive(message.edits), message.revision)
        except (Conflict, msgspec.ValidationError, LookupError, TypeError) as error:
            raise OutOfStep(f"revision {message.revision}: {error}") from error

    def _apply(self, edits: tuple[Edit, ...], revision: int) -> None:
        before = after = self.state
        for edit in edits:
            after = apply_edit(after, edit)
        self.state = after.at(revision)
        for edit in edits:
            self.bridges |= affected_bridges(before, after, edit)
            self.vms |= affected_vms(after, self.host, edit)


def _state_of(snapshot: Snapshot) -> PoolState:
    return state_of(snapshot.revision, (STORED[edit.cls](**(edit.after or {})) for edit in revive(snapshot.edits)))
