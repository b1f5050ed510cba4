"""How much one session may have going on at once: calls that wait for their answer, and tasks that have not ended. What is beyond is refused with
XenServer's TOO_MANY_PENDING_TASKS before anything is done, so that a client run wild leaves connections and memory to the others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from xenet.model.errors import Failure
from xenet.model.state import PoolState
from xenet.model.task import Task
from xenet.model.types import Ref
from xenet.verbs.registry import Message
from xenet.verbs.task import ENDED

CALLS = 2000
"""Calls of a session at once: a quarter of the connections that there may be."""
TASKS = 1000
"""Tasks of a session that have not ended."""
KNOWN = 10_000
"""Tasks that a session is known to have made, ended ones among them; the oldest is forgotten for the next."""
ALWAYS = frozenset({"session.logout", "session.local_logout"})
"""The way out is open to who has used up the rest."""
MAKES_TASK = "task.create"


class Limits(msgspec.Struct, frozen=True):
    """What a session may have at once."""

    calls: int = CALLS
    tasks: int = TASKS


LIMITS = Limits()


class Load:
    """What one session has going on."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._calls = 0
        self._starting = 0
        self._tasks: set[str] = set()
        self._made: dict[str, None] = {}

    @contextmanager
    def call(self, message: Message) -> Iterator[None]:
        """The block is a call. Raises TOO_MANY_PENDING_TASKS."""
        if self._calls >= self._limits.calls and message.full_name not in ALWAYS:
            raise too_many()
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    @contextmanager
    def task(self, state: PoolState) -> Iterator[Callable[[str], None]]:
        """The block makes a task, and says its reference by what it is given. Raises TOO_MANY_PENDING_TASKS."""
        if len(self._tasks) + self._starting >= self._limits.tasks:
            self._tasks.difference_update([ref for ref in self._tasks if not _is_pending(state, ref)])
        if len(self._tasks) + self._starting >= self._limits.tasks:
            raise too_many()
        self._starting += 1
        try:
            yield self._note
        finally:
            self._starting -= 1

    def _note(self, task: str) -> None:
        self._tasks.add(task)
        self._made[task] = None
        if len(self._made) > KNOWN:
            del self._made[next(iter(self._made))]

    def has_made(self, task: str) -> bool:
        return task in self._made


def too_many() -> Failure:
    return Failure("TOO_MANY_PENDING_TASKS")


def _is_pending(state: PoolState, ref: str) -> bool:
    task = state.find(Task, Ref(ref))
    return task is not None and task.status not in ENDED
