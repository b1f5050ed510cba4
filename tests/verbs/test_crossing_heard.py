"""What a move between two pools has cost: the other pool hands over what its host heard, and the call waits for what the host here did."""

import pytest
from msgspec.structs import replace

from tests.verbs.test_measure import COME, LEFT
from tests.verbs.two_pools import Journey, Pools, two_pools
from xenet.model.errors import Failure
from xenet.model.hidden import Heard, Operation
from xenet.model.invariants import violations
from xenet.model.task import Task
from xenet.model.types import PREFIX
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs import cross_in
from xenet.verbs.call import PATIENCE, Ended, xml_result
from xenet.verbs.cross_in import heard_in
from xenet.verbs.measure import measured
from xenet.verbs.operation import arrived_abroad, forget, timeout_failure

WHOLE = measured([COME, LEFT])
HALF = measured([COME])


class Arrival:
    """The VM runs in the other pool, whose host has heard it come; this pool has asked."""

    def __init__(self, pools: Pools) -> None:
        self.pools, self.journey = pools, Journey(pools)
        (vif,) = [vif for vif in pools.there.state.all(VIF) if vif.plugged]
        pools.there.report(pools.target)
        pools.there.report(pools.target, heard=(replace(COME, vif=vif.uuid),))
        self.said = self.journey.ask("tell")
        self.ticket, self.task = self.journey.operation.abroad["ticket"], self.journey.operation.task

    def arrive(self) -> list[Ended]:
        return self.journey.end(arrived_abroad, heard_in(self.said))

    def report(self, *heard: Heard) -> list[Ended]:
        """What the host here says."""
        return self.pools.here.report(self.pools.source, heard=tuple(replace(post, vif=self.pools.vifs[0].removeprefix(PREFIX)) for post in heard))

    def result(self) -> tuple[str, str]:
        task = self.pools.here.get(Task, self.task)
        return task.status, task.result

    def success(self, cost: dict[str, str]) -> tuple[str, str]:
        return "success", xml_result({"VM": self.pools.vm, **cost})

    def is_over(self) -> bool:
        """The other pool hears that it has the VM, and nothing is left of the move."""
        pools = self.pools
        assert self.journey.ask("let go", self.ticket) == "runs"
        pools.here.commit(forget(pools.here.frame("errand"), self.journey.operation.ref))
        there = pools.there.get(VM, pools.vm)
        return (
            (there.heard, there.blocked_operations) == ((), {})
            and pools.here.state.count(Operation) == 0
            and violations(pools.here.state) == violations(pools.there.state) == []
        )


@pytest.fixture
def arrival() -> Arrival:
    return Arrival(two_pools())


def test_the_result_is_what_both_hosts_heard(arrival: Arrival) -> None:
    here, pools = arrival.pools.here, arrival.pools
    assert arrival.arrive() == []
    assert (here.state.count(VM), here.state.count(VIF)) == (0, 0), "it is here no more, whatever is still to be heard"
    assert arrival.result()[0] == "pending"
    (ended,) = arrival.report(LEFT)
    assert ended.failure is None
    assert arrival.result() == arrival.success(WHOLE)
    assert WHOLE["whole"] == "true"
    assert arrival.journey.operation.abroad["vm"] == pools.vm
    assert arrival.is_over()


def test_to_ask_again_changes_nothing(arrival: Arrival) -> None:
    arrival.arrive()
    assert arrival.arrive() == []
    arrival.report(LEFT)
    assert arrival.arrive() == []
    assert arrival.result() == arrival.success(WHOLE)


def test_what_others_heard_is_nothing_to_it(arrival: Arrival) -> None:
    arrival.arrive()
    arrival.pools.here.report(arrival.pools.source, heard=(replace(LEFT, vif="another"),))
    assert arrival.result() == arrival.success(HALF)


@pytest.mark.parametrize("end", ["it dies", "its time is over"])
def test_a_host_that_says_nothing_keeps_no_move_from_its_end(arrival: Arrival, end: str) -> None:
    arrival.arrive()
    here, operation = arrival.pools.here, arrival.journey.operation
    if end == "it dies":
        here.leave(arrival.pools.source)
    else:
        assert operation.deadline == here.now + PATIENCE
        (ended,) = here.give_up(operation.ref, timeout_failure(here.frame("time-out"), operation))
        assert ended.failure is None
    assert arrival.result() == arrival.success(HALF)
    assert HALF["whole"] == "false"
    assert arrival.is_over()


def test_a_host_that_is_dead_is_not_waited_for(arrival: Arrival) -> None:
    arrival.pools.here.leave(arrival.pools.source)
    (ended,) = arrival.arrive()
    assert ended.failure is None
    assert arrival.result() == arrival.success(HALF)


def test_the_other_pool_may_hear_of_it_before_the_host_has_answered(arrival: Arrival) -> None:
    """As where a server goes on that was killed: what is left then is the host's alone."""
    here = arrival.pools.here
    arrival.arrive()
    here.commit(forget(here.frame("errand"), arrival.journey.operation.ref))
    assert (arrival.journey.operation.abroad, arrival.result()[0]) == ({}, "pending")
    arrival.report(LEFT)
    assert arrival.result() == arrival.success(WHOLE)
    assert here.state.count(Operation) == 0


@pytest.mark.parametrize(
    "said", ["runs", "runs ", "runs nonsense", 'runs {"0":{}}', 'runs {"7":{"vif":"v","coming":true}}', "runs [" * 100, "runs \ud800"]
)
def test_a_pool_that_does_not_say_it_is_not_waited_for(arrival: Arrival, said: str) -> None:
    """One of before that word, or one that makes no sense. The result is the VM's reference, as for a halted one."""
    arrival.said = said
    (ended,) = arrival.arrive()
    assert ended.failure is None
    assert arrival.result() == ("success", xml_result(arrival.pools.vm))
    assert arrival.is_over()


def test_what_it_says_is_of_one_that_came(arrival: Arrival) -> None:
    """Whatever another pool says of that."""
    arrival.said = arrival.said.replace('"coming":true', '"coming":false')
    assert '"coming":false' in arrival.said
    arrival.arrive()
    arrival.report(LEFT)
    assert arrival.result() == arrival.success(WHOLE)


def test_too_much_is_not_said_nor_listened_to(arrival: Arrival, monkeypatch: pytest.MonkeyPatch) -> None:
    length = len(arrival.said.removeprefix("runs "))
    monkeypatch.setattr(cross_in, "MOST_HEARD", length)
    assert arrival.journey.ask("tell") == arrival.said
    assert list(heard_in(arrival.said)) == [0]
    monkeypatch.setattr(cross_in, "MOST_HEARD", length - 1)
    assert arrival.journey.ask("tell") == "runs"
    assert heard_in(arrival.said) == {}


def test_who_does_not_ask_for_it_is_answered_as_ever(arrival: Arrival) -> None:
    assert arrival.said.startswith("runs {")
    assert arrival.journey.ask() == arrival.journey.ask("call off") == arrival.journey.ask("another word") == "runs"


def test_it_is_not_told_before_the_vm_runs() -> None:
    pools = two_pools()
    journey = Journey(pools)
    assert journey.ask("tell") == "coming"
    pools.there.report(pools.target)
    pools.there.give_up(journey.told.operation or journey.told.result["vm"], Failure("CANNOT_CONTACT_HOST"))
    pools.there.report(pools.target, {pools.vm: "it has ended"}, heard=(COME,))
    assert journey.ask("tell") == "gone"
    assert pools.there.state.count(VM) == 0
