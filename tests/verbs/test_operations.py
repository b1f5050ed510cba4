"""Operations: what a host's report, its death, the end of their time and the end of their task mean for them."""

from datetime import timedelta

import pytest

from tests.verbs.world import World
from xenet.model.errors import Failure
from xenet.model.hidden import Operation
from xenet.model.task import EPOCH, Task
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.call import PATIENCE
from xenet.verbs.operation import timeout_failure
from xenet.verbs.report import News, take_report


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0")


@pytest.fixture
def vif(world, host):
    """Unplugged, of a running VM."""
    _, (vif,) = world.running(world.network(), on=host)
    world.call("VIF.unplug", vif)
    return vif


def operation(world: World) -> Operation:
    (only,) = world.state.all(Operation)
    return only


def test_an_older_report_does_not_count(world, host, vif):
    before = world.state.revision
    world.start("VIF.plug", vif)
    change, ended = take_report(world.frame("report"), host, News(before))
    world.commit(change)
    assert ended == []
    assert not world.get(VIF, vif).currently_attached
    (end,) = world.report(host)
    assert end.failure is None


def test_another_hosts_report_does_not_count(world, host, vif):
    other = world.host("other", "eth0")
    world.start("VIF.plug", vif)
    assert world.report(other) == []
    assert operation(world).waiting == (host,)


def test_a_failure_elsewhere_does_not_count(world, host, vif):
    world.start("VIF.plug", vif)
    (end,) = world.report(host, {Ref("OpaqueRef:another"): "no"})
    assert end.failure is None


def test_a_dead_host_takes_its_operations_back(world, host, vif):
    world.start("VIF.plug", vif)
    world.leave(host)
    assert world.state.count(Operation) == 0
    assert not world.get(VIF, vif).plugged
    assert world.get(VIF, vif).current_operations == {}


@pytest.mark.parametrize(("verb", "code"), [("VIF.plug", "DEVICE_ATTACH_TIMEOUT"), ("VIF.unplug", "DEVICE_DETACH_TIMEOUT")])
def test_the_error_of_a_vif_that_takes_too_long(world, host, vif, verb, code):
    if verb == "VIF.unplug":
        world.call("VIF.plug", vif)
    world.start(verb, vif)
    assert operation(world).deadline == world.now + PATIENCE
    assert timeout_failure(world.frame("time-out"), operation(world)).description == [code, "VIF", vif]


def test_the_error_of_a_pif_that_takes_too_long(world, host):
    world.start("PIF.unplug", world.pif(host, world.external(0)))
    assert timeout_failure(world.frame("time-out"), operation(world)).description == ["CANNOT_CONTACT_HOST", host]


def test_what_is_written_meanwhile_stays(world, host, vif):
    """An undo sets the fields that the call had set and no others."""
    vm = world.get(VIF, vif).VM
    for failures in ({}, {vm: "no"}):
        world.start("VM.clean_reboot", vm)
        world.call("VM.set_name_label", vm, f"name {len(failures)}")
        world.call("VIF.set_other_config", vif, {"k": str(len(failures))})
        world.report(host, failures)
        assert world.get(VM, vm).name_label == f"name {len(failures)}"
        assert world.get(VIF, vif).other_config == {"k": str(len(failures))}


def test_a_record_that_went_meanwhile_stays_gone(world, host, vif):
    world.start("VIF.plug", vif)
    found = operation(world)
    world.give_up(found.ref, Failure("CANNOT_CONTACT_HOST", host))
    assert world.give_up(found.ref, Failure("CANNOT_CONTACT_HOST", host)) == []


# --- tasks ---------------------------------------------------------------------------------------------------------------


def test_the_task_of_a_synchronous_call_goes_with_it(world, host, vif):
    world.start("VIF.plug", vif)
    assert world.state.count(Task) == 1
    world.report(host)
    assert world.state.count(Task) == 0


@pytest.mark.parametrize("fails", [False, True])
def test_the_task_of_an_asynchronous_call_tells_its_end(world, host, vif, fails):
    world.start("VIF.plug", vif, asynchronous=True)
    task = world.get(Task, operation(world).task)
    assert (task.name_label, task.status, task.progress, task.finished, task.resident_on) == ("Async.VIF.plug", "pending", 0.0, EPOCH, host)
    world.later(2)
    world.report(host, {vif: "no"} if fails else {})
    task = world.get(Task, task.ref)
    assert task.status == ("failure" if fails else "success")
    assert task.error_info == (("INTERNAL_ERROR", "no") if fails else ())
    assert task.finished == task.created + timedelta(seconds=2)
    assert task.progress == 1.0
    world.call("task.destroy", task.ref)
    assert world.state.count(Task) == 0


def test_a_task_under_way_is_destroyed_with_its_end(world, host, vif):
    world.start("VIF.plug", vif, asynchronous=True)
    task = operation(world).task
    world.call("task.destroy", task)
    assert world.get(Task, task).status == "pending"
    world.report(host)
    assert world.state.count(Task) == 0


def test_a_task_under_way_cannot_be_cancelled(world, host, vif):
    world.start("VIF.plug", vif, asynchronous=True)
    assert world.refusal("task.cancel", operation(world).task)[0] == "OPERATION_NOT_ALLOWED"


def test_a_clients_own_task(world, host):
    ref = world.call("task.create", "label", "description")
    task = world.get(Task, ref)
    assert (task.name_label, task.name_description, task.status) == ("label", "description", "pending")
    assert set(task.allowed_operations) == {"cancel", "destroy"}
    world.call("task.set_progress", ref, 0.5)
    world.call("task.set_result", ref, "<value/>")
    world.call("task.set_error_info", ref, ("A", "b"))
    world.call("task.add_to_other_config", ref, "k", "v")
    assert world.refusal("task.add_to_other_config", ref, "k", "w") == ["MAP_DUPLICATE_KEY", "task", "other_config", ref, "k"]
    world.later(1)
    world.call("task.set_status", ref, "success")
    task = world.get(Task, ref)
    assert (task.progress, task.result, task.error_info, task.other_config) == (0.5, "<value/>", ("A", "b"), {"k": "v"})
    assert (task.status, task.finished, task.allowed_operations) == ("success", world.now, ("destroy",))


def test_a_clients_own_task_is_cancelled_once(world, host):
    ref = world.call("task.create", "label", "")
    world.call("task.cancel", ref)
    assert world.get(Task, ref).status == "cancelled"
    assert world.refusal("task.cancel", ref)[0] == "OPERATION_NOT_ALLOWED"
