"""The loop acts on what the server and the kernel say, on what failed and on what is out of service; and says what became of it."""

import asyncio
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import msgspec
import pytest

from tests.agent.rig import Rig, delta, snapshot
from tests.agent.scene import MOVED, ROUTER, TWO, WAIT, Play, Scene, said, until
from tests.plan.pools import pif
from tests.plan.states import STATES
from xenet.agent import loop as module
from xenet.datapath.fake import FakeDatapath
from xenet.link.messages import Answer, Ask, Delta, Report
from xenet.plan.steps import CreatePort, Step, StepFailure


def test_a_snapshot_is_made_true_and_reported(play: Play) -> None:
    async def script(scene: Scene) -> None:
        await scene.settled()
        assert scene.rig.is_as(TWO)
        assert scene.loop.converged.is_set()

    play(script)


def test_several_deltas_at_once_are_one_act_and_one_report(play: Play) -> None:
    async def script(scene: Scene) -> None:
        channel = await scene.settled()
        done = len(scene.rig.datapath.done)
        channel.send(delta(TWO, ROUTER, 2))
        channel.send(delta(ROUTER, MOVED, 3))
        channel.send(delta(MOVED, TWO, 4))
        assert await said(channel) == Report(4)
        assert len(scene.rig.datapath.done) == done, "what came and went in between was done"
        channel.send(Delta(5, ()))
        assert await said(channel) == Report(5), "an empty delta asks for a report, too"

    play(script)


def test_drift_is_mended_without_a_word_of_the_server(play: Play) -> None:
    async def script(scene: Scene) -> None:
        channel = await scene.settled()
        switch = scene.rig.datapath.state["br-red"]
        scene.rig.datapath.disturb("br-red", msgspec.structs.replace(switch, ports={}, up=False))
        await until(lambda: scene.rig.is_as(TWO))
        channel.send(Ask(1, "fdb", "br-red"))
        assert await said(channel) == Answer(1, []), "the server was told of what is as it wants it"

    play(script)


def test_a_changed_nic_is_reported(play: Play) -> None:
    async def script(scene: Scene) -> None:
        channel = await scene.settled()
        fake = scene.rig.datapath
        fake.hardware["eth1"] = msgspec.structs.replace(fake.hardware["eth1"], carrier=False)
        fake.disturb("eth1", None)
        report = await said(channel)
        assert isinstance(report, Report)
        assert (report.revision, report.failures) == (1, {})
        assert [nic.carrier for nic in report.nics or ()] == [True, False]

    play(script)


