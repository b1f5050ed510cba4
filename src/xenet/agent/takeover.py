"""Taking over a NIC that is in use: what it had is written down first, moves to its bridge, and goes back if the gateway falls silent.

The checkpoint is a file beside the agent's state, so that a kill -9 in between, `xenet down` or the undo all find what to give back.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from xenet.agent.keeper import Keeper
from xenet.agent.replica import Replica
from xenet.datapath.base import Datapath
from xenet.guests.base import Guests
from xenet.model.hidden import NIC
from xenet.plan.layer3 import DEFAULT_ROUTE
from xenet.plan.steps import AddAddress, AddRoute, Step, StepFailure
from xenet.plan.view import RouteView


class InUse(Exception):
    """A NIC that was named cannot be had; the text says why and what to do."""


class Checkpoint:
    """What the taken-over NICs had before xenet came, in a file that is there exactly while they are taken over."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> tuple[NIC, ...]:
        return msgspec.json.decode(self.path.read_bytes(), type=tuple[NIC, ...]) if self.path.exists() else ()

    def save(self, nics: Sequence[NIC]) -> None:
        """Whole or not at all, and on disk when it returns."""
        part = self.path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(msgspec.json.encode(list(nics)))
            file.flush()
            os.fsync(file.fileno())
        part.rename(self.path)

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)


def check_nics(found: Sequence[NIC], names: Sequence[str], foreign_master: Callable[[str], str | None], take_over: bool) -> None:
    """Raises InUse for a NIC that is not there, that somebody else's switch holds, or that is in use without --take-over."""
    there = {nic.device: nic for nic in found}
    for name in names:
        if name not in there:
            raise InUse(f"there is no NIC {name} here; `ip -br link` lists them")
    for nic in found:
        master = foreign_master(nic.device)
        if master is not None:
            raise InUse(f"NIC {nic.device} is a port of {master}, which is not xenet's; take it out first: ip link set {nic.device} nomaster")
        if nic.addresses and not take_over:
            raise InUse(f"NIC {nic.device} is in use ({', '.join(nic.addresses)}); give --take-over to move its addresses to its bridge")
        if sum(":" not in address for address in nic.addresses) > 1:
            raise InUse(f"NIC {nic.device} has more than one IPv4 address, a PIF has one; remove one: ip address del ... dev {nic.device}")


def note(checkpoint: Checkpoint, found: Sequence[NIC]) -> None:
    """Write down what NICs in use have; what an earlier start wrote stays, since by now it may be on the bridge."""
    known = {nic.device: nic for nic in checkpoint.load()}
    known.update({nic.device: nic for nic in found if nic.addresses and nic.device not in known})
    if known:
        checkpoint.save(tuple(known.values()))


def give_back(datapath: Datapath, guests: Guests, checkpoint: Checkpoint) -> list[StepFailure]:
    """Take all of xenet's off this host and give the NICs what they had. Idempotent; the checkpoint goes when all is back."""
    datapath.observe()
    keeper = Keeper(Replica(), datapath, guests)
    failures = keeper.do(keeper.plan(datapath.switches(), guests.observe()))
    failures += datapath.do([step for nic in checkpoint.load() for step in _restore(nic)])
    while datapath.reap():
        time.sleep(0.05)
    if not failures:
        checkpoint.drop()
    return failures


def _restore(nic: NIC) -> list[Step]:
    steps: list[Step] = [AddAddress(object=nic.device, reason="it had it before", bridge=nic.device, address=a) for a in nic.addresses]
    if nic.gateway:
        route = RouteView(DEFAULT_ROUTE, nic.gateway)
        steps.append(AddRoute(object=nic.device, reason="it had it before", bridge=nic.device, route=route))
    return steps
