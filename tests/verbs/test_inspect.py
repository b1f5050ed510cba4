"""What a host would do, how it differs, what is wrong with the database: asked of the right host, told with names and repairs."""

import pytest

from tests.verbs.world import ABSENT, World
from xenet.model.change import Draft
from xenet.model.hidden import Operation
from xenet.model.invariants import violations
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.task import Task
from xenet.model.types import Record, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.call import Question
from xenet.verbs.inspect import check


@pytest.fixture
def world() -> World:
    made = World()
    made.host("a", "eth0", "eth1")
    made.host("b", "eth0")
    return made


A, B = Ref("OpaqueRef:host-a"), Ref("OpaqueRef:host-b")


def uuid_of(ref: Ref) -> str:
    return ref.removeprefix("OpaqueRef:")


@pytest.mark.parametrize("topic", ["plan", "drift"])
def test_one_host_is_asked(world: World, topic: str) -> None:
    question = world.decide(f"host.get_{topic}", B)
    assert isinstance(question, Question)
    assert (question.hosts, question.topic) == ((B,), topic)
    assert question.answer({B: []}) == []
    assert world.refusal(f"host.get_{topic}", ABSENT) == ["HANDLE_INVALID", "host", ABSENT]
    world.leave(B)
    assert world.refusal(f"host.get_{topic}", B) == ["HOST_OFFLINE", B]


def test_a_plan_names_the_class_of_what_each_step_is_for(world: World) -> None:
    vm, (vif,) = world.running(world.external(0), on=A)
    network, pif = world.external(0), world.pif(A, world.external(0))
    rows = [{"kind": "k", "command": "c", "reason": "r", "object": uuid_of(ref), "failure": ""} for ref in (vm, vif, network, pif, ABSENT)]
    said = world.decide("host.get_plan", A).answer({A: rows})
    assert [row["object"] for row in said] == [
        f"VM {uuid_of(vm)}",
        f"VIF {uuid_of(vif)}",
        f"network {uuid_of(network)}",
        f"PIF {uuid_of(pif)}",
        uuid_of(ABSENT),
    ]
    assert {(row["host"], row["kind"], row["command"], row["reason"]) for row in said} == {("a", "k", "c", "r")}


def test_drift_is_told_with_the_host_it_is_of(world: World) -> None:
    row = {"class": "network", "uuid": "u", "name": "xapi0", "field": "up", "wanted": "true", "observed": "false"}
    assert world.decide("host.get_drift", A).answer({A: [row]}) == [{"host": "a", **row}]


def changed(state: PoolState, record: Record, **fields: object) -> PoolState:
    draft = Draft(state)
    draft.update(record, **fields)
    return draft.state


def test_a_pool_that_is_well_has_no_violations(world: World) -> None:
    world.running(world.network(), on=A)
    assert world.call("pool.get_violations") == []


@pytest.mark.parametrize(("plugged", "command"), [(True, "vif-plug"), (False, "vif-unplug")])
def test_a_vif_that_is_not_as_it_shall_be_can_be_mended(world: World, plugged: bool, command: str) -> None:
    _, (ref,) = world.running(world.network(), on=A)
    vif = world.get(VIF, ref)
    world.state = changed(world.state, vif, plugged=plugged, currently_attached=not plugged)
    (found,) = world.call("pool.get_violations")
    assert found["text"].startswith(f"VIF {vif.uuid}: shall be ")
    assert found["repair"] == f"xe {command} uuid={vif.uuid}"


def test_a_vif_without_its_pif_is_mended_by_a_plug(world: World) -> None:
    world.running(world.external(0), on=A)
    pif = world.get(PIF, world.pif(A, world.external(0)))
    found = check(changed(world.state, pif, plugged=False))
    assert [row["repair"] for row in found] == [f"xe pif-plug uuid={pif.uuid}"]


def test_where_there_is_no_plain_repair_none_is_named(world: World) -> None:
    vm, (vif,) = world.running(world.network(), on=A)
    state = changed(world.state, world.get(VM, vm), domid=-1)
    state = changed(state, world.get(VIF, vif), network=ABSENT)
    state = changed(state, next(state.all(Network)), bridge="xapi7")
    found = check(state)
    assert {row["text"].split()[0] for row in found} == {"VM", "VIF", "network"}
    assert {row["repair"] for row in found} == {""}


def test_an_operation_whose_task_went_with_its_server_is_well(world: World) -> None:
    vm, _ = world.running(on=A)
    world.start("VIF.plug", world.vif(vm, world.network()))
    draft = Draft(world.state)
    for task in world.state.all(Task):
        draft.delete(task)
    assert violations(draft.state) != []
    assert check(draft.state) == []
    draft.update(next(draft.state.all(Operation)), waiting=())
    assert [row["text"].partition(": ")[2] for row in check(draft.state)] == ["waits for no host"]