def test_a_nic_that_changes_while_the_host_is_acted_on_is_reported(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(scene: Scene) -> None:
        channel, fake = await scene.settled(), scene.rig.datapath
        do = fake.do

        def unplug_the_cable(steps: Any) -> Any:
            fake.hardware["eth1"] = msgspec.structs.replace(fake.hardware["eth1"], carrier=False)
            fake.disturb("eth1", None)
            return do(steps)

        monkeypatch.setattr(fake, "do", unplug_the_cable)
        channel.send(delta(TWO, ROUTER))
        report = await said(channel)
        assert isinstance(report, Report)
        assert [nic.carrier for nic in report.nics or ()] == [True, False]

    play(script)


def test_what_somebody_changes_while_the_host_is_acted_on_is_mended(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REAP_AFTER", 2 * WAIT)  # which would wake it as well

    async def script(scene: Scene) -> None:
        channel, fake = await scene.settled(), scene.rig.datapath
        do = fake.do

        def tear_down_another(steps: Any) -> Any:
            monkeypatch.setattr(fake, "do", do)
            fake.disturb("br-red", None)
            return do(steps)

        monkeypatch.setattr(fake, "do", tear_down_another)
        second_nic = pif("eth1", "wan")
        wanted = TWO.with_record("PIF", second_nic.ref, second_nic)
        channel.send(delta(TWO, wanted))
        assert await said(channel) == Report(2)
        await until(lambda: scene.rig.is_as(wanted))

    play(script)


def test_a_failed_step_is_reported_tried_again_and_its_recovery_is_reported(play: Play) -> None:
    async def script(scene: Scene) -> None:
        channel = await scene.settled()
        port = next(k for k, step in enumerate(steps_to_router(), start=1) if isinstance(step, CreatePort))
        scene.rig.datapath.fail_at(port, "the kernel is busy")
        channel.send(delta(TWO, ROUTER))
        first = await said(channel)
        assert isinstance(first, Report)
        assert (first.revision, "the kernel is busy" in first.failures.values()) == (2, True)
        assert await said(channel) == Report(2)
        assert scene.rig.is_as(ROUTER)

    play(script)


def steps_to_router() -> list[Any]:
    rig = Rig()
    rig.start_at(TWO)
    steps = rig.go_to(ROUTER)
    rig.close()
    return steps


@pytest.mark.parametrize("times", [1, 2])
def test_what_fails_as_drift_is_mended_is_logged_only_when_it_fails_twice(
    play: Play, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Of a device that somebody deletes the kernel first says that it is down, so the first attempt may meet nothing."""

    async def script(scene: Scene) -> None:
        fake, left = scene.rig.datapath, [times]
        do = fake.do

        def failing(steps: Sequence[Step]) -> list[StepFailure]:
            if left[0]:
                left[0] -= 1
                fake.fail_at(1, "there is no such device")
            return do(steps)

        await scene.settled()
        monkeypatch.setattr(fake, "do", failing)
        fake.disturb("br-red", None)
        await until(lambda: not left[0] and scene.rig.is_as(TWO))
        assert ["there is no such device" in text for text in caplog.messages].count(True) == times - 1

    play(script)


def test_a_guest_that_does_not_start_is_tried_again(play: Play) -> None:
    async def script(scene: Scene) -> None:
        channel = await scene.server.greeted()
        scene.rig.guests.broken.add("b")
        channel.send(snapshot(TWO))
        first = await said(channel)
        assert isinstance(first, Report)
        assert (first.failures, first.lacking) == ({"b": "guest b is broken"}, {})
        scene.rig.guests.broken.clear()
        assert await said(channel) == Report(1)
        assert scene.rig.is_as(TWO)

    play(script)


def test_a_file_that_a_guest_lacks_is_reported_by_its_kind(play: Play) -> None:
    async def script(scene: Scene) -> None:
        channel = await scene.server.greeted()
        scene.rig.guests.lacking["b"] = "ramdisk"
        channel.send(snapshot(TWO))
        first = await said(channel)
        assert isinstance(first, Report)
        assert (first.failures, first.lacking) == ({"b": "the ramdisk /ramdisk is not there, or cannot be read"}, {"b": "ramdisk"})
        scene.rig.guests.lacking.clear()
        assert await said(channel) == Report(1)

    play(script)


def test_what_is_out_of_service_is_deleted_soon_and_not_at_once(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REAP_AFTER", 2.0)  # a busy machine may take the usual half a second to look

    async def script(scene: Scene) -> None:
        channel = await scene.settled()
        channel.send(delta(TWO, STATES["nothing"]))
        assert await said(channel) == Report(2)
        assert scene.rig.datapath.dead
        await until(lambda: not scene.rig.datapath.dead)

    play(script)


def test_a_stream_of_changes_does_not_put_the_deletion_off_for_ever(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REAP_AFTER", 0.1)
    reaped: list[int] = []

    def reap(self: FakeDatapath) -> int:
        reaped.append(len(self.dead))
        return 0

    monkeypatch.setattr(FakeDatapath, "reap", reap)

    async def script(scene: Scene) -> None:
        channel = await scene.settled()
        ways = cycle([(TWO, ROUTER), (ROUTER, TWO)])
        for revision in range(2, 100):
            channel.send(delta(*next(ways), revision))
            assert await said(channel) == Report(revision)
            await asyncio.sleep(0.01)
        assert len(reaped) > 1

    play(script)


def test_a_deletion_that_fails_is_tried_again(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(scene: Scene) -> None:
        channel, tries = await scene.settled(), []

        def reap() -> int:
            tries.append(1)
            if len(tries) == 1:
                raise OSError(16, "Device or resource busy")
            return 0

        monkeypatch.setattr(scene.rig.datapath, "reap", reap)
        channel.send(delta(TWO, ROUTER))
        assert await said(channel) == Report(2)
        await until(lambda: len(tries) == 2)

    play(script)


def test_an_audit_finds_what_no_news_told(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AUDIT_EVERY", 0.1)

    async def script(scene: Scene) -> None:
        await scene.settled()
        del scene.rig.datapath.state["br-red"]
        scene.rig.guests.running.clear()
        await until(lambda: scene.rig.is_as(TWO))

    play(script)
