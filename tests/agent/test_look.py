"""Who asks what the agent would do gets the plan and the drift of that moment; asking changes nothing, and mending goes on after it."""

import msgspec
import pytest

from tests.agent.rig import Rig, delta, snapshot
from tests.agent.scene import MOVED, TWO, Play, Scene, said, until
from tests.plan.states import STATES
from xenet.agent.look import compare, look
from xenet.link.messages import Answer, Ask, Report

TOPICS = pytest.mark.parametrize("topic", ["plan", "drift"])


def break_red(scene: Scene) -> None:
    switch = scene.rig.datapath.state["br-red"]
    scene.rig.datapath.disturb("br-red", msgspec.structs.replace(switch, ports={}, up=False))


@TOPICS
def test_nothing_to_do_is_an_empty_answer(topic: str, play: Play) -> None:
    async def script(scene: Scene) -> None:
        channel = await scene.settled()
        channel.send(Ask(1, topic, ""))
        assert await said(channel) == Answer(1, [])

    play(script)


def test_asked_before_it_is_mended_the_drift_shows_and_then_it_is_mended(play: Play) -> None:
    async def script(scene: Scene) -> None:
        channel = await scene.settled()
        break_red(scene)
        scene.loop.inbox.put_nowait(Ask(1, "plan", ""))  # in one batch with the kernel's news
        scene.loop.inbox.put_nowait(Ask(2, "drift", ""))
        plan, drift = await said(channel), await said(channel)
        assert isinstance(plan, Answer)
        assert [(row["kind"], row["object"]) for row in plan.value] == [("SetSwitch", "red"), ("CreatePort", "a.0"), ("CreatePort", "b.0")]
        assert plan.value[1]["command"].startswith("ip link add vif1.0 ")
        assert {row["reason"] for row in plan.value[1:]} == {"its VIF is plugged"}
        assert drift == Answer(
            2,
            [
                {"class": "network", "uuid": "red", "name": "br-red", "field": "up", "wanted": "true", "observed": "false"},
                {"class": "VIF", "uuid": "a.0", "name": "vif1.0", "field": "bridge", "wanted": "br-red", "observed": ""},
                {"class": "VIF", "uuid": "b.0", "name": "vif2.0", "field": "bridge", "wanted": "br-red", "observed": ""},
            ],
        )
        await until(lambda: scene.rig.is_as(TWO))
        channel.send(Ask(3, "drift", ""))
        assert await said(channel) == Answer(3, [])

    play(script)


def test_what_the_server_said_in_the_same_breath_is_in_the_plan(play: Play) -> None:
    async def script(scene: Scene) -> None:
        channel = await scene.settled()
        scene.loop.inbox.put_nowait(delta(TWO, MOVED, 2))
        scene.loop.inbox.put_nowait(Ask(1, "plan", ""))
        plan = await said(channel)
        assert isinstance(plan, Answer)
        assert "CreateSwitch" in {row["kind"] for row in plan.value}
        assert await said(channel) == Report(2)
        assert scene.rig.is_as(MOVED)

    play(script)


def test_the_plan_says_why_the_last_try_failed(play: Play) -> None:
    async def script(scene: Scene) -> None:
        scene.rig.datapath.others["br9"] = ["eth0"]
        channel = await scene.server.greeted()
        channel.send(snapshot(TWO))
        report = await said(channel)
        assert isinstance(report, Report)
        channel.send(Ask(1, "plan", ""))
        plan = await said(channel)
        assert isinstance(plan, Answer)
        assert [(row["kind"], row["failure"]) for row in plan.value] == [("AttachUplink", "eth0 belongs to br9, which is not xenet's")]

    play(script)


@TOPICS
def test_before_a_server_has_spoken_there_is_no_plan(topic: str) -> None:
    rig = Rig(theirs=("br-theirs",))
    try:
        assert look(rig.keeper, topic) == []
    finally:
        rig.close()


@pytest.mark.parametrize("name", STATES)
def test_looking_changes_nothing(name: str) -> None:
    """From the state of two VMs to any other: the plan that is shown is the plan that is carried out, and its drift is gone with it."""
    rig = Rig(theirs=("br-theirs",))
    try:
        rig.start_at(TWO)
        rig.keeper.replica.take(delta(TWO, STATES[name]))
        before = dict(rig.datapath.state), rig.guests.observe(), len(rig.datapath.done)
        steps, drifts = compare(rig.keeper)
        assert (dict(rig.datapath.state), rig.guests.observe(), len(rig.datapath.done)) == before
        assert bool(steps) == bool(drifts)
        assert (steps, drifts) == compare(rig.keeper)
        assert rig.keeper.converge() == steps
        assert rig.is_as(STATES[name])
        assert compare(rig.keeper) == ([], [])
    finally:
        rig.close()
