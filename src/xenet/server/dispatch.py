"""From a method name and loose values to a message, its typed arguments and its result: XenServer's checks, in XenServer's order."""

from typing import Any

from xenet.model.declare import APIType
from xenet.model.errors import Failure
from xenet.server.builtin import BUILTIN, WITHOUT_SESSION, Context, Published, list_methods
from xenet.server.calls import Unknown, logged
from xenet.server.core import Core
from xenet.server.events import Events
from xenet.server.http import Origin
from xenet.server.load import MAKES_TASK
from xenet.server.sessions import Sessions
from xenet.verbs.catalogue import MESSAGES
from xenet.verbs.registry import Message
from xenet.verbs.subject import check_permission
from xenet.wire import values
from xenet.wire.xmlrpc import Fault

ALIVE = "system.isAlive:"
STRING = APIType("string")


class Dispatcher:
    """Answers calls; one for all listeners."""

    def __init__(self, core: Core, sessions: Sessions, events: Events, *, log_calls: bool = False) -> None:
        self.core = core
        self.sessions = sessions
        self.events = events
        self.unknown = Unknown()
        self.published: Published | None = None
        self._logs = log_calls

    async def __call__(self, method: str, params: list[Any], origin: Origin) -> Any:
        """The result as a plain value. Raises Failure."""
        work = self._answer(method, params, origin)
        return await (logged(work, method, origin) if self._logs else work)

    async def _answer(self, method: str, params: list[Any], origin: Origin) -> Any:
        if method == "system.listMethods":
            return list_methods()
        if method.startswith(ALIVE):
            return True
        message, asynchronous = self._find(method)
        session, given = self._session_of(message, method, params)
        if not session:
            return await self._run(message, given, session, origin)
        load = self.sessions.load_of(session)
        with load.call(message):
            if not asynchronous and message.full_name != MAKES_TASK:
                return await self._run(message, given, session, origin)
            with load.task(self.core.store.snapshot()) as made:
                task = await self._run(message, given, session, origin, asynchronous=asynchronous)
                made(task)
                return task

    async def _run(self, message: Message, given: list[Any], session: str, origin: Origin, *, asynchronous: bool = False) -> Any:
        args = decode_args(message, given)
        self._check_role(session, message, args)
        if message.full_name in BUILTIN:
            context = self._context(session, origin)
            if asynchronous:
                return await self.core.as_task(message, message.run(context, *args))
            result = await message.run(context, *args)
            return "" if result is None else result
        if asynchronous:
            return await self.core.run_as_task(message, args)
        return await self.core.run(message, args)

    def _context(self, session: str, origin: Origin) -> Context:
        return Context(self.core.store, self.sessions, self.events, self.unknown, session, origin.local, origin.address, self.published)

    def _check_role(self, ref: str, message: Message, args: list[Any]) -> None:
        """Root may do everything, others what their roles allow now. Raises RBAC_PERMISSION_DENIED [permission, text]."""
        session = self.sessions.find(ref)
        if session is not None and not session.is_local_superuser:
            own_task = message.cls == "task" and bool(args) and self.sessions.load_of(ref).has_made(args[0])
            check_permission(self.core.store.snapshot(), session.subject, message, own=own_task)

    def _find(self, method: str) -> tuple[Message, bool]:
        try:
            return find(method)
        except Failure:
            self.unknown.note(method, self.core.now())
            raise

    def _session_of(self, message: Message, method: str, params: list[Any]) -> tuple[str, list[Any]]:
        """The live session's reference and the other parameters. Raises MESSAGE_PARAMETER_COUNT_MISMATCH [method, expected, received],
        SESSION_INVALID [session]."""
        leading = 0 if message.full_name in WITHOUT_SESSION else 1
        given = len(params) - leading
        if not message.required <= given <= len(message.params):
            raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", method, str(message.required), str(max(given, 0)))
        if not leading:
            return "", params
        session = values.decode(STRING, params[0], "session_id")
        self.sessions.check(session)
        return session, params[1:]


def find(method: str) -> tuple[Message, bool]:
    """The message by its name, `class.message` or `class_message`, and whether it is asked for as a task. Raises MESSAGE_METHOD_UNKNOWN,
    and Fault for a task where the message has no such form, as XenServer does."""
    asynchronous = method.startswith("Async.")
    name = method.removeprefix("Async.")
    message = MESSAGES.get(name) or BUILTIN.get(name) or _UNDERSCORED.get(name)
    if message is None:
        raise Failure("MESSAGE_METHOD_UNKNOWN", method)
    if asynchronous and not message.asynchronous:
        raise Fault(1, f"{message.full_name} has no asynchronous form")
    return message, asynchronous


_UNDERSCORED = {f"{m.cls}_{m.name}": m for m in (*MESSAGES.values(), *BUILTIN.values())}


def decode_args(message: Message, given: list[Any]) -> list[Any]:
    """Typed arguments, defaults filled in. Raises FIELD_TYPE_ERROR, INVALID_VALUE."""
    args = [values.decode(param.type, value, param.name) for param, value in zip(message.params, given, strict=False)]
    if len(args) < len(message.params):
        args += [param.default for param in message.params[len(args) :]]
    return args
