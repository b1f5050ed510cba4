"""The loop and its link: before the first word, questions, a server that goes away, and one that makes no sense."""

import asyncio
import select
import time

import pytest

from tests.agent.rig import Rig, delta, snapshot
from tests.agent.scene import MOVED, ROUTER, TWO, Play, Scene, said, until
from xenet.datapath.base import FDBEntry
from xenet.link.messages import Answer, Ask, Delta, Report
from xenet.model.hidden import Edit
from xenet.model.types import ref_of


def test_nothing_is_touched_before_the_first_word(play: Play) -> None:
    """The kernel's news come first when an agent starts on a host that is in use; that is no reason to clear the host."""

    async def script(scene: Scene) -> None:
        other = Rig()
        other.start_at(TWO)
        scene.rig.datapath.state.update(other.datapath.state)
        scene.rig.guests.running.update(other.guests.running)
        other.close()
        channel = await scene.server.greeted()
        scene.rig.datapath.observe()
        scene.rig.datapath.disturb("eth0", None)
        await until(lambda: select.select([scene.rig.datapath], [], [], 0)[0] == [])
        assert scene.rig.is_as(TWO)
        channel.send(snapshot(TWO))
        assert await said(channel) == Report(1)
        assert scene.rig.datapath.done == []

    play(script)


def test_a_question_is_answered(play: Play) -> None:
    async def script(scene: Scene) -> None:
        channel = await scene.settled()
        scene.rig.datapath.tables["br-red"] = [FDBEntry("02:00:00:00:61:00", "vif1.0", 1.5), FDBEntry("fe:ff:ff:ff:ff:ff", "vif1.0", 0.0, local=True)]
        for number, subject in enumerate(("br-red", "br-none")):
            channel.send(Ask(number, "fdb", subject))
        lines = [
            {"mac": "02:00:00:00:61:00", "port": "vif1.0", "age": "1.50", "local": "false"},
            {"mac": "fe:ff:ff:ff:ff:ff", "port": "vif1.0", "age": "0.00", "local": "true"},
        ]
        assert [await said(channel), await said(channel)] == [Answer(0, lines), Answer(1, [])]
        channel.send(Ask(7, "weather", "br-red"))
        assert await said(channel) == Answer(7, [])

    play(script)


def test_a_table_that_cannot_be_read_is_not_an_empty_one(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(scene: Scene) -> None:
        def refuse(bridge: str) -> list[FDBEntry]:
            raise OSError(11, "ovs-vswitchd does not answer")

        channel = await scene.settled()
        monkeypatch.setattr(scene.rig.datapath, "fdb", refuse)
        channel.send(Ask(1, "fdb", "br-red"))
        assert await said(channel) == Answer(1, [], "the MAC table of br-red cannot be read: ovs-vswitchd does not answer")

    play(script)


def test_a_lost_server_changes_nothing_and_drift_is_mended_without_one(play: Play) -> None:
    async def script(scene: Scene) -> None:
        await scene.settled()
        await scene.server.close()
        await until(lambda: scene.loop._channel is None)
        assert scene.rig.is_as(TWO)
        spent = time.process_time()
        scene.rig.datapath.disturb("br-red", None)
        await until(lambda: scene.rig.is_as(TWO))
        await asyncio.sleep(1)
        assert time.process_time() - spent < 0.5, "it spins while there is no server"
        await scene.server.open()
        done = len(scene.rig.datapath.done)
        await scene.settled()
        assert len(scene.rig.datapath.done) == done

    play(script)


@pytest.mark.parametrize("frame", [b"\0\0\0\4\xc1\xc1\xc1\xc1", b"\xff\xff\xff\xff", b"\0\0\0\1\x80"], ids=["no msgpack", "no length", "no message"])
def test_a_malformed_frame_costs_the_link_and_nothing_else(play: Play, frame: bytes) -> None:
    async def script(scene: Scene) -> None:
        await scene.settled()
        scene.server.write(frame)
        again = await scene.settled(ROUTER)
        assert scene.rig.is_as(ROUTER)
        again.send(Ask(1, "fdb", "br-red"))
        assert await said(again) == Answer(1, [])

    play(script)


@pytest.mark.parametrize(
    "edit",
    [
        Edit("VIF", ref_of("nobody"), {"plugged": True}, {"plugged": False}),
        Edit("VIF", ref_of("a.0"), {"plugged": False}, {"plugged": True}),
        Edit("VIF", ref_of("a.0"), {"plugged": True}, {"plugged": "perhaps"}),
        Edit("VIF", ref_of("a.0"), {"plugged": True}, {"pulled": True}),
        Edit("warp drive", ref_of("a.0"), {"plugged": True}, {"plugged": False}),
    ],
    ids=["no such record", "another value", "another type", "an unknown field", "an unknown class"],
)
def test_a_server_out_of_step_is_asked_for_all_of_it(play: Play, edit: Edit) -> None:
    async def script(scene: Scene) -> None:
        channel = await scene.settled()
        channel.send(Delta(2, (edit,)))
        channel.send(delta(TWO, MOVED, 3))
        again = await scene.server.greeted()
        assert scene.rig.is_as(TWO), "it acted on what followed a word that made no sense"
        again.send(snapshot(ROUTER, 4))
        assert await said(again) == Report(4)
        assert scene.rig.is_as(ROUTER)

    play(script)
