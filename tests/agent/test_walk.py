"""From any named state to any other: the host ends as wanted; with any step failing, as wanted after a retry and exactly as before after
the server's undo; with the agent killed after any step, as wanted once another one is there.

A sample of the ways, always the same one; `XENET_LONG=1` walks them all.
"""

import os
from collections.abc import Iterator
from itertools import permutations
from random import Random

import pytest

from tests.agent.rig import Rig
from tests.plan.states import STATES
from xenet.datapath.fake import Crash
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.vif import VIF
from xenet.plan.guest_steps import StartGuest

ALL_PAIRS = list(permutations(STATES, 2))
ALL_TRIPLES = [(a, b, c) for a, b in ALL_PAIRS for c in STATES if c != b]
LONG = bool(os.environ.get("XENET_LONG"))
PAIRS = ALL_PAIRS if LONG else Random(7).sample(ALL_PAIRS, 60)
TRIPLES = ALL_TRIPLES if LONG else Random(7).sample(ALL_TRIPLES, 100)


@pytest.fixture
def rigs() -> Iterator[list[Rig]]:
    """Rigs to be closed at the end."""
    made: list[Rig] = []
    yield made
    for rig in made:
        rig.close()


def at(rigs: list[Rig], name: str) -> Rig:
    """A host that has settled in this state."""
    rig = Rig(theirs=("br-theirs",))
    rigs.append(rig)
    rig.start_at(STATES[name])
    assert rig.keeper.failures == {}
    return rig


@pytest.mark.parametrize("name", STATES)
def test_a_state_says_what_it_seems_to_say(name: str) -> None:
    """A PIF or VIF on a network that is not there would be nowhere, and the walk would prove nothing."""
    state = STATES[name]
    for network in (*(pif.network for pif in state.all(PIF)), *(vif.network for vif in state.all(VIF))):
        assert state.find(Network, network) is not None, network


@pytest.mark.parametrize("name", STATES)
def test_a_state_is_reached_from_nothing_and_kept(name: str, rigs: list[Rig]) -> None:
    rig = at(rigs, name)
    assert rig.is_as(STATES[name])
    done = len(rig.datapath.done)
    assert rig.keeper.converge() == []
    rig.keeper.start_over()
    assert rig.keeper.converge() == []
    rig.restart()
    rig.start_at(STATES[name])
    assert len(rig.datapath.done) == done, "a new agent found something to do on a host that is as wanted"


@pytest.mark.parametrize(("a", "b", "c"), TRIPLES, ids=map(" - ".join, TRIPLES))
def test_any_state_to_any_other(a: str, b: str, c: str, rigs: list[Rig]) -> None:
    rig = at(rigs, a)
    for name in (b, c):
        rig.go_to(STATES[name])
        assert rig.keeper.failures == {}
        assert rig.is_as(STATES[name])
        assert rig.keeper.converge() == []


@pytest.mark.parametrize(("a", "b"), PAIRS, ids=map(" - ".join, PAIRS))
def test_any_step_may_fail(a: str, b: str, rigs: list[Rig]) -> None:
    for k in range(1, steps_between(rigs, a, b) + 1):
        rig = at(rigs, a)
        before = rig.seen(STATES[a])
        rig.datapath.fail_at(k)
        rig.go_to(STATES[b])
        assert rig.keeper.failures, f"step {k} failed and nobody said so"
        assert not rig.keeper.settled
        rig.go_to(STATES[a])
        assert (rig.keeper.failures, rig.seen(STATES[a])) == ({}, before), f"step {k} failed, and the undo left something"

        rig = at(rigs, a)
        rig.datapath.fail_at(k)
        rig.go_to(STATES[b])
        rig.keeper.converge()
        assert rig.keeper.failures == {}, f"step {k} failed, and doing it again did not help"
        assert rig.is_as(STATES[b])


def steps_between(rigs: list[Rig], a: str, b: str) -> int:
    """The steps of the datapath on the way."""
    return sum(step.where == "datapath" for step in at(rigs, a).go_to(STATES[b]))


@pytest.mark.parametrize(("a", "b"), PAIRS, ids=map(" - ".join, PAIRS))
def test_the_agent_may_be_killed_after_any_step(a: str, b: str, rigs: list[Rig]) -> None:
    for k in range(steps_between(rigs, a, b)):
        rig = at(rigs, a)
        rig.datapath.crash_at(k)
        with pytest.raises(Crash):
            rig.go_to(STATES[b])
        rig.restart()
        rig.start_at(STATES[b])
        assert rig.keeper.failures == {}
        assert rig.is_as(STATES[b]), f"killed after step {k}"


@pytest.mark.parametrize(("a", "b"), PAIRS, ids=map(" - ".join, PAIRS))
def test_any_guest_may_fail_to_start(a: str, b: str, rigs: list[Rig]) -> None:
    starting = [step.guest.vm for step in at(rigs, a).go_to(STATES[b]) if isinstance(step, StartGuest)]
    for vm in starting:
        rig = at(rigs, a)
        rig.guests.broken.add(vm)
        rig.go_to(STATES[b])
        assert "broken" in rig.keeper.failures[vm]
        rig.keeper.converge()
        assert "broken" in rig.keeper.failures[vm], "the failure was forgotten"
        rig.guests.broken.clear()
        rig.keeper.converge()
        assert rig.keeper.failures == {}
        assert rig.is_as(STATES[b])
