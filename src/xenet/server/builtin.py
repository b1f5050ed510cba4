"""The messages that are the server's own: sessions and events, and what messages there are.

Their functions take a Context in place of a verb's Call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from xenet.model.declare import APIType, public_fields
from xenet.model.errors import Failure
from xenet.model.subject import Subject
from xenet.model.task import Session
from xenet.model.types import HostRef, NetworkRef, Ref, SessionRef, StrMap, StrSet, SubjectRef
from xenet.server import passwords
from xenet.server.calls import Unknown
from xenet.server.events import Events, heartbeat, revision_of, subscription, token_of
from xenet.server.sessions import Registered, Sessions, digest
from xenet.store.base import Store
from xenet.verbs.catalogue import MESSAGES
from xenet.verbs.migrate import master_address, receiving_address
from xenet.verbs.registry import VOID, Message, Param, params_of

Handler = Callable[..., Awaitable[Any]]
BUILTIN: dict[str, Message] = {}
WITHOUT_SESSION = frozenset({"session.login_with_password", "session.slave_local_login_with_password", "VM.arrival"})
HEARTBEAT = 30.0
"""Seconds that event.next waits for news before the pool's record goes to whoever listens to it: that they are not cut off."""


class Published(msgspec.Struct, frozen=True):
    """How this pool's API is reached: at `host`, or where that is empty at the master's management address."""

    scheme: str
    host: str
    port: int

    def url(self, address: str) -> str:
        host = self.host or address
        return f"{self.scheme}://[{host}]:{self.port}/" if ":" in host else f"{self.scheme}://{host}:{self.port}/"


class Context(msgspec.Struct, frozen=True):
    """What the server's own messages work with."""

    store: Store
    sessions: Sessions
    events: Events
    unknown: Unknown
    session: str
    """The caller's session reference; empty at login."""
    local: bool
    """The caller came through the local socket: root is trusted."""
    address: str = ""
    """The caller's, where it is another one."""
    published: Published | None = None
    """Where other pools find this one."""


def builtin(cls: str, result: APIType = VOID, *, name: str = "", ours: bool = False) -> Callable[[Handler], Handler]:
    """Make a message of the server's own."""

    def enter(function: Handler) -> Handler:
        entry = Message(cls, name or function.__name__.removesuffix("_"), params_of(function), result, function, ours=ours)
        BUILTIN[entry.full_name] = entry
        return function

    return enter


STRING = APIType("string")
STRINGS = APIType("set", of=STRING)
SESSION = APIType("ref", name="session")


@builtin("session", SESSION)
async def login_with_password(context: Context, uname: str, pwd: str, version: str = "1.0", originator: str = "") -> Ref:
    """Raises SESSION_AUTHENTICATION_FAILED [user, text], after a delay. Root needs no password on the local socket."""
    trusted = context.local and uname in ("", passwords.ROOT) and pwd == ""
    return await context.sessions.login(uname, pwd, originator, context.address, trusted=trusted)


@builtin("session", SESSION)
async def slave_local_login_with_password(context: Context, uname: str, pwd: str) -> Ref:
    """For calls to this host itself; root is trusted on the local socket as above."""
    session: Ref = await login_with_password(context, uname, pwd)
    return session


@builtin("session")
async def logout(context: Context) -> None:
    context.sessions.logout(context.session)


@builtin("session")
async def local_logout(context: Context) -> None:
    context.sessions.logout(context.session)


@builtin("session")
async def change_password(context: Context, old_pwd: str, new_pwd: str) -> None:
    """Root on the local socket may leave out the old one. Raises SESSION_AUTHENTICATION_FAILED [user, text]."""
    session = context.sessions.peek(context.session)
    user = session.auth_user_sid or session.auth_user_name
    trusted = context.local and old_pwd == ""
    if not trusted and not await asyncio.to_thread(passwords.verify, context.store, user, old_pwd):
        raise await context.sessions.refusal(user, "Authentication failure")
    passwords.put(context.store, user, new_pwd)


@builtin("host", APIType("map", key=STRING, of=STRING))
async def migrate_receive(context: Context, host: HostRef, network: NetworkRef, options: StrMap) -> dict[str, str]:
    """What VM.migrate_send wants to be told of the host: it is reached by the caller's own session. Raises HOST_CANNOT_ATTACH_NETWORK
    [host, network], PIF_HAS_NO_NETWORK_CONFIGURATION [pif], INTERFACE_HAS_NO_IP [pif]."""
    address = receiving_address(context.store.snapshot(), host, network)
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    services = {name: f"{url}services/{name}?session_id={context.session}" for name in ("SM", "xenops")}
    master = context.published.url(master_address(context.store.snapshot())) if context.published else url
    return {"host": host, "session_id": context.session, "master": master, **services}


@builtin("session", STRINGS)
async def get_all_subject_identifiers(context: Context) -> list[str]:
    """The users beside root who are logged in."""
    return context.sessions.subject_identifiers()


@builtin("session")
async def logout_subject_identifier(context: Context, subject_identifier: str) -> None:
    """End all sessions of a user."""
    context.sessions.logout_subject(subject_identifier)


@builtin("session")
async def set_other_config(context: Context, self: SessionRef, value: StrMap) -> None:
    context.sessions.update(self, other_config=value)


