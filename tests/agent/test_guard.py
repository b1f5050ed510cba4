"""The guard of the way to a host, with gateways that answer as the test says."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from xenet.agent.guard import Guard
from xenet.plan.reach import Reach

OLD = Reach("old", "xenbr0", "02:00:00:00:00:01", "10.0.0.1", "10.0.0.254")
NEW = Reach("new", "xenbr1", "02:00:00:00:00:02", "10.1.0.1", "10.1.0.254")
NEITHER = Reach("new", "xenbr1", "02:00:00:00:00:02", "", "")
NO_GATEWAY = Reach("new", "xenbr1", "02:00:00:00:00:02", "10.1.0.1", "")
ALONE = Reach("six", "xenbr1", "02:00:00:00:00:02", "2001:db8::1", "2001:db8::fe")


class Scene:
    """A guard that knows the old way; `there` are the gateways that answer, `asked` those that were asked."""

    def __init__(self) -> None:
        self.there = {OLD.gateway}
        self.asked: list[str] = []
        self.news = asyncio.Event()
        self.guard = Guard(self.answers, self.news.set, patience=0.05, grace=0.05)
        self.guard.follow(OLD)

    def answers(self, device: str, mac: str, address: str, gateway: str, seconds: float) -> bool:
        self.asked.append(gateway)
        if device == "absent":
            raise OSError("no such device")
        return gateway in self.there

    async def told(self) -> None:
        self.news.clear()
        await asyncio.wait_for(self.news.wait(), 20)


def played(play: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        scene = Scene()
        await play(scene)
        scene.guard.close()

    asyncio.run(run())


@pytest.mark.parametrize("reach", [OLD, NEITHER, NO_GATEWAY, ALONE])
def test_nothing_is_asked_where_there_is_no_reason_or_nobody_to_ask(reach: Reach) -> None:
    async def play(scene: Scene) -> None:
        scene.guard.follow(reach)
        assert not scene.guard.in_doubt

    played(play)


def test_the_first_way_is_not_doubted() -> None:
    async def play(scene: Scene) -> None:
        scene.guard.follow(None)
        scene.guard.follow(NEW)
        assert not scene.guard.in_doubt
        assert scene.asked == []

    played(play)


def test_a_gateway_that_answers_ends_the_doubt() -> None:
    async def play(scene: Scene) -> None:
        scene.there.add(NEW.gateway)
        scene.guard.follow(NEW)
        assert scene.guard.waiting() == {"new"}
        await scene.told()
        assert not scene.guard.in_doubt
        assert scene.guard.failures() == {}
        assert scene.asked == [NEW.gateway]

    played(play)


@pytest.mark.parametrize("device", ["xenbr1", "absent"])
def test_a_silent_gateway_is_a_failure_until_it_is_taken_back(device: str) -> None:
    async def play(scene: Scene) -> None:
        scene.guard.follow(Reach("new", device, NEW.mac, NEW.address, NEW.gateway))
        await scene.told()
        assert scene.guard.failures() == {"new": f"gateway 10.1.0.254 did not answer through {device} within 0 s"}
        assert scene.guard.waiting() == set()
        assert scene.guard.in_doubt, "the API stays at the old door"
        scene.guard.follow(OLD)
        assert (scene.guard.failures(), scene.guard.in_doubt) == ({}, False)
        assert OLD.gateway not in scene.asked, "it was good before"

    played(play)


def test_a_failure_that_nobody_takes_back_has_to_do_once_the_server_knows() -> None:
    async def play(scene: Scene) -> None:
        scene.guard.follow(NEW)
        await scene.told()
        scene.guard.follow(NEW)
        assert scene.guard.failures(), "another word of the server does not hide it"
        await scene.told()
        assert scene.guard.failures(), "the server has not heard of it"
        scene.guard.reported()
        await scene.told()
        assert not scene.guard.in_doubt

    played(play)


def test_a_way_that_comes_in_between_is_asked_in_its_place() -> None:
    async def play(scene: Scene) -> None:
        third = Reach("third", "xenbr2", NEW.mac, "10.2.0.1", "10.2.0.254")
        scene.there.add(third.gateway)
        scene.guard.follow(NEW)
        scene.guard.follow(third)
        await scene.told()
        assert (scene.guard.failures(), scene.guard.in_doubt) == ({}, False)

    played(play)
