"""Who guesses passwords waits: after a wrong one, its address gets one attempt at a time, each with its delay."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from xenet.model.errors import Failure

SUSPECT = timedelta(minutes=5)
"""For how long a wrong password is remembered."""
QUEUE = 50
"""Attempts of an address that may wait for their turn; more are refused at once."""
MOST = 10_000
"""Addresses that are remembered; the oldest is forgotten for the next."""


class Suspect(msgspec.Struct):
    """An address from which a password was wrong."""

    since: datetime
    turn: asyncio.Lock
    waiting: int = 0


class Guesses:
    """The memory of wrong passwords."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._suspects: dict[str, Suspect] = {}

    @asynccontextmanager
    async def turn(self, address: str, user: str) -> AsyncIterator[None]:
        """The block is the attempt; where it raises a Failure, the address is suspect from now on. Raises SESSION_AUTHENTICATION_FAILED
        [user, text] where too many wait already."""
        suspect = self._find(address)
        if suspect is None:
            async with self._noting(address):
                yield
            return
        if suspect.waiting >= QUEUE:
            raise Failure("SESSION_AUTHENTICATION_FAILED", user, "Too many attempts from this address")
        suspect.waiting += 1
        try:
            async with suspect.turn, self._noting(address):
                yield
        finally:
            suspect.waiting -= 1

    @asynccontextmanager
    async def _noting(self, address: str) -> AsyncIterator[None]:
        try:
            yield
        except Failure:
            suspect = self._suspects.pop(address, None) or Suspect(self._now(), asyncio.Lock())
            suspect.since = self._now()
            self._suspects[address] = suspect
            if len(self._suspects) > MOST:
                del self._suspects[next(iter(self._suspects))]
            raise

    def _find(self, address: str) -> Suspect | None:
        found = self._suspects.get(address)
        if found is not None and self._now() - found.since > SUSPECT and not found.waiting:
            del self._suspects[address]
            return None
        return found
