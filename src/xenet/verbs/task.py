"""task: made by clients for their own work or by the server for a call that takes its time."""

from datetime import timedelta

from xenet.model.errors import Failure, not_allowed
from xenet.model.hidden import Operation
from xenet.model.task import Task, TaskStatus
from xenet.model.types import StrSet, TaskRef
from xenet.verbs.call import Call, Outcome, Work, new_task
from xenet.verbs.operation import give_up
from xenet.verbs.registry import message

KEPT = timedelta(minutes=65)
"""For how long a task that has ended is there to be read, as in XenServer."""
FORGOTTEN = timedelta(hours=24)
"""After which a pending task is given up, as in XenServer."""
ENDED = ("success", "failure", "cancelled")


@message("task", TaskRef)
def create(call: Call, label: str, description: str) -> Outcome:
    work = Work(call)
    task = work.put(new_task(call, label, description))
    return work.outcome(work.update(task, allowed_operations=("cancel", "destroy")).ref)


@message("task")
def destroy(call: Call, self: TaskRef) -> Outcome:
    """The task of an operation under way goes when that ends, as in XenServer."""
    work = Work(call)
    task = call.state.get(Task, self)
    under_way = call.state.where(Operation, "task", self)
    for operation in under_way:
        work.update(operation, keep_task=False)
    if not under_way:
        work.delete(task)
    return work.outcome()


@message("task")
def cancel(call: Call, task: TaskRef) -> Outcome:
    """A client's own task, or a migration's before its switch-over, which is then taken back. Raises OPERATION_NOT_ALLOWED for other
    operations': they do not run long enough to be stopped half-way."""
    record = call.state.get(Task, task)
    if "cancel" not in record.allowed_operations:
        raise not_allowed("this task cannot be cancelled")
    operation = next(iter(call.state.where(Operation, "task", task)), None)
    if operation is None:
        return _end(call, task, "cancelled")
    change, ended = give_up(call, operation.ref, Failure("TASK_CANCELLED", task))
    return Outcome(change, ended=tuple(ended))


@message("task")
def set_status(call: Call, self: TaskRef, value: TaskStatus) -> Outcome:
    return _end(call, self, value) if value in ENDED else _set(call, self, status=value)


@message("task")
def set_progress(call: Call, self: TaskRef, value: float) -> Outcome:
    return _set(call, self, progress=value)


@message("task")
def set_result(call: Call, self: TaskRef, value: str) -> Outcome:
    return _set(call, self, result=value)


@message("task")
def set_error_info(call: Call, self: TaskRef, value: StrSet) -> Outcome:
    return _set(call, self, error_info=value)


def sweep(call: Call) -> Outcome:
    """Tasks whose clients never came back: those that ended long ago go, those that clients began and left have failed."""
    work = Work(call)
    for task in call.state.all(Task):
        if call.state.where(Operation, "task", task.ref):
            continue
        if task.status not in ("pending", "cancelling"):
            if call.now - task.finished > KEPT:
                work.delete(task)
        elif call.now - task.created > FORGOTTEN:
            work.update(task, status="failure", error_info=("TASK_CANCELLED", task.ref), finished=call.now, allowed_operations=("destroy",))
    return work.outcome()


def _end(call: Call, self: TaskRef, status: TaskStatus) -> Outcome:
    return _set(call, self, status=status, finished=call.now, allowed_operations=("destroy",))


def _set(call: Call, self: TaskRef, **fields: object) -> Outcome:
    work = Work(call)
    work.update(call.state.get(Task, self), **fields)
    return work.outcome()
