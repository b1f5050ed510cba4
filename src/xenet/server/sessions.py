"""Sessions: who is logged in. A session's reference is a secret of 128 random bits; only its hash is kept, and only in memory."""

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from xenet.model.errors import Failure
from xenet.model.pool import Pool
from xenet.model.subject import Subject
from xenet.model.task import Session
from xenet.model.types import NULL, Ref
from xenet.server import passwords
from xenet.server.guesses import Guesses
from xenet.server.load import LIMITS, Limits, Load
from xenet.store.base import Store
from xenet.verbs.subject import find_subject

IDLE = timedelta(hours=24)
"""A session idle for longer is over."""
FRESH = timedelta(seconds=1)
"""Activity is noted once in so long."""
MOST = 500
"""Sessions a user and originator may have; beyond, the one idle longest goes."""
HASHING = 2
"""Passwords that are looked at at once: each takes tens of milliseconds of CPU, by design."""
PENALTY = 5.0
"""Seconds that a wrong password costs."""


class Registered(msgspec.Struct, frozen=True):
    """The queue of the deprecated event.register: what is wanted, and how far it was heard."""

    classes: tuple[str, ...]
    token: str


class Sessions:
    """The sessions that live, by the hash of their reference."""

    def __init__(self, store: Store, now: Callable[[], datetime], penalty: float = PENALTY, limits: Limits = LIMITS) -> None:
        self.store = store
        self.now = now
        self.penalty = penalty
        self.ended: dict[bytes, asyncio.Event] = {}
        """Set when the session is over, so that who waits for events hears of it."""
        self.registered: dict[bytes, Registered] = {}
        """The queues of event.register, by the hash of the session's reference."""
        self._alive: dict[bytes, Session] = {}
        self._limits = limits
        self._loads: dict[bytes, Load] = {}
        self.guesses = Guesses(now)
        self._hashing = asyncio.Semaphore(HASHING)

    async def login(self, user: str, password: str, originator: str, address: str = "", *, trusted: bool) -> Ref:
        """A new session. `trusted`: local root, who needs no password. Raises SESSION_AUTHENTICATION_FAILED after a delay."""
        if trusted:
            return self._open(passwords.ROOT, originator)
        async with self.guesses.turn(address, user):
            return await self._login(user, password, originator)

    async def _login(self, user: str, password: str, originator: str) -> Ref:
        subject = find_subject(self.store.snapshot(), user)
        owner = subject.subject_identifier if subject else user
        async with self._hashing:
            right = await asyncio.to_thread(passwords.verify, self.store, owner, password)
        if not right:
            raise await self.refusal(user, "Authentication failure")
        if subject and not subject.roles:
            raise await self.refusal(user, "the user has no role")
        return self._open(user, originator, subject)

    async def refusal(self, user: str, text: str) -> Failure:
        """The error of a login that fails, after its delay."""
        await asyncio.sleep(self.penalty)
        return Failure("SESSION_AUTHENTICATION_FAILED", user, text)

    def _open(self, user: str, originator: str, subject: Subject | None = None) -> Ref:
        pool = next(self.store.snapshot().all(Pool), None)
        ref = Ref(f"OpaqueRef:{uuid.UUID(bytes=secrets.token_bytes(16))}")
        session = Session(
            uuid=str(uuid.uuid4()),
            this_host=pool.master if pool else NULL,
            this_user=NULL,
            last_active=self.now(),
            pool=False,
            is_local_superuser=subject is None,
            subject=subject.ref if subject else NULL,
            auth_user_sid=subject.subject_identifier if subject else "",
            validation_time=self.now(),
            auth_user_name=user,
            originator=originator,
        )
        self._make_room(user, originator)
        self._alive[digest(ref)] = session
        self.ended[digest(ref)] = asyncio.Event()
        self._loads[digest(ref)] = Load(self._limits)
        return ref

    def _make_room(self, user: str, originator: str) -> None:
        same = [key for key, s in self._alive.items() if (s.auth_user_name, s.originator) == (user, originator)]
        if len(same) >= MOST:
            self._close(min(same, key=lambda key: self._alive[key].last_active))

    def check(self, ref: str) -> Session:
        """The session behind a reference, which thereby is active. Raises SESSION_INVALID [ref]."""
        key = digest(ref)
        session = self._alive.get(key)
        if session is None:
            raise Failure("SESSION_INVALID", ref)
        now = self.now()
        if now - session.last_active > IDLE:
            self._close(key)
            raise Failure("SESSION_INVALID", ref)
        if now - session.last_active > FRESH:
            self._alive[key] = msgspec.structs.replace(session, last_active=now)
        return session

    def find(self, ref: str) -> Session | None:
        return self._alive.get(digest(ref))

    def peek(self, ref: str) -> Session:
        """The session as a record. Raises HANDLE_INVALID ["session", ref]."""
        session = self.find(ref)
        if session is None:
            raise Failure("HANDLE_INVALID", "session", ref)
        return session

    def update(self, ref: str, **fields: object) -> None:
        self._alive[digest(ref)] = msgspec.structs.replace(self.peek(ref), **fields)

    def subject_identifiers(self) -> list[str]:
        """The users beside root who are logged in."""
        return sorted({session.auth_user_sid for session in self._alive.values() if session.auth_user_sid})

    def logout_subject(self, identifier: str) -> None:
        """End a user's sessions; root, who is no subject, has no identifier."""
        theirs = [key for key, session in self._alive.items() if identifier and session.auth_user_sid == identifier]
        for key in theirs:
            self._close(key)

    def logout(self, ref: str) -> None:
        self._close(digest(ref))

    def end_of(self, ref: str) -> asyncio.Event:
        """Set when this session is over."""
        return self.ended[digest(ref)]

    def load_of(self, ref: str) -> Load:
        """What a living session has going on."""
        return self._loads[digest(ref)]

    def sweep(self) -> None:
        """End the sessions that were idle for too long, without waiting for a call of theirs."""
        for key in [key for key, session in self._alive.items() if self.now() - session.last_active > IDLE]:
            self._close(key)

    def close(self) -> None:
        """End all sessions: who waits for events is woken."""
        for key in list(self._alive):
            self._close(key)

    def _close(self, key: bytes) -> None:
        self._alive.pop(key, None)
        self.registered.pop(key, None)
        self._loads.pop(key, None)
        event = self.ended.pop(key, None)
        if event is not None:
            event.set()


def digest(ref: str) -> bytes:
    return hashlib.sha256(ref.encode()).digest()
