"""The core runs messages: a verb decides on the present state, the store commits, hosts are awaited, the result goes back."""

import asyncio
import hashlib
import itertools
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

from xenet.model.change import Change
from xenet.model.errors import Failure
from xenet.model.hidden import Operation
from xenet.model.types import Ref
from xenet.server.abroad import AskAbroad, ask_abroad, tell_abroad
from xenet.server.crossing import carry_live, take_up
from xenet.store.base import Store
from xenet.verbs.call import PATIENCE, Call, Ended, Entropy, Errand, Outcome, Question, Work, new_task
from xenet.verbs.host import all_gone
from xenet.verbs.operation import fulfil, give_up, timeout_failure
from xenet.verbs.registry import Message
from xenet.verbs.report import News, take_report
from xenet.verbs.subject import ensure_roles
from xenet.verbs.task import sweep
from xenet.wire import xmlrpc

log = logging.getLogger("xenet.server")


Chance = Callable[[], bytes]


def chance() -> bytes:
    """What makes uuids and MACs that nobody can foretell."""
    return os.urandom(32)


def foretold(seed: str, revision: int) -> Chance:
    """The same names at every start that begins at this revision; after a later one others, so that none is ever given twice."""
    drawn = itertools.count()
    return lambda: hashlib.sha256(f"{seed} {revision} {next(drawn)}".encode()).digest()


