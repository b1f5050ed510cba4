"""The walk between named states on real devices: a host with two NICs whose networking becomes that of one state after the other, each time
seen by the datapath that did it and by one that starts then; now and then the agent dies on its way."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial, partialmethod
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.datapath.bridge_host import Host
from tests.datapath.switch_host import SwitchHost
from tests.netns import Namespace, cable, namespaces
from tests.plan.pools import HERE, nic_mac
from tests.plan.states import STATES, WORDS
from tests.plan.whole import compile_host
from xenet.datapath.base import Datapath
from xenet.datapath.gre import find_lack
from xenet.datapath.netlink import Socket
from xenet.datapath.openvswitch.database import Database
from xenet.model.state import PoolState
from xenet.plan.diff import diff_host
from xenet.plan.ethtool import asked_of
from xenet.plan.steps import Step, StepFailure, as_text
from xenet.plan.view import HostView, SwitchView

ALL = [name for name in WORDS if not name.startswith("drivers")]
"""Without what drivers are told: a veth does not take all of it, and an agent that starts then must ask once more."""
NAMES = [name for name in ALL if not ("GRE" in name and find_lack())]
"""Without GRE where the kernel has none: for bridges."""


class Killed(Exception):
    pass


class Walker(Host):
    """The guests a and b of the named states are its two guests."""

    mouths: tuple[tuple[type, str], ...] = ((Socket, "_send"),)
    """The methods by which an agent changes anything."""

    def __init__(self, host: Namespace, far: Namespace, guests: list[Namespace], *more: Path) -> None:
        super().__init__(host, far, guests, *more)
        cable(host, "eth1", far, "wire1")
        for nic in ("eth0", "eth1"):
            host.ip("link", "set", nic, "address", nic_mac(nic))
        self.add_theirs()
        self.theirs = self.names()
        """What is there from the beginning: the kernel puts devices of its own into a namespace as soon as it has a module for GRE."""
        self.restart()

    def add_theirs(self) -> None:
        """Somebody else's bridge."""
        self.ns.ip("link", "add", "br-theirs", "up", "type", "bridge")

    def _netns(self, vm: str) -> int | None:
        return self.guests["ab".index(vm)].dup()

    def do(self, *steps: Step) -> list[StepFailure]:
        """Those that are a datapath's."""
        return super().do(*(step for step in steps if step.where == "datapath"))

    def settle(self, state: PoolState) -> None:
        """Make it so; another agent that starts then has nothing to do either."""
        self.datapath.refresh()
        self.reach(*switches(state))
        self.datapath.refresh()
        assert self.left(state, self.datapath) == ""
        with closing(self._start()) as fresh:
            assert self.left(state, fresh) == ""

    def left(self, state: PoolState, datapath: Datapath) -> str:
        """What this one would do to make it so."""
        for each in switches(state):
            datapath.heed(each.bridge, asked_of(each))
        return as_text(diff_host(HostView(compile_host(state, HERE).switches), HostView(datapath.switches())))

    def die_on_the_way_to(self, state: PoolState, sends: int) -> bool:
        """After so many sends to the kernel or transactions, or at the end; another agent starts. Whether it did not get to the end."""
        left = iter(range(sends))

        def counted(send: Callable[..., Any], *args: Any, **said: Any) -> Any:
            if next(left, None) is None:
                raise Killed
            return send(*args, **said)

        with pytest.MonkeyPatch.context() as patch:
            for owner, name in self.mouths:
                patch.setattr(owner, name, partialmethod(partial(counted, getattr(owner, name))))
            try:
                self.reach(*switches(state))
                died = False
            except Killed:
                died = True
        self.restart()
        return died


def switches(state: PoolState) -> list[SwitchView]:
    return list(compile_host(state, HERE).switches.values())


@contextmanager
def walkers() -> Iterator[Walker]:
    with namespaces(4) as (host, far, *guests):
        made = Walker(host, far, guests)
        try:
            yield made
        finally:
            made.datapath.close()


class SwitchWalker(Walker, SwitchHost):
    """The same on an Open vSwitch of its own."""

    mouths = ((Socket, "_send"), (Database, "transact"))

    def add_theirs(self) -> None:
        self.vsctl("add-br", "br-theirs", "--", "set", "bridge", "br-theirs", "datapath_type=netdev")
        self.ns.ip("link", "set", "br-theirs", "up")


@contextmanager
def switch_walkers() -> Iterator[SwitchWalker]:
    with tempfile.TemporaryDirectory() as folder, namespaces(4) as (host, far, *guests):
        made = SwitchWalker(host, far, guests, Path(folder, "openvswitch"))
        try:
            yield made
        finally:
            made.datapath.close()
            made.daemons.stop()


def walk(walker: Walker, names: Sequence[str], random: Random) -> None:
    """From each to the next; a third of the agents dies on the way. Nothing is left at the end."""
    for name in (*names, "nothing"):
        state = STATES[name]
        if random.random() < 1 / 3:
            walker.die_on_the_way_to(state, random.randint(0, 25))
        walker.settle(state)
        if random.random() < 1 / 2:
            assert walker.ns(walker.datapath.reap) == 0
    assert walker.ns(walker.datapath.reap) == 0
    assert walker.names() == walker.theirs
    assert walker.ns.command("nft", "list", "tables") == ""
    assert [guest.ip("-br", "link").split()[0] for guest in walker.guests] == ["lo", "lo"]


def path(names: Sequence[str], random: Random, rounds: int) -> list[str]:
    """Each name so many times, in another order each time."""
    return [name for _ in range(rounds) for name in random.sample(names, len(names))]
