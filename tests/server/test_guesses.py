"""Who guesses passwords waits his turn; who knows one does not wait behind him."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from xenet.model.errors import Failure
from xenet.server.guesses import MOST, QUEUE, SUSPECT, Guesses

WRONG = Failure("SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure")


class Clock:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def attempt(guesses: Guesses, address: str, running: list[str], *, right: bool = False) -> str:
    try:
        async with guesses.turn(address, "root"):
            running.append(address)
            most.append(running.count(address))
            await asyncio.sleep(0)
            running.remove(address)
            if not right:
                raise WRONG
    except Failure as failure:
        return failure.params[1]
    return ""


most: list[int] = []
"""How many attempts of an address were under way at once."""


def run(coroutine):
    most.clear()
    return asyncio.run(coroutine)


def test_after_a_wrong_password_an_address_has_one_attempt_at_a_time():
    async def scenario():
        guesses, running = Guesses(Clock()), []
        await attempt(guesses, "192.0.2.1", running)
        most.clear()
        await asyncio.gather(*(attempt(guesses, "192.0.2.1", running) for _ in range(20)))
        assert max(most) == 1
        most.clear()
        await asyncio.gather(*(attempt(guesses, "192.0.2.2", running, right=True) for _ in range(20)))
        assert max(most) > 1, "others do not wait behind him"

    run(scenario())


def test_too_many_are_refused_at_once():
    async def scenario():
        guesses = Guesses(Clock())
        await attempt(guesses, "a", [])
        said = await asyncio.gather(*(attempt(guesses, "a", []) for _ in range(QUEUE + 10)))
        assert said.count("Too many attempts from this address") == 10

    run(scenario())


def test_a_wrong_password_is_forgotten_in_time():
    async def scenario():
        clock = Clock()
        guesses = Guesses(clock)
        await attempt(guesses, "a", [])
        clock.now += SUSPECT + timedelta(seconds=1)
        most.clear()
        running: list[str] = []
        await asyncio.gather(*(attempt(guesses, "a", running, right=True) for _ in range(5)))
        assert max(most) == 5

    run(scenario())


@pytest.mark.parametrize("addresses", [MOST + 5])
def test_memory_has_a_bound(addresses):
    async def scenario():
        guesses = Guesses(Clock())
        for number in range(addresses):
            await attempt(guesses, str(number), [])
        assert len(guesses._suspects) == MOST

    run(scenario())
