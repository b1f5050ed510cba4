"""The order of a batch: what goes together, and what a failure takes with it."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from xenet.datapath.batch import carry_out, failure_of, runs
from xenet.plan.steps import DeleteSwitch, DetachUplink, Step, StepFailure

steps = st.lists(
    st.builds(DeleteSwitch, object=st.sampled_from("abc"), bridge=st.just("x"))
    | st.builds(DetachUplink, object=st.sampled_from("abc"), bridge=st.just("x"), device=st.just("eth0"))
)


@given(steps)
def test_runs_keep_the_order_and_hold_one_type_and_each_object_once(batch):
    cut = list(runs(batch))
    assert [step for run in cut for step in run] == batch
    assert all(len({type(step) for step in run}) == 1 and len({step.object for step in run}) == len(run) for run in cut)


@given(steps, st.sets(st.integers(0, 20)))
def test_a_failure_takes_later_steps_of_its_object_along_and_no_others(batch, broken):
    numbered = [structs.replace(step, reason=str(number)) for number, step in enumerate(batch)]
    tried: list[Step] = []

    def act(run):
        tried.extend(run)
        return [StepFailure(step, "broken", True) for step in run if int(step.reason) in broken]

    failures = carry_out(numbered, act)
    lost: set[str] = set()
    for number, step in enumerate(numbered):
        assert (step in tried) == (step.object not in lost)
        if number in broken:
            lost.add(step.object)
        assert (StepFailure(step, "broken", True) in failures) == (step.object in lost)


def test_an_errno_says_whether_a_retry_helps():
    step = DeleteSwitch(object="n", bridge="x")
    assert failure_of(step, OSError(16, "Device or resource busy")) == StepFailure(step, "Device or resource busy", True)
    assert failure_of(step, OSError(22, "Invalid argument")) == StepFailure(step, "Invalid argument", False)
    assert failure_of(step, ValueError("no")) == StepFailure(step, "no", False)
