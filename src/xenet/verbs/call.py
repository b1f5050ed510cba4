"""A Call and its Outcome, and Work: the draft in which a verb puts together what shall happen."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from xenet.model.change import Change, Draft
from xenet.model.errors import Failure
from xenet.model.hidden import Edit, Mercy, Operation, Phase
from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.task import EPOCH, Task
from xenet.model.types import EMPTY, NULL, Record, Ref
from xenet.verbs.allowed import check_unheld
from xenet.verbs.settle import settle

PATIENCE = timedelta(seconds=60)
"""How long hosts may take before an operation is given up and undone."""


class Entropy:
    """Randomness as a parameter: all that a call draws follows from its seed. The seed may be a function, called when it is first
    needed: most calls only read."""

    def __init__(self, seed: bytes | Callable[[], bytes]) -> None:
        self._source = seed
        self._seed = b""
        self._drawn = 0

    def bytes(self, count: int) -> bytes:
        """Up to 32 bytes that no other draw gives."""
        if not self._drawn:
            self._seed = self._source() if callable(self._source) else self._source
        self._drawn += 1
        return hashlib.sha256(self._seed + self._drawn.to_bytes(8, "big")).digest()[:count]

    def uuid(self) -> str:
        """A version 4 uuid (RFC 9562)."""
        raw = bytearray(self.bytes(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Call(msgspec.Struct, frozen=True):
    """A message as a verb sees it. `internal` marks what the pool asks of itself, which may do more."""

    state: PoolState
    message: str
    now: datetime
    entropy: Entropy
    asynchronous: bool = False
    internal: bool = False


class Ended(msgspec.Struct, frozen=True):
    """An operation that is over; `failure` is None when it succeeded."""

    operation: Ref
    failure: Failure | None


class Outcome(msgspec.Struct, frozen=True):
    """What a verb decided: the change to commit, the call's result, the operation that waits for hosts, if any, and those that it ends."""

    change: Change
    result: Any = ""
    operation: Ref | None = None
    ended: tuple[Ended, ...] = ()


class Further(msgspec.Struct, frozen=True):
    """A phase in the words of a verb: `change` drafts what its hosts then must do."""

    hosts: tuple[Ref, ...]
    change: Callable[[Draft], None]
    mercy: Mercy = "undo"
    back: tuple["Further", ...] = ()
    """The phases by which its failure is taken back."""
    heeds: tuple[Ref, ...] = ()
    """Hosts that are not waited for, but whose failure counts."""
    longer: float = 0.0
    """Seconds beside PATIENCE."""
    answers: bool = False
    """The call is answered when this begins; the operation goes on."""


class Question(msgspec.Struct, frozen=True):
    """A message that only hosts can answer: each of `hosts` is asked, `answer` makes the result of what they said."""

    hosts: tuple[Ref, ...]
    topic: str
    subject: str
    answer: Callable[[dict[Ref, list[dict[str, str]]]], Any]


class Destination(msgspec.Struct, frozen=True):
    """Where another pool is asked: what its host.migrate_receive said."""

    url: str
    host: Ref
    session: str
    """A secret, of that pool's."""


class Errand(msgspec.Struct, frozen=True):
    """A message to which another pool must agree: it is asked `method` with these parameters. Where `hold` is given, that is committed before, and
    its operation ends well with the other pool's result; then the other pool hears VM.received."""

    to: Destination
    method: str
    params: tuple[Any, ...]
    hold: Outcome | None = None
    live: bool = False
    """The VM runs: the other pool's answer is where its guest is awaited, and `hold` goes on with that (server/crossing.py)."""


