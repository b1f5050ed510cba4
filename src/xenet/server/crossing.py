"""A running VM on its way to another pool: the server of the pool that it leaves asks the other one how it stands, until one of the two has it
for good (verbs/cross_out.py says what that means). A server that was killed goes on asking.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from xenet.model.change import Change
from xenet.model.errors import Failure
from xenet.model.hidden import Operation
from xenet.model.types import Ref
from xenet.server.abroad import AskAbroad, tell_abroad
from xenet.store.base import Store
from xenet.verbs.call import Call, Destination, Ended, Errand, Outcome
from xenet.verbs.cross_in import CALL_OFF, GONE, LET_GO, RUNS, TELL, heard_in
from xenet.verbs.operation import arrived_abroad, forget, forsake, give_up, set_out

PAUSES = (0.05, 2.0)
"""Seconds between two questions: at first, and at most."""


class Core(Protocol):
    """What a crossing needs of the core that runs it (server/core.py)."""

    store: Store
    ask_abroad: AskAbroad

    def call(self, message: str) -> Call: ...
    def commit_end(self, change: Change, ended: Sequence[Ended]) -> None: ...
    def go_on(self, work: Coroutine[Any, Any, Any]) -> None: ...
    async def settled(self, operation: Ref) -> None: ...


async def carry_live(core: Core, errand: Errand, hold: Outcome) -> Ref:
    """The VM's reference there. Raises Failure; then the VM is here."""
    reference = hold.operation or Ref("")
    operation = core.store.snapshot().get(Operation, reference)
    try:
        there = await core.ask_abroad(errand.to, errand.method, *errand.params)
    except Failure as failure:
        core.commit_end(*give_up(core.call("errand"), reference, failure))
        core.go_on(_say(core, operation, CALL_OFF))
        raise
    change = set_out(core.call("errand"), reference, there["way"])
    if change is None:
        core.go_on(_say(core, operation, CALL_OFF))
        raise Failure("CANNOT_CONTACT_HOST", errand.to.host)
    core.commit_end(change, ())
    core.go_on(follow(core, operation))
    await core.settled(reference)
    return operation.objects[0]


def take_up(core: Core, operation: Operation) -> None:
    """What a server that was killed had begun."""
    if operation.then:  # it had not set out
        core.commit_end(*give_up(core.call("errand"), operation.ref, Failure("CANNOT_CONTACT_HOST", operation.abroad["host"])))
        core.go_on(_say(core, operation, CALL_OFF))
    elif operation.objects:
        core.go_on(follow(core, operation))
    else:
        core.go_on(let_go(core, operation))


async def follow(core: Core, operation: Operation) -> None:
    """Until one of the pools has it: the VM has set out."""
    pause, said = PAUSES[0], ""
    while (now := core.store.snapshot().find(Operation, operation.ref)) is not None and now.objects:
        said = await _answer(core, operation, CALL_OFF if now.failure else TELL)
        if said.split(" ")[0] == RUNS:
            core.commit_end(*arrived_abroad(core.call("errand"), operation.ref, heard_in(said)))
        elif said == GONE:
            core.commit_end(*forsake(core.call("errand"), operation.ref, "it did not arrive"))
        else:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, PAUSES[1])
    if now is not None:
        await let_go(core, now)
    elif said != GONE:
        await _say(core, operation, CALL_OFF)


async def let_go(core: Core, operation: Operation) -> None:
    """The other pool hears that it has the VM for itself."""
    await _say(core, operation, LET_GO)
    core.commit_end(forget(core.call("errand"), operation.ref), ())


async def _answer(core: Core, operation: Operation, word: str) -> str:
    """Empty where there is none."""
    try:
        return str(await core.ask_abroad(_destination(operation), "VM.arrival", *_named(operation), word))
    except Failure:  # which stands in the log already
        return ""


async def _say(core: Core, operation: Operation, word: str) -> None:
    await tell_abroad(core.ask_abroad, _destination(operation), "VM.arrival", *_named(operation), word)


def _named(operation: Operation) -> tuple[Ref, str]:
    return Ref(operation.abroad.get("vm") or operation.objects[0]), operation.abroad["ticket"]


def _destination(operation: Operation) -> Destination:
    return Destination(operation.abroad["url"], Ref(operation.abroad["host"]), "")
