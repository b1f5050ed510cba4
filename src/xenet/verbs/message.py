"""message: alerts, raised by verbs through `alert` or by clients."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any

from xenet.model.change import Draft
from xenet.model.errors import Failure
from xenet.model.host import Host
from xenet.model.message import Message, MessageClass
from xenet.model.pool import Pool
from xenet.model.types import OfRecord, Record, Ref, To, ref_of
from xenet.model.vm import VM
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.generic import view
from xenet.verbs.registry import message

MessageRef = Annotated[Ref, To("message")]
MessageRecord = Annotated[dict[str, Any], OfRecord("message")]
MOST = 10_000
"""How many messages are kept, as in XenServer: the oldest goes for the next."""
SUBJECTS: dict[str, type[Record]] = {"VM": VM, "Host": Host, "Pool": Pool}
"""What a message can be about; of XenServer's other classes there are no objects here."""


def alert(draft: Draft, call: Call, name: str, priority: int, obj: Host | VM | Pool, body: str) -> Message:
    """Draft a message about `obj` in the change that tells of what happened, so both are committed or neither. An event on a PIF or bond
    is its host's, as in XenServer. `priority` is 1 (data may be lost) to 5 (for information)."""
    cls: MessageClass = "VM" if isinstance(obj, VM) else "Host" if isinstance(obj, Host) else "Pool"
    for oldest in _surplus(draft):
        draft.delete(oldest)
    raised = Message(uuid=call.entropy.uuid(), name=name, priority=priority, cls=cls, obj_uuid=obj.uuid, timestamp=call.now, body=body)
    draft.put(raised)
    return raised


def _surplus(draft: Draft) -> list[Message]:
    """The messages that must go so that one more fits."""
    surplus = draft.state.count(Message) + 1 - MOST
    return sorted(draft.state.all(Message), key=lambda m: (m.timestamp, m.uuid))[:surplus] if surplus > 0 else []


@message("message", MessageRef)
def create(call: Call, name: str, priority: int, cls: MessageClass, obj_uuid: str, body: str) -> Outcome:
    """A client's own alert. Raises UUID_INVALID [class, uuid] for an object that is not there."""
    subject = SUBJECTS.get(cls)
    found = call.state.find(subject, ref_of(obj_uuid)) if subject else None
    if not isinstance(found, Host | VM | Pool):
        raise Failure("UUID_INVALID", cls, obj_uuid)
    work = Work(call)
    return work.outcome(alert(work, call, name, priority, found, body).ref)


@message("message")
def destroy(call: Call, self: MessageRef) -> Outcome:
    return destroy_many(call, (self,))


@message("message")
def destroy_many(call: Call, messages: tuple[MessageRef, ...]) -> Outcome:
    """All or none. Raises HANDLE_INVALID [message, ref]."""
    work = Work(call)
    for found in [call.state.get(Message, ref) for ref in dict.fromkeys(messages)]:
        work.delete(found)
    return work.outcome()


@message("message", dict[MessageRef, MessageRecord])
def get(call: Call, cls: MessageClass, obj_uuid: str, since: datetime) -> dict[Ref, dict[str, Any]]:
    """One object's messages later than `since`."""
    return _records(call, (m for m in _later(call, since) if (m.cls, m.obj_uuid) == (cls, obj_uuid)))


@message("message", dict[MessageRef, MessageRecord])
def get_since(call: Call, since: datetime) -> dict[Ref, dict[str, Any]]:
    """The messages later than `since`."""
    return _records(call, _later(call, since))


def _later(call: Call, since: datetime) -> Iterator[Message]:
    return (m for m in call.state.all(Message) if m.timestamp > since)


def _records(call: Call, messages: Iterable[Message]) -> dict[Ref, dict[str, Any]]:
    return {m.ref: view(call.state, m) for m in messages}