class Core:
    """The pool's state and the calls in flight. All of it runs in one event loop."""

    def __init__(self, store: Store, ask: Callable[[Question], Any], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.store = store
        self.chance: Chance = chance
        self.now = now
        self._ask = ask
        self._waiting: dict[Ref, asyncio.Future[None]] = {}
        self.ask_abroad: AskAbroad = ask_abroad
        self._errands: set[asyncio.Task[Any]] = set()

    def call(self, message: str, *, asynchronous: bool = False, internal: bool = False) -> Call:
        return Call(self.store.snapshot(), message, self.now(), Entropy(self.chance), asynchronous, internal)

    def start(self) -> None:
        """After a start no host is there yet, and operations that a crash left over get time again, where they have not more; those for which
        this server was to ask another pool are taken back, or taken up where a VM has set out."""
        self.store.commit(all_gone(self.call("start")).change)
        self.store.commit(ensure_roles(self.call("start")).change)
        work = Work(self.call("start"))
        for operation in work.state.all(Operation):
            work.update(operation, deadline=max(operation.deadline, self.now() + PATIENCE))
        self.store.commit(work.change())
        for operation in [known for known in self.store.snapshot().all(Operation) if known.abroad]:
            take_up(self, operation)
        for operation in [known for known in self.store.snapshot().all(Operation) if not known.waiting and not known.abroad]:
            self.commit_end(*give_up(self.call("start"), operation.ref, Failure("CANNOT_CONTACT_HOST")))

    # --- running a message -------------------------------------------------------------------------

    async def run(self, message: Message, args: list[Any], *, internal: bool = False) -> Any:
        """The message's result. Raises Failure; then nothing has changed."""
        await self._learn(message, args)
        result = message.run(self.call(message.full_name, internal=internal), *args)
        if isinstance(result, Question):
            return await self._ask(result)
        if isinstance(result, Errand):
            return await self._run_errand(result)
        if not isinstance(result, Outcome):
            return result if result is not None else ""
        self.commit_end(result.change, result.ended)
        if result.operation is not None:
            await self.settled(result.operation)
        return result.result

    async def _learn(self, message: Message, args: list[Any]) -> None:
        """Have the facts of hosts brought up to date where the verb decides by them. Raises HANDLE_INVALID, HOST_OFFLINE [host]."""
        if message.needs_facts:
            hosts = tuple(message.needs_facts(self.store.snapshot(), *args))
            await self._ask(Question(hosts, "facts", "", lambda said: None))

    async def run_as_task(self, message: Message, args: list[Any]) -> Ref:
        """`Async.`: the task's reference, at once; how it went stands in the task."""
        try:
            await self._learn(message, args)
            result = message.run(self.call(message.full_name, asynchronous=True), *args)
            if isinstance(result, Question):
                result = await self._ask(result)
            if isinstance(result, Errand) and result.hold is None:
                result = await self._run_errand(result)
        except Failure as failure:
            return self._finished_task(message, Change(), failure=failure)
        if isinstance(result, Errand):
            return self._begin_errand(result)
        if isinstance(result, Outcome) and result.operation is not None:
            state = self.store.commit(result.change)
            return state.get(Operation, result.operation).task
        if isinstance(result, Outcome):
            return self._finished_task(message, result.change, value=result.result)
        return self._finished_task(message, Change(), value=result)

    async def _run_errand(self, errand: Errand) -> Any:
        """What the other pool says. Raises its Failure; then nothing has changed here, nor there but for what the next attempt takes away."""
        if errand.hold is None:
            return await self.ask_abroad(errand.to, errand.method, *errand.params)
        self.store.commit(errand.hold.change)
        return await self._carry(errand, errand.hold)

    def _begin_errand(self, errand: Errand) -> Ref:
        """The task of an errand that goes on by itself."""
        assert errand.hold is not None
        assert errand.hold.operation is not None
        state = self.store.commit(errand.hold.change)
        self.go_on(self._carry(errand, errand.hold))
        return state.get(Operation, errand.hold.operation).task

    def go_on(self, work: Coroutine[Any, Any, Any]) -> None:
        """While others are answered; nobody hears its Failure."""
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _carry(self, errand: Errand, hold: Outcome) -> Any:
        if errand.live:
            return await carry_live(self, errand, hold)
        operation = hold.operation or Ref("")
        try:
            there = await self.ask_abroad(errand.to, errand.method, *errand.params)
        except Failure as failure:
            self.commit_end(*give_up(self.call("errand"), operation, failure))
            raise
        change, ended = fulfil(self.call("errand"), operation, there)
        if not ended:  # its time was over, and all was taken back
            await tell_abroad(self.ask_abroad, errand.to, "VM.destroy", there)
            raise Failure("CANNOT_CONTACT_HOST", errand.to.host)
        self.commit_end(change, ended)
        await tell_abroad(self.ask_abroad, errand.to, "VM.received", there)
        return there

    async def as_task(self, message: Message, work: Awaitable[Any]) -> Ref:
        """The task of what the server does itself, and at once."""
        try:
            return self._finished_task(message, Change(), value=await work)
        except Failure as failure:
            return self._finished_task(message, Change(), failure=failure)

    def _finished_task(self, message: Message, change: Change, value: Any = "", failure: Failure | None = None) -> Ref:
        work = Work(self.call(message.full_name))
        task = work.put(new_task(work.call, f"Async.{message.full_name}"))
        result = xmlrpc.encode_value(value) if value not in ("", None) else ""
        status = "failure" if failure else "success"
        error = tuple(failure.description) if failure else ()
        work.update(task, status=status, progress=1.0, finished=self.now(), result=result, error_info=error)
        self.store.commit(Change((*change.edits, *work.change().edits)))
        return task.ref

    async def settled(self, operation: Ref) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting[operation] = future
        try:
            await future
        finally:
            self._waiting.pop(operation, None)

    # --- what hosts say ----------------------------------------------------------------------------

    def reported(self, host: Ref, news: News) -> None:
        change, ended = take_report(self.call("report"), host, news)
        self.commit_end(change, ended)

    def host_left(self, host: Ref) -> None:
        """A dead agent: what it was to do is taken back."""
        for operation in list(self.store.snapshot().all(Operation)):
            if host in operation.waiting:
                self.commit_end(*give_up(self.call("host left"), operation.ref, Failure("CANNOT_CONTACT_HOST", host), host))

    def sweep(self) -> None:
        """Destroy tasks that nobody has come back for."""
        self.store.commit(sweep(self.call("sweep")).change)

    def expire(self) -> None:
        """Give up the operations whose time is over."""
        for operation in list(self.store.snapshot().all(Operation)):
            if operation.deadline <= self.now() and operation.mercy != "ever":
                call = self.call("time-out")
                self.commit_end(*give_up(call, operation.ref, timeout_failure(call, operation)))

    def commit_end(self, change: Change, ended: Sequence[Ended]) -> None:
        self.store.commit(change)
        for end in ended:
            future = self._waiting.get(end.operation)
            if future is None or future.done():
                continue
            if end.failure is None:
                future.set_result(None)
            else:
                future.set_exception(end.failure)
