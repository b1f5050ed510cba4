"""The core between verbs, store and hosts: what a caller gets when hosts fail, die, are late, or the server itself was killed."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.verbs.world import VM_RECORD, vif_record
from xenet.model.errors import Failure
from xenet.model.hidden import NIC, Operation
from xenet.model.invariants import violations
from xenet.model.task import Task
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.server.core import Core
from xenet.store.memory import MemoryStore
from xenet.verbs.call import PATIENCE, Question
from xenet.verbs.catalogue import MESSAGES
from xenet.verbs.host import hello
from xenet.verbs.report import News


class Pool:
    """A core whose host says what the test makes it say."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.store = MemoryStore()
        self.core = Core(self.store, self.answer, lambda: self.time)
        self.host = self.come()

    def come(self) -> Ref:
        outcome = hello(self.core.call("hello"), "host-a", "a", "bridge", (NIC("eth0", "02:00:00:00:00:01"),), "tap")
        self.store.commit(outcome.change)
        host: Ref = outcome.result
        self.core.reported(host, News(self.store.snapshot().revision))
        return host

    async def answer(self, question: Question) -> Any:
        return question.answer({host: [] for host in question.hosts})

    def report(self, **failures: str) -> None:
        self.core.reported(self.host, News(self.store.snapshot().revision, failures))

    async def run(self, message: str, *args: Any) -> Any:
        return await self.core.run(MESSAGES[message], list(args))

    async def running_vif(self) -> Ref:
        """An unplugged VIF of a running VM."""
        vm = await self.run("VM.create", VM_RECORD)
        network = await self.run("network.create", {"other_config": {}})
        vif: Ref = await self.run("VIF.create", vif_record(vm, network))
        await self.ending(self.run("VM.start", vm, False, False), self.report)
        await self.ending(self.run("VIF.unplug", vif), self.report)
        return vif

    async def ending(self, call: Coroutine[Any, Any, Any], how: Any, *args: Any, **more: Any) -> Any:
        """A call that waits for its host until `how` is done."""
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        assert not task.done(), "nothing was waited for"
        how(*args, **more)
        return await task


def with_pool(test: Any) -> Any:
    def run() -> None:
        asyncio.run(test(Pool()))

    run.__name__ = test.__name__
    return run


async def failure_of(call: Any) -> list[str]:
    with pytest.raises(Failure) as failure:
        await call
    return failure.value.description


@with_pool
async def test_a_call_ends_with_the_hosts_report(pool: Pool) -> None:
    vif = await pool.running_vif()
    assert await pool.ending(pool.run("VIF.plug", vif), pool.report) == ""
    assert pool.store.snapshot().get(VIF, vif).currently_attached


@with_pool
async def test_what_the_host_could_not_do_is_the_callers_error(pool: Pool) -> None:
    vif = await pool.running_vif()
    before = pool.store.snapshot().get(VIF, vif)
    failed = {vif.removeprefix("OpaqueRef:"): "the kernel says no"}
    assert await failure_of(pool.ending(pool.run("VIF.plug", vif), pool.report, **failed)) == ["INTERNAL_ERROR", "the kernel says no"]
    assert pool.store.snapshot().get(VIF, vif) == before


@with_pool
async def test_a_host_that_dies(pool: Pool) -> None:
    vif = await pool.running_vif()
    ending = pool.ending(pool.run("VIF.plug", vif), pool.core.host_left, pool.host)
    assert await failure_of(ending) == ["CANNOT_CONTACT_HOST", pool.host]
    assert violations(pool.store.snapshot()) == []


@with_pool
async def test_a_host_that_is_late(pool: Pool) -> None:
    vif = await pool.running_vif()

    def too_late() -> None:
        pool.time += PATIENCE - timedelta(seconds=1)
        pool.core.expire()
        assert pool.store.snapshot().count(Operation) == 1
        pool.time += timedelta(seconds=1)
        pool.core.expire()

    assert await failure_of(pool.ending(pool.run("VIF.plug", vif), too_late)) == ["DEVICE_ATTACH_TIMEOUT", "VIF", vif]
    assert not pool.store.snapshot().get(VIF, vif).plugged


@with_pool
async def test_what_a_killed_server_left_over_is_ended_by_the_next(pool: Pool) -> None:
    """Its state is all that is left of a call: with a host that comes back it succeeds, without it is taken back in time."""
    vif = await pool.running_vif()
    pool.store.commit(MESSAGES["VIF.plug"].run(pool.core.call("VIF.plug"), vif).change)
    left = pool.store.snapshot()
    for comes_back in (True, False):
        pool.store = MemoryStore(left)
        pool.core = Core(pool.store, pool.answer, lambda: pool.time)
        pool.core.start()
        assert pool.store.snapshot().count(Operation) == 1
        if comes_back:
            pool.come()
        else:
            pool.time += PATIENCE
            pool.core.expire()
        assert pool.store.snapshot().count(Operation) == 0
        assert pool.store.snapshot().get(VIF, vif).currently_attached is comes_back
        assert violations(pool.store.snapshot()) == []


@with_pool
async def test_a_caller_who_leaves_does_not_stop_his_call(pool: Pool) -> None:
    vif = await pool.running_vif()
    task = asyncio.ensure_future(pool.run("VIF.plug", vif))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pool.report()
    assert pool.store.snapshot().get(VIF, vif).currently_attached


@with_pool
async def test_a_refusal_commits_nothing(pool: Pool) -> None:
    vif = await pool.running_vif()
    before = pool.store.snapshot()
    assert await failure_of(pool.run("VIF.unplug", vif)) == ["DEVICE_ALREADY_DETACHED", vif]
    assert pool.store.snapshot() is before


@with_pool
async def test_an_asynchronous_call_answers_with_its_task_at_once(pool: Pool) -> None:
    vif = await pool.running_vif()
    task = await pool.core.run_as_task(MESSAGES["VIF.plug"], [vif])
    assert pool.store.snapshot().get(Task, task).status == "pending"
    pool.report(**{vif.removeprefix("OpaqueRef:"): "no"})
    record = pool.store.snapshot().get(Task, task)
    assert (record.status, record.error_info) == ("failure", ("INTERNAL_ERROR", "no"))


@with_pool
async def test_an_asynchronous_call_without_hosts_is_one_commit(pool: Pool) -> None:
    before = pool.store.snapshot().revision
    task = await pool.core.run_as_task(MESSAGES["network.create"], [{"other_config": {}}])
    assert pool.store.snapshot().revision == before + 1
    assert pool.store.snapshot().get(Task, task).status == "success"
