"""message: alerts come, are asked for by time and object, and go."""

from datetime import timedelta

import pytest

from tests.verbs.world import ABSENT, START, World
from xenet.model.errors import Failure
from xenet.model.host import Host
from xenet.model.message import Message
from xenet.model.types import ref_of
from xenet.verbs import message
from xenet.verbs.call import Work


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.get(Host, world.host("a", "eth0"))


def raised(world, host, name="bond_status_changed"):
    return world.call("message.create", name, 3, "Host", host.uuid, "text")


def test_a_message_says_what_it_was_given_and_when(world, host):
    record = world.call("message.get_record", raised(world, host))
    uuid = record.pop("uuid")
    assert record == {"name": "bond_status_changed", "priority": 3, "cls": "Host", "obj_uuid": host.uuid, "timestamp": world.now, "body": "text"}
    assert world.call("message.get_by_uuid", uuid) == ref_of(uuid)


@pytest.mark.parametrize("cls", ["Host", "VM", "SR"])
def test_a_message_about_nothing_is_refused(world, cls):
    with pytest.raises(Failure) as refused:
        world.call("message.create", "n", 1, cls, "no-such-uuid", "")
    assert refused.value.description == ["UUID_INVALID", cls, "no-such-uuid"]
    assert world.state.count(Message) == 0


def test_only_what_came_later_is_told(world, host):
    raised(world, host)
    world.now += timedelta(hours=1)
    later = raised(world, host)
    assert list(world.call("message.get_since", START)) == [later]
    assert list(world.call("message.get", "Host", host.uuid, START)) == [later]
    assert world.call("message.get", "VM", host.uuid, START) == {}
    assert len(world.call("message.get_since", START - timedelta(seconds=1))) == 2


def test_many_go_together_or_not_at_all(world, host):
    first, second = raised(world, host), raised(world, host)
    with pytest.raises(Failure) as refused:
        world.call("message.destroy_many", (first, ABSENT))
    assert refused.value.description == ["HANDLE_INVALID", "message", ABSENT]
    assert world.state.count(Message) == 2
    world.call("message.destroy_many", (first, first))
    world.call("message.destroy", second)
    assert world.state.count(Message) == 0


def test_the_oldest_goes_for_the_next(world, host, monkeypatch):
    monkeypatch.setattr(message, "MOST", 2)
    oldest = raised(world, host)
    world.now += timedelta(seconds=1)
    left = {raised(world, host), raised(world, host)}
    assert set(world.call("message.get_all")) == left
    assert oldest not in left


def test_an_alert_is_part_of_the_change_that_it_tells_of(world, host):
    call = world.frame("report")
    work = Work(call)
    made = message.alert(work, call, "pif_down", 3, host, "eth0 has no carrier")
    assert world.state.count(Message) == 0
    world.commit(work.outcome().change)
    assert world.get(Message, made.ref) == made
