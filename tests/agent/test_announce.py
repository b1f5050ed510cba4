"""The announcer, for guests that the host cannot look into: again and again, and not for who moves on."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.datapath.bridge_host import tap
from xenet.agent.announce import PAUSES, Announcer
from xenet.datapath.fake import FakeDatapath
from xenet.guests.base import FakeGuests
from xenet.plan.announcement import announcement
from xenet.plan.view import PortView

TAP = tap(1)


class Said(FakeDatapath):
    """Where nothing can go wrong with what is said but what the test wants."""

    def __init__(self, trouble: bool = False) -> None:
        super().__init__()
        self.trouble = trouble
        self.stations: set[bytes] = set()

    def speak(self, port: PortView, frames: Sequence[bytes]) -> None:
        if self.trouble:
            raise OSError("the uplink is down")
        self.spoken.append((port.device, tuple(frames[:-1])))
        assert frames[-1][6:] == announcement(port.mac, ())[0][6:]
        self.stations.add(frames[-1][:6])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xenet.agent.announce.PAUSES", (0.01,) * len(PAUSES))


def test_nobody_is_spoken_for_who_is_about_to_leave(quick: None) -> None:
    said = Said()

    async def run() -> None:
        announcer = Announcer(FakeGuests(), said, lambda port: ["10.0.0.1"])
        announcer.announce_port(TAP)
        assert said.held == [TAP.device]
        announcer.get_ready([TAP])
        assert said.held == []
        await asyncio.sleep(0.2)
        assert len(said.spoken) == 1
        announcer.announce_port(TAP)  # the move was taken back
        announcer.announce_port(TAP)
        await asyncio.sleep(0.5)
        assert TAP.device not in announcer.spoken

    asyncio.run(run())
    assert len(said.spoken) == 3 + len(PAUSES), "one row of repeats at a time"
    assert len(said.stations) == len(said.spoken), "a flow that there was not before, each time"
    assert said.spoken[0] == (TAP.device, tuple(announcement(TAP.mac, ["10.0.0.1"])))


def test_nothing_is_held_by_an_agent_that_has_ended() -> None:
    said = Said()

    async def run() -> None:
        announcer = Announcer(FakeGuests(), said, lambda port: [])
        announcer.announce_port(TAP)
        assert said.held == [TAP.device]
        announcer.close()

    asyncio.run(run())
    assert said.held == []


def test_what_cannot_be_said_now_is_said_later(quick: None) -> None:
    said = Said(trouble=True)

    async def run() -> None:
        announcer = Announcer(FakeGuests(), said, lambda port: [])
        announcer.announce_port(TAP)
        assert announcer.spoken == {}
        said.trouble = False
        await asyncio.sleep(0.5)

    asyncio.run(run())
    assert said.spoken == [(TAP.device, tuple(announcement(TAP.mac, [])))] * len(PAUSES)
