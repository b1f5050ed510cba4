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
from xenet.model.task import Session
from xenet.model.types import NULL, Ref
from xenet.server import passwords
from xenet.store.base import Store

IDLE = timedelta(hours=24)
"""A session idle for longer is over."""
FRESH = timedelta(seconds=1)
"""Activity is noted once in so long."""
MOST = 500
"""Sessions a user and originator may have; beyond, the one idle longest goes."""
PENALTY = 5.0
"""Seconds that a wrong password costs."""


class Registered(msgspec.Struct, frozen=True):
    """The queue of the deprecated event.register: what is wanted, and how far it was heard."""

    classes: tuple[str, ...]
    token: str


class Sessions:
    """The sessions that live, by the hash of their reference."""

    def __init__(self, store: Store, now: Callable[[], datetime], penalty: float = PENALTY) -> None:
        self.store = store
        self.now = now
        self.penalty = penalty
        self.ended: dict[bytes, asyncio.Event] = {}
        """Set when the session is over, so that who waits for events hears of it."""
        self.registered: dict[bytes, Registered] = {}
        """The queues of event.register, by the hash of the session's reference."""
        self._alive: dict[bytes, Session] = {}

    async def login(self, user: str, password: str, originator: str, *, trusted: bool) -> Ref:
        """A new session. `trusted`: local root, who needs no password. Raises SESSION_AUTHENTICATION_FAILED after a delay."""
        if not trusted and not await asyncio.to_thread(passwords.verify, self.store, user, password):
            await asyncio.sleep(self.penalty)
            raise Failure("SESSION_AUTHENTICATION_FAILED", user, "Authentication failure")
        return self._open(user or passwords.ROOT, originator, superuser=True)

    def _open(self, user: str, originator: str, *, superuser: bool) -> Ref:
        pool = next(self.store.snapshot().all(Pool), None)
        ref = Ref(f"OpaqueRef:{uuid.UUID(bytes=secrets.token_bytes(16))}")
        session = Session(
            uuid=str(uuid.uuid4()),
            this_host=pool.master if pool else NULL,
            this_user=NULL,
            last_active=self.now(),
            pool=False,
            is_local_superuser=superuser,
            validation_time=self.now(),
            auth_user_name=user,
            originator=originator,
        )
        self._make_room(user, originator)
        self._alive[digest(ref)] = session
        self.ended[digest(ref)] = asyncio.Event()
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

    def peek(self, ref: str) -> Session:
        """The session as a record. Raises HANDLE_INVALID ["session", ref]."""
        session = self._alive.get(digest(ref))
        if session is None:
            raise Failure("HANDLE_INVALID", "session", ref)
        return session

    def update(self, ref: str, **fields: object) -> None:
        self._alive[digest(ref)] = msgspec.structs.replace(self.peek(ref), **fields)

    def logout(self, ref: str) -> None:
        self._close(digest(ref))

    def end_of(self, ref: str) -> asyncio.Event:
        """Set when this session is over."""
        return self.ended[digest(ref)]

    def close(self) -> None:
        """End all sessions: who waits for events is woken."""
        for key in list(self._alive):
            self._close(key)

    def _close(self, key: bytes) -> None:
        self._alive.pop(key, None)
        self.registered.pop(key, None)
        event = self.ended.pop(key, None)
        if event is not None:
            event.set()


def digest(ref: str) -> bytes:
    return hashlib.sha256(ref.encode()).digest()
