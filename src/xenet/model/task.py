"""task, session and event: the classes of a conversation. None of them outlives the server process, as in XenServer."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

from xenet.model.types import (
    EMPTY,
    NULL,
    RO,
    RW,
    BackRef,
    EnumName,
    HostRef,
    Init,
    Record,
    SessionRef,
    StrMap,
    StrSet,
    SubjectRef,
    TaskRef,
    UserRef,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TaskOperation = Annotated[Literal["cancel", "destroy"], EnumName("task_allowed_operations")]
TaskStatus = Annotated[Literal["pending", "success", "failure", "cancelling", "cancelled"], EnumName("task_status_type")]


class Task(Record, frozen=True, kw_only=True):
    """A call that takes its time. progress runs from 0 to 1; finished is the epoch while the task is pending."""

    xenapi = "task"
    persistent = False

    name_label: RO[str] = ""
    name_description: RO[str] = ""
    allowed_operations: RO[tuple[TaskOperation, ...]] = ()
    current_operations: RO[Mapping[str, TaskOperation]] = EMPTY
    created: RO[datetime]
    finished: RO[datetime]
    status: RO[TaskStatus]
    resident_on: RO[HostRef]
    progress: RO[float]
    type: RO[str]
    result: RO[str]
    error_info: RO[StrSet]
    other_config: RO[StrMap] = EMPTY
    subtask_of: RO[TaskRef] = NULL
    subtasks: ClassVar[BackRef] = BackRef("task", "subtask_of")
    backtrace: RO[str] = "()"


class Session(Record, frozen=True, kw_only=True):
    """A login. Its reference is a secret, so the server keeps sessions apart from the pool's state."""

    xenapi = "session"
    persistent = False

    this_host: RO[HostRef]
    this_user: RO[UserRef]
    last_active: RO[datetime]
    pool: RO[bool]
    other_config: RW[StrMap] = EMPTY
    is_local_superuser: RO[bool] = False
    subject: RO[SubjectRef] = NULL
    validation_time: RO[datetime] = EPOCH
    auth_user_sid: RO[str] = ""
    auth_user_name: RO[str] = ""
    rbac_permissions: Init[StrSet] = ()
    tasks: RO[tuple[TaskRef, ...]] = ()
    parent: Init[SessionRef] = NULL
    originator: RO[str] = ""
    client_certificate: RO[bool] = False
