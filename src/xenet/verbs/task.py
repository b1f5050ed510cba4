"""task: made by clients for their own work or by the server for a call that takes its time."""

from xenet.model.errors import not_allowed
from xenet.model.task import Task, TaskStatus
from xenet.model.types import StrSet, TaskRef
from xenet.verbs.call import Call, Outcome, Work, new_task
from xenet.verbs.registry import message

ENDED = ("success", "failure", "cancelled")


@message("task", TaskRef)
def create(call: Call, label: str, description: str) -> Outcome:
    work = Work(call)
    return work.outcome(work.put(new_task(call, label, description)).ref)


@message("task")
def destroy(call: Call, self: TaskRef) -> Outcome:
    work = Work(call)
    work.delete(call.state.get(Task, self))
    return work.outcome()


@message("task")
def cancel(call: Call, task: TaskRef) -> Outcome:
    """Raises OPERATION_NOT_ALLOWED: nothing here runs long enough to be stopped half-way."""
    record = call.state.get(Task, task)
    if "cancel" not in record.allowed_operations:
        raise not_allowed("this task cannot be cancelled")
    return _set(call, task, status="cancelled", finished=call.now)


@message("task")
def set_status(call: Call, self: TaskRef, value: TaskStatus) -> Outcome:
    if value in ENDED:
        return _set(call, self, status=value, finished=call.now)
    return _set(call, self, status=value)


@message("task")
def set_progress(call: Call, self: TaskRef, value: float) -> Outcome:
    return _set(call, self, progress=value)


@message("task")
def set_result(call: Call, self: TaskRef, value: str) -> Outcome:
    return _set(call, self, result=value)


@message("task")
def set_error_info(call: Call, self: TaskRef, value: StrSet) -> Outcome:
    return _set(call, self, error_info=value)


def _set(call: Call, self: TaskRef, **fields: object) -> Outcome:
    work = Work(call)
    work.update(call.state.get(Task, self), **fields)
    return work.outcome()
