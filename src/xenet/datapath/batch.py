"""The order of a batch, the same for every datapath: steps of one type that stand together are handed on together, and a step that
failed takes those after it that serve the same object with it."""

import errno
import struct
from collections.abc import Callable, Iterator, Sequence

from xenet.plan.steps import Step, StepFailure


class Refused(Exception):
    """A step that is not done, for a reason that doing it again does not mend."""


TROUBLE = (Refused, OSError, ValueError, struct.error)
"""What a step may raise: our refusal, the kernel's, and values that cannot be put into a message."""
_PASSING = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def carry_out(steps: Sequence[Step], act: Callable[[Sequence[Step]], list[StepFailure]]) -> list[StepFailure]:
    """Hand runs of steps to `act`, which says what failed; all failures, those by the same cause included."""
    failures: list[StepFailure] = []
    causes: dict[str, StepFailure] = {}
    for run in runs(steps):
        failures += [StepFailure(step, causes[step.object].text, causes[step.object].retry) for step in run if step.object in causes]
        if left := [step for step in run if step.object not in causes]:
            found = act(left)
            failures += found
            causes |= {failure.step.object: failure for failure in found}
    return failures


def runs(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Cut before another type of step, and before an object that had a step in this run."""
    run: list[Step] = []
    objects: set[str] = set()
    for step in steps:
        if run and (type(step) is not type(run[0]) or step.object in objects):
            yield run
            run, objects = [], set()
        run.append(step)
        objects.add(step.object)
    if run:
        yield run


def failure_of(step: Step, error: Exception) -> StepFailure:
    """An error as a failure: the kernel's own words, and whether its errno is one that passes."""
    if isinstance(error, OSError):
        return StepFailure(step, error.strerror or str(error), error.errno in _PASSING)
    return StepFailure(step, str(error))
