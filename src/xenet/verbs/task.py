"""task: made by clients for their own work or by the server for a call that takes its time."""

from xenet.model.errors import Failure, not_allowed
from xenet.model.task import Task, TaskStatus
from xenet.model.types import StrMap, StrSet, TaskRef
from xenet.verbs.call import Call, Outcome, Work, new_task
from xenet.verbs.registry import message

ENDED = ("success", "failure", "cancelled")


@message("task", TaskRef)
def create(call: Call, label: str, description: str) -> Outcome:
    work = Work(call)
    return_ref = work.put(new_task(call, label, description)).ref
    return work.outcome(return_ref)


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


@message("task")
def set_other_config(call: Call, self: TaskRef, value: StrMap) -> Outcome:
    return _set(call, self, other_config=value)


@message("task")
def add_to_other_config(call: Call, self: TaskRef, key: str, value: str) -> Outcome:
    current = call.state.get(Task, self).other_config
    if key in current:
        raise Failure("MAP_DUPLICATE_KEY", "task", "other_config", self, key)
    return _set(call, self, other_config={**current, key: value})


@message("task")
def remove_from_other_config(call: Call, self: TaskRef, key: str) -> Outcome:
    current = call.state.get(Task, self).other_config
    return _set(call, self, other_config={k: v for k, v in current.items() if k != key})


def _set(call: Call, self: TaskRef, **fields: object) -> Outcome:
    work = Work(call)
    work.update(call.state.get(Task, self), **fields)
    return work.outcome()
