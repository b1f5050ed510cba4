"""When sessions end by themselves: idle for a day, or one too many of a user and originator."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from xenet.model.errors import Failure
from xenet.server import passwords
from xenet.server.sessions import IDLE, MOST, Sessions
from xenet.store.memory import MemoryStore


class Clock:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def sessions():
    return Sessions(MemoryStore(), Clock(), penalty=0.0)


def log_in(sessions, originator="here"):
    return asyncio.run(sessions.login("root", "", originator, trusted=True))


def test_a_session_that_is_used_lives_on_and_an_idle_one_is_over(sessions):
    used, idle = log_in(sessions), log_in(sessions)
    waits = sessions.end_of(idle)
    for _ in range(4):
        sessions.now.now += IDLE / 3
        sessions.check(used)
    with pytest.raises(Failure, match="SESSION_INVALID"):
        sessions.check(idle)
    assert waits.is_set(), "who waits for events with it is woken"
    sessions.check(used)


def test_idle_sessions_go_without_being_asked_for(sessions):
    idle = log_in(sessions)
    waits = sessions.end_of(idle)
    sessions.now.now += IDLE + timedelta(seconds=1)
    fresh = log_in(sessions)
    sessions.sweep()
    assert waits.is_set()
    assert sessions.find(idle) is None
    assert sessions.find(fresh) is not None


def test_the_one_idle_longest_makes_room(sessions):
    first, second = log_in(sessions), log_in(sessions)
    sessions.now.now += timedelta(minutes=1)
    sessions.check(first)
    elsewhere = log_in(sessions, "elsewhere")
    for _ in range(MOST - 1):
        log_in(sessions)
    assert sessions.find(first) is not None
    assert sessions.find(second) is None
    assert sessions.find(elsewhere) is not None, "another originator's do not count"


def test_nobody_s_identifier_is_not_root_s(sessions):
    ref = log_in(sessions)
    sessions.logout_subject("")
    assert sessions.find(ref) is not None


def test_a_reference_is_kept_nowhere(sessions):
    ref = log_in(sessions)
    assert ref not in repr(vars(sessions))
    passwords.ensure_root(sessions.store, "secret")
    with pytest.raises(Failure, match="SESSION_AUTHENTICATION_FAILED"):
        asyncio.run(sessions.login("root", "wrong", "here", trusted=False))
    assert "secret" not in repr(list(sessions.store.snapshot().tables.get("credential", {}).values()))