@builtin("session")
async def add_to_other_config(context: Context, self: SessionRef, key: str, value: str) -> None:
    current = context.sessions.peek(self).other_config
    if key in current:
        raise Failure("MAP_DUPLICATE_KEY", "session", "other_config", self, key)
    context.sessions.update(self, other_config={**current, key: value})


@builtin("session")
async def remove_from_other_config(context: Context, self: SessionRef, key: str) -> None:
    current = context.sessions.peek(self).other_config
    context.sessions.update(self, other_config={k: v for k, v in current.items() if k != key})


@builtin("session", APIType("record", name="session"))
async def get_record(context: Context, self: SessionRef) -> dict[str, Any]:
    session = context.sessions.peek(self)
    return {name: getattr(session, name) for name in public_fields(Session)}


@builtin("session", SESSION)
async def get_by_uuid(context: Context, uuid: str) -> Ref:
    """Only one's own: a reference is a secret. Raises UUID_INVALID."""
    if context.sessions.peek(context.session).uuid != uuid:
        raise Failure("UUID_INVALID", "session", uuid)
    return Ref(context.session)


def _register_getters() -> None:
    for name, field in public_fields(Session).items():
        BUILTIN[f"session.get_{name}"] = Message("session", f"get_{name}", (Param("self", SESSION),), field.type, _getter(name), implicit=True)


def _getter(name: str) -> Handler:
    async def get(context: Context, self: Ref) -> Any:
        return getattr(context.sessions.peek(self), name)

    return get


_register_getters()


@builtin("event", APIType("any"), name="from")
async def from_(context: Context, classes: StrSet, token: str, timeout: float) -> dict[str, Any]:
    """Events since the token, at the latest after `timeout` seconds; an empty token stands for the beginning of all.
    Raises SESSION_INVALID [session] when the session ends meanwhile."""
    batch = await context.events.since(subscription(classes), token, timeout, context.sessions.end_of(context.session))
    if batch is None:
        raise Failure("SESSION_INVALID", context.session)
    return batch


@builtin("event", STRING)
async def inject(context: Context, class_: str, ref: str) -> str:
    return context.events.inject(class_, Ref(ref))


@builtin("event", APIType("int"))
async def get_current_id(context: Context) -> int:
    return context.store.snapshot().revision


@builtin("event")
async def register(context: Context, classes: StrSet) -> None:
    subscription(classes)
    known = context.sessions.registered.get(digest(context.session))
    since = known.token if known else token_of(context.store.snapshot().revision)
    names = (*(known.classes if known else ()), *classes)
    context.sessions.registered[digest(context.session)] = Registered(tuple(dict.fromkeys(names)), since)


@builtin("event")
async def unregister(context: Context, classes: StrSet) -> None:
    known = _registered(context)
    gone = {name.lower() for name in classes}
    left = tuple(name for name in known.classes if name.lower() not in gone)
    context.sessions.registered[digest(context.session)] = Registered(left, known.token)


@builtin("event", APIType("set", of=APIType("record", name="event")), name="next")
async def next_(context: Context) -> list[dict[str, Any]]:
    """Blocks until something happens; a listener to the pool hears of it as modified now and then, though nothing has. A timestamp is a Unix
    time in seconds.

    Raises SESSION_NOT_REGISTERED [session], EVENTS_LOST when the log no longer reaches back.
    """
    while True:
        known = _registered(context)
        if context.store.log_since(revision_of(known.token)) is None:
            context.sessions.registered[digest(context.session)] = Registered(known.classes, token_of(context.store.snapshot().revision))
            raise Failure("EVENTS_LOST")
        batch = await from_(context, known.classes, known.token, HEARTBEAT)
        context.sessions.registered[digest(context.session)] = Registered(known.classes, batch["token"])
        if told := batch["events"] or heartbeat(subscription(known.classes), context.store.snapshot()):
            timestamp = str(context.sessions.now().timestamp())
            return [{**event, "timestamp": timestamp} for event in told]


def _registered(context: Context) -> Registered:
    known = context.sessions.registered.get(digest(context.session))
    if known is None or not known.classes:
        raise Failure("SESSION_NOT_REGISTERED", context.session)
    return known


def list_methods() -> list[str]:
    """The names of all messages, with `Async.` where they have such a form."""
    shown = [m for m in (*MESSAGES.values(), *BUILTIN.values()) if not m.hidden]
    names = [m.full_name for m in shown]
    return sorted([*names, *(f"Async.{m.full_name}" for m in shown if m.asynchronous), "system.listMethods"])


@builtin("host", STRINGS, name="list_methods")
async def host_list_methods(context: Context) -> list[str]:
    return list_methods()


@builtin("subject", ours=True)
async def set_password(context: Context, self: SubjectRef, password: str) -> None:
    """Raises HANDLE_INVALID, INVALID_VALUE for an empty one."""
    subject = context.store.snapshot().get(Subject, Ref(self))
    if not password:
        raise Failure("INVALID_VALUE", "password", "")
    passwords.put(context.store, subject.subject_identifier, password)


@builtin("Diagnostics", APIType("set", of=APIType("map", key=STRING, of=STRING)), ours=True)
async def get_unimplemented_calls(context: Context) -> list[dict[str, str]]:
    """The messages that clients asked for since the start and that are not there: how often, when first and last, and why."""
    return context.unknown.rows()
