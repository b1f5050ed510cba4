"""The host's copy of the pool's state, and which parts of its own view each news may change."""

from collections.abc import Iterable

from xenet.link.messages import Delta, Snapshot
from xenet.model.change import apply_edit, revive
from xenet.model.hidden import Edit
from xenet.model.state import PoolState
from xenet.model.types import PREFIX, Ref
from xenet.plan.compile import affected_bridges

VM_FIELDS = frozenset({"running_on", "domid", "other_config", "name_label"})
"""The fields of a VM that its guest is made of."""


class Replica:
    """What the server last said. `bridges` and `vms` collect what has to be looked at again."""

    def __init__(self) -> None:
        self.state = PoolState()
        self.host = Ref("")
        self.bridges: set[str] = set()
        self.vms: set[str] = set()

    def take(self, message: Snapshot | Delta) -> None:
        """Follow the server. Everything is looked at again after a snapshot."""
        if isinstance(message, Snapshot):
            self.state, self.host = PoolState(), message.host
        self._apply(revive(message.edits))
        self.state = self.state.at(message.revision)

    def _apply(self, edits: Iterable[Edit]) -> None:
        before = self.state
        edits = tuple(edits)
        for edit in edits:
            self.state = apply_edit(self.state, edit)
        for edit in edits:
            self.bridges |= affected_bridges(before, self.state, edit)
            if edit.cls == "VM" and _touches_guest(edit):
                self.vms.add(edit.ref.removeprefix(PREFIX))


def _touches_guest(edit: Edit) -> bool:
    return edit.before is None or edit.after is None or not VM_FIELDS.isdisjoint(edit.after)