class Work(Draft):
    """A verb's draft: at the end comes `outcome`, or `await_host` where a host must act."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.state)
        self.call = call
        self._needs: dict[Ref, None] = {}
        self._keeps: dict[Ref, None] = {}

    def need(self, record: Record) -> None:
        """The operation fails when this record fails; what was wanted of it stays wanted all the same, as others may count on it."""
        self._needs[record.ref] = None

    def keep(self, network: Network) -> None:
        """A failure brings this network back into use, so it counts as in use until the operation ends."""
        self._keeps[network.ref] = None

    def leave(self, network: Network) -> None:
        """A PIF goes off this network: what the host says of the network's switch is the operation's, and a failure brings it back into use."""
        self.need(network)
        self.keep(network)

    def outcome(self, result: Any = "") -> Outcome:
        """All is done with the commit itself."""
        settle(self)
        return Outcome(self.change(), result)

    def await_host(self, host: Ref, doing: Sequence[tuple[Record, str]], done: Callable[[Draft], None], result: Any = "") -> Outcome:
        """One host must act; see `await_hosts`."""
        return self.await_hosts([host], doing, done, result)

    def await_hosts(
        self,
        hosts: Sequence[Ref],
        doing: Sequence[tuple[Record, str]],
        done: Callable[[Draft], None],
        result: Any = "",
        then: Sequence[Further] = (),
        cancellable: bool = False,
        mercy: Mercy = "undo",
        abroad: Mapping[str, str] = EMPTY,
    ) -> Outcome:
        """These hosts must act, all of them, and after them those of the phases in `then`, one after the other. `doing` names the records
        that are locked meanwhile, each with the operation that their current_operations show; `done` drafts what success adds. Failure
        takes everything back, if `mercy` says nothing else of the first phase; so does, where it is cancellable, a task.cancel before the second.

        Raises OTHER_OPERATION_IN_PROGRESS for a record that another operation holds: a VM that shall halt while one of its VIFs is plugged.
        """
        task = self._lock(doing, cancellable)
        settle(self)
        wanted, last = self.change(), self.fork()
        phases = self._phases(last, then)
        operation = Operation(
            uuid=self.call.entropy.uuid(),
            objects=tuple(record.ref for record, _ in doing),
            needs=tuple(self._needs),
            keeps=tuple(self._keeps),
            verb=self.call.message,
            task=task.ref,
            waiting=tuple(hosts),
            since=self.base.revision + 1,
            done=self._done(last.state, [record for record, _ in doing], done).edits,
            undo=self._undo(wanted),
            mercy=mercy,
            then=phases,
            abroad=abroad,
            deadline=self.call.now + PATIENCE,
            result=xml_result(result),
            keep_task=self.call.asynchronous,
        )
        self.put(task)
        self.put(operation)
        return Outcome(self.change(), result, operation.ref)

    def _lock(self, doing: Sequence[tuple[Record, str]], cancellable: bool) -> Task:
        """The task that holds these records from now on."""
        for record, _ in doing:
            check_unheld(self.base, record)
        task = msgspec.structs.replace(self._task(), allowed_operations=("cancel", "destroy") if cancellable else ("destroy",))
        for record, name in doing:
            self._mark(record, {task.ref: name})
        return task

    def _undo(self, change: Change) -> tuple[Edit, ...]:
        return tuple(edit for edit in change.inverse().edits if edit.ref not in self._needs)

    def _phases(self, draft: Draft, further: Iterable[Further]) -> tuple[Phase, ...]:
        """The draft goes on through all of them."""
        phases = []
        for phase in further:
            before = draft.state
            phase.change(draft)
            back = self._phases(draft.fork(), phase.back)
            enter, undo = draft.change_since(before).edits, self._undo(draft.change())
            phases.append(Phase(phase.hosts, enter, phase.mercy, undo, back, phase.heeds, phase.longer, phase.answers))
        return tuple(phases)

    def _mark(self, record: Record, operations: dict[Ref, str]) -> None:
        if "current_operations" in record.__struct_fields__:
            self.update(record, current_operations=operations)

    def _done(self, last: PoolState, doing: Iterable[Record], done: Callable[[Draft], None]) -> Change:
        after = Draft(last)
        done(after)
        for record in doing:
            current = after.state.find(type(record), record.ref)
            if current is not None and "current_operations" in record.__struct_fields__:
                after.update(record, current_operations={})
        settle(after)
        return after.change()

    def _task(self) -> Task:
        return new_task(self.call, f"Async.{self.call.message}" if self.call.asynchronous else self.call.message)


def new_task(call: Call, label: str, description: str = "") -> Task:
    """A pending task."""
    pool = next(iter(call.state.tables.get("pool", {}).values()), None)
    return Task(
        uuid=call.entropy.uuid(),
        name_label=label,
        name_description=description,
        allowed_operations=("destroy",),
        created=call.now,
        finished=EPOCH,
        status="pending",
        resident_on=getattr(pool, "master", NULL),
        progress=0.0,
        type="<none/>",
        result="",
        error_info=(),
    )


def xml_result(value: Any) -> str:
    """A result as task.result shows it, on every wire: XML text."""
    if isinstance(value, tuple):
        return f"<value><array><data>{''.join(map(xml_result, value))}</data></array></value>"
    if isinstance(value, dict):
        members = (f"<member><name>{name}</name>{xml_result(part)}</member>" for name, part in value.items())
        return f"<value><struct>{''.join(members)}</struct></value>"
    return f"<value>{value}</value>" if value != "" else ""
