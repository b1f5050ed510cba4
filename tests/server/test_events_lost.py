"""event.next at its limits. The log of changes has a bound: it says that it lost some and goes on from there, where event.from tells all there is, as
if it were new. And where nothing happens, who listens to the pool hears of it now and then."""

import asyncio
from datetime import UTC, datetime

import pytest

from xenet.model.change import Draft
from xenet.model.errors import Failure
from xenet.model.network import Network
from xenet.model.pool import Pool
from xenet.model.types import NULL
from xenet.server import builtin
from xenet.server.builtin import Context, from_, next_, register, unregister
from xenet.server.calls import Unknown
from xenet.server.events import Events
from xenet.server.sessions import Sessions
from xenet.store.memory import KEEP, SLACK, MemoryStore

POOL = "00000000-0000-4000-8000-000000000002"


@pytest.fixture
def context():
    store = MemoryStore()
    sessions = Sessions(store, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    session = asyncio.run(sessions.login("root", "", "here", trusted=True))
    return Context(store, sessions, Events(store), Unknown(), session, True)


def name(context, number):
    draft = Draft(context.store.snapshot())
    known = draft.state.find(Network, network(0).ref)
    draft.put(network(number)) if known is None else draft.update(known, name_label=str(number))
    context.store.commit(draft.change())


def network(number):
    return Network(uuid="00000000-0000-4000-8000-000000000001", name_label=str(number), other_config={})


def test_lost_events_are_said_once(context):
    async def scenario():
        await register(context, ("network",))
        for number in range(KEEP + SLACK + 10):
            name(context, number)
        with pytest.raises(Failure, match="EVENTS_LOST"):
            await next_(context)
        name(context, -1)
        (event,) = await next_(context)
        assert (event["operation"], event["snapshot"]["name_label"]) == ("mod", "-1")
        assert float(event["timestamp"]) > 0

    asyncio.run(scenario())


def test_an_old_token_tells_all_there_is(context):
    async def scenario():
        token = (await from_(context, ("network",), "", 0.0))["token"]
        for number in range(KEEP + SLACK + 10):
            name(context, number)
        batch = await from_(context, ("network",), token, 0.0)
        assert [(event["operation"], event["snapshot"]["name_label"]) for event in batch["events"]] == [("add", str(KEEP + SLACK + 9))]

    asyncio.run(scenario())


def test_a_quiet_pool_has_a_heartbeat(context, monkeypatch):
    monkeypatch.setattr(builtin, "HEARTBEAT", 0.01)
    draft = Draft(context.store.snapshot())
    pool = draft.put(Pool(uuid=POOL, name_label="quiet", name_description="", master=NULL, default_SR=NULL, other_config={}))
    context.store.commit(draft.change())

    async def scenario():
        await register(context, ("network", "pool"))
        for _ in range(2):
            (event,) = await next_(context)
            assert (event["class"], event["operation"], event["ref"], event["snapshot"]["name_label"]) == ("pool", "mod", pool.ref, "quiet")
        await unregister(context, ("pool",))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await next_(context)

    asyncio.run(scenario())
