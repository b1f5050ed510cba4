"""Users beside root, and what each role may send."""

from datetime import timedelta

import pytest

from tests.verbs.world import ABSENT, World
from xenet.model.errors import Failure
from xenet.model.hidden import Operation
from xenet.model.subject import Subject
from xenet.model.task import Task
from xenet.model.types import NULL
from xenet.server.builtin import BUILTIN
from xenet.verbs.catalogue import MESSAGES
from xenet.verbs.subject import POOL_ADMIN, POOL_OPERATOR, READ_ONLY, ROLES, check_permission, ensure_roles, needed_role, role_ref
from xenet.verbs.task import FORGOTTEN, KEPT, sweep


@pytest.fixture
def world() -> World:
    world = World()
    world.host("host1", "eth0")
    world.take(ensure_roles(world.frame("start")))
    return world


def test_roles_are_there_once_and_contain_each_other(world: World) -> None:
    before = world.state
    world.take(ensure_roles(world.frame("start")))
    assert world.state is before
    assert world.call("role.get_permissions_name_label", role_ref(POOL_OPERATOR)) == [READ_ONLY, POOL_OPERATOR]
    assert world.call("role.get_by_name_label", POOL_ADMIN) == [role_ref(POOL_ADMIN)]


def test_a_subject_gets_roles_and_loses_them(world: World) -> None:
    ann = world.call("subject.create", {"subject_identifier": "ann", "other_config": {"subject-name": "Ann"}})
    world.call("subject.add_to_roles", ann, role_ref(READ_ONLY))
    assert world.refusal("subject.add_to_roles", ann, role_ref(READ_ONLY)) == ["ROLE_ALREADY_EXISTS"]
    assert world.refusal("subject.add_to_roles", ann, ABSENT) == ["ROLE_NOT_FOUND"]
    assert world.call("subject.get_permissions_name_label", ann) == [READ_ONLY]
    for name in ("ann", "Ann"):
        assert world.refusal("subject.create", {"subject_identifier": name}) == ["SUBJECT_ALREADY_EXISTS"]
    for name in ("", "root"):
        assert world.refusal("subject.create", {"subject_identifier": name}) == ["INVALID_VALUE", "subject_identifier", name]
    world.call("subject.remove_from_roles", ann, role_ref(READ_ONLY))
    assert world.refusal("subject.remove_from_roles", ann, role_ref(READ_ONLY)) == ["ROLE_NOT_FOUND"]
    world.call("subject.destroy", ann)
    assert world.state.count(Subject) == 0


READS = (
    "message.get",
    "message.get_since",
    "VM.get_record",
    "network.get_all_records",
    "event.from",
    "event.inject",
    "session.logout",
    "task.create",
    "VM.assert_can_boot_here",
)
WRITES = ("VIF.plug", "network.create", "pool.set_name_label", "VM.set_memory", "host.disable", "session.logout_subject_identifier", "task.cancel")
USERS = ("subject.create", "subject.add_to_roles", "subject.set_password", "subject.destroy")


def test_each_message_needs_the_narrowest_role_that_it_can() -> None:
    every = {**MESSAGES, **BUILTIN}
    for role, names in ((READ_ONLY, READS), (POOL_OPERATOR, WRITES), (POOL_ADMIN, USERS)):
        assert {name: needed_role(every[name]) for name in names} == dict.fromkeys(names, role)


def test_what_anybody_may_send_changes_nothing() -> None:
    """Of all messages: setters, creators and their like are for none with read-only."""
    changing = ("set_", "add_", "remove_", "create", "destroy", "plug", "unplug", "move", "start", "migrate", "reconfigure", "forget", "introduce")
    allowed = [m.full_name for m in (*MESSAGES.values(), *BUILTIN.values()) if needed_role(m) == READ_ONLY and m.cls not in ("session", "event")]
    assert [name for name in allowed if name.partition(".")[2].startswith(changing)] == ["task.create"]


@pytest.mark.parametrize(("role", "plug", "users"), [(READ_ONLY, False, False), (POOL_OPERATOR, True, False), (POOL_ADMIN, True, True)])
def test_a_role_allows_what_it_says(world: World, role: str, plug: bool, users: bool) -> None:
    ann = world.call("subject.create", {"subject_identifier": "ann"})
    world.call("subject.add_to_roles", ann, role_ref(role))
    check_permission(world.state, ann, MESSAGES["VIF.get_record"])
    for name, allowed in (("VIF.plug", plug), ("subject.create", users)):
        if allowed:
            check_permission(world.state, ann, MESSAGES[name])
            continue
        with pytest.raises(Failure) as refused:
            check_permission(world.state, ann, MESSAGES[name])
        assert refused.value.code == "RBAC_PERMISSION_DENIED"
        assert refused.value.params[0] == name.lower()
        assert set(list(ROLES)[-1:]) <= set(refused.value.params[1].rstrip(")").split(": ")[1].split(", "))


def test_who_has_no_role_or_is_gone_may_nothing(world: World) -> None:
    ann = world.call("subject.create", {"subject_identifier": "ann"})
    for subject in (ann, ABSENT, NULL):
        with pytest.raises(Failure, match="RBAC_PERMISSION_DENIED"):
            check_permission(world.state, subject, MESSAGES["VIF.get_record"])


def test_tasks_that_nobody_came_back_for(world: World) -> None:
    left, read = (world.call("task.create", name, "") for name in ("left", "read"))
    world.call("task.set_status", read, "success")
    world.now += KEPT + timedelta(seconds=1)
    world.take(sweep(world.frame("sweep")))
    assert [task.ref for task in world.state.all(Task)] == [left]
    world.now += FORGOTTEN
    world.take(sweep(world.frame("sweep")))
    assert world.state.get(Task, left).status == "failure"
    world.now += KEPT + timedelta(seconds=1)
    world.take(sweep(world.frame("sweep")))
    assert world.state.count(Task) == 0


def test_the_task_of_an_operation_is_the_operations(world: World) -> None:
    _, (vif,) = world.running(world.network(), on=next(iter(world.state.tables["host"])))
    world.start("VIF.unplug", vif)
    world.now += FORGOTTEN + KEPT
    world.take(sweep(world.frame("sweep")))
    (operation,) = world.state.all(Operation)
    assert world.state.get(Task, operation.task).status == "pending"
