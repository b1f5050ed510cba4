"""A host in memory for the keeper and the loop: the fakes, and a server's words for them, encoded and decoded as on the link."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from tests.plan.pools import HERE, nic_mac
from tests.plan.whole import compile_host
from xenet.agent.keeper import Keeper
from xenet.agent.replica import Replica
from xenet.datapath.fake import FakeDatapath
from xenet.guests.base import FakeGuests
from xenet.link.messages import REPLICATED, Delta, FromServer, Snapshot, decode, encode
from xenet.model.change import edit_between
from xenet.model.classes import STORED
from xenet.model.hidden import NIC, Edit
from xenet.model.state import PoolState
from xenet.plan.steps import Step
from xenet.plan.view import HostView

M = TypeVar("M", bound=FromServer)


def edits(old: PoolState, new: PoolState) -> Iterator[Edit]:
    """What a server sends to lead from one state to another."""
    for name in sorted(REPLICATED):
        refs = {**old.tables.get(name, {}), **new.tables.get(name, {})}
        for ref in refs:
            edit = edit_between(name, ref, old.find(STORED[name], ref), new.find(STORED[name], ref))
            if edit is not None:
                yield edit


def on_the_link(message: M) -> M:
    received: M = decode(FromServer, encode(message))
    return received


def snapshot(state: PoolState, revision: int = 1) -> Snapshot:
    return on_the_link(Snapshot(HERE, revision, tuple(edits(PoolState(), state))))


def delta(old: PoolState, new: PoolState, revision: int = 2) -> Delta:
    return on_the_link(Delta(revision, tuple(edits(old, new))))


class Rig:
    """A host with two NICs, kept by a keeper that can be killed and started again."""

    def __init__(self, *nics: str, theirs: Sequence[str] = ()) -> None:
        """`theirs`: bridges that somebody else has made."""
        hardware = [NIC(device, nic_mac(device), carrier=True) for device in nics or ("eth0", "eth1")]
        self.datapath = FakeDatapath(hardware, dict.fromkeys(theirs, ()))
        self.guests = FakeGuests()
        self.state = PoolState()
        self.restart()

    def restart(self) -> None:
        """Another agent on the same host: it knows nothing of what the one before did."""
        self.keeper = Keeper(Replica(), self.datapath, self.guests)

    def start_at(self, state: PoolState) -> None:
        """The first word of a server: all of it."""
        self.keeper.replica.take(snapshot(state))
        self.keeper.start_over()
        self.keeper.converge()
        self.state = state

    def go_to(self, state: PoolState) -> list[Step]:
        """A later word: what differs; the steps that the keeper took."""
        self.keeper.replica.take(delta(self.state, state))
        self.state = state
        return self.keeper.converge()

    def view(self) -> HostView:
        return HostView(self.datapath.switches(), self.keeper.observe_guests())

    def is_as(self, state: PoolState) -> bool:
        """Whether the host is exactly what this state asks for."""
        return compile_host(state, HERE) == self.seen(state)

    def seen(self, state: PoolState) -> HostView:
        """The host without the MACs of switches for which this state names none: those are the kernel's choice."""
        wanted, observed = compile_host(state, HERE).switches, self.view()
        unnamed = {
            name: msgspec.structs.replace(switch, mac="") for name, switch in observed.switches.items() if name in wanted and not wanted[name].mac
        }
        return HostView({**observed.switches, **unnamed}, observed.guests)

    def close(self) -> None:
        self.datapath.close()
