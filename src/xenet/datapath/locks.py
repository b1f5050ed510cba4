"""Locks: what the guests behind some ports may send from, set, changed and removed, all of a chunk of ports in one transaction.

A lock counts by the port's name, so it is in place before the port is in a bridge, and what a port leaves behind goes with the next `reap`.
"""

from collections.abc import Sequence
from contextlib import suppress

from xenet.datapath.batch import Refused
from xenet.datapath.kernel import Kernel
from xenet.datapath.nft import REMOVE, RULES, load
from xenet.plan.lock import Elements, commands, elements
from xenet.plan.view import PortView


class Locks:
    """Of the ports that a kernel knows."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def apply(self, views: Sequence[PortView]) -> dict[str, Exception]:
        """Bring ports to their locks; those that could not be, by device. Nothing is done for one that is as wanted."""
        return self._reach({view.device: elements(view.mac, view.lock) for view in views})

    def reap(self) -> None:
        """Forget locks of devices that are no ports, and the whole table after the last. Where nft is gone they stay, and concern nobody:
        no port bears these names any more."""
        known = self._kernel.guard.known
        stale = known.ports() - self._kernel.table.port_names()
        if known.ports() - stale:
            self._reach({device: {} for device in stale})
        elif known.present:
            with suppress(Refused):
                load(REMOVE)
                self._kernel.drain()

    def _reach(self, wanted: dict[str, Elements]) -> dict[str, Exception]:
        """Tried twice: what somebody else did to the table a moment ago makes a transaction fail, and the first thing to do is to look."""
        errors: dict[str, Exception] = {}
        for _ in range(2):
            differing = {device: found for device, found in wanted.items() if not self._is_so(device, found)}
            if not differing:
                return {}
            try:
                load(self._script(differing))
                self._kernel.drain()
                return {}
            except Refused as refusal:
                errors = dict.fromkeys(differing, refusal)
                self._kernel.look_at_locks()
        return errors

    def _is_so(self, device: str, wanted: Elements) -> bool:
        known = self._kernel.guard.known
        return known.elements(device) == wanted and (known.intact or not wanted)

    def _script(self, wanted: dict[str, Elements]) -> str:
        known = self._kernel.guard.known
        if known.intact or not any(wanted.values()):
            return "\n".join(line for device, found in wanted.items() for line in commands(device, known.elements(device), found))
        others = {device: known.elements(device) for device in known.ports() - wanted.keys()}
        return REMOVE + RULES + "\n".join(line for device, found in {**others, **wanted}.items() for line in commands(device, {}, found))
