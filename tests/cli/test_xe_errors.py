"""What xe makes of a refusal for people: whatever parameter a reference stands in, its object is named; what is gone stays as it came."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.canned_pool import CannedPool, ref, uuid
from tests.cli.xe_runner import running
from xenet.cli.xe.errors import describe
from xenet.client import Unreachable
from xenet.model.errors import Failure

VM1, HOST2, PIF1, BOND = f"{uuid(61)} (vm1)", f"{uuid(2)} (host2)", f"{uuid(45)} (eth10)", uuid(91)
TASK = f"{uuid(95)} (Async.VM.start)"


@pytest.fixture
def call() -> Callable[..., Any]:
    pool = CannedPool()
    return lambda method, *params: pool.answer(method, ["OpaqueRef:session", *params])


@pytest.mark.parametrize(
    ("failure", "lines"),
    [
        (Failure("HOST_OFFLINE", ref(2)), [f"host: {HOST2}"]),
        (
            Failure("CANNOT_EVACUATE_HOST", f"HOST_DISABLED,{ref(2)}|VM_REQUIRES_NETWORK,{ref(61)},{ref(32)}"),
            [f"errors: HOST_DISABLED,{HOST2}|VM_REQUIRES_NETWORK,{VM1},{uuid(32)} (green)"],
        ),
        (
            Failure("OTHER_OPERATION_IN_PROGRESS", "Bond", ref(91), "{destroy}", f"{{{ref(95)},{ref(96)}}}"),
            ["class: Bond", f"object: {BOND}", "operations: {destroy}", f"tasks: {{{TASK},{uuid(96)} (Async.VM.pool_migrate)}}"],
        ),
        (
            Failure("OTHER_OPERATION_IN_PROGRESS", "host", ref(2), "{create}", f"{{{ref(95)}}}"),
            ["class: host", f"object: {HOST2}", "operations: {create}", f"tasks: {{{TASK}}}"],
        ),
        (
            Failure("VM_MIGRATE_FAILED", ref(61), ref(2), ref(2), "it fell silent"),
            [f"vm: {VM1}", f"source: {HOST2}", f"destination: {HOST2}", "why: it fell silent"],
        ),
        (Failure("OPERATION_NOT_ALLOWED", f"Current operation on VM:{ref(61)} is start"), [f"reason: Current operation on VM:{VM1} is start"]),
        (Failure("HOST_NOT_LIVE", ref(2)), [f"<extra>: {HOST2}"]),
        (Failure("HANDLE_INVALID", "VM", ref(999)), ["class: VM", f"handle: {ref(999)}"]),
        (Failure("INTERNAL_ERROR", "no VM has OpaqueRef:NULL"), ["message: no VM has OpaqueRef:NULL"]),
    ],
    ids=lambda one: one.code if isinstance(one, Failure) else "",
)
def test_references_are_named(call: Callable[..., Any], failure: Failure, lines: list[str]) -> None:
    assert describe(failure, call).splitlines()[1:] == lines


def test_a_code_that_xe_does_not_know_names_them_too(call: Callable[..., Any]) -> None:
    assert describe(Failure("NO_SUCH_CODE", ref(45), "eth10"), call) == f"Error code: NO_SUCH_CODE\nError parameters: {PIF1}, eth10\n"


def test_where_nobody_answers_any_more_the_error_is_still_shown() -> None:
    def gone(method: str, *params: Any) -> Any:
        raise Unreachable("closed")

    assert describe(Failure("HOST_OFFLINE", ref(2)), gone).splitlines()[1:] == [f"host: {ref(2)}"]


def test_a_task_shows_its_error_with_names(tmp_path: Path) -> None:
    with running(tmp_path) as xe:
        xe.pool.records["task"][ref(95)]["error_info"] = ["HOST_OFFLINE", ref(2)]
        assert xe("task-list uuid=" + uuid(95) + " params=error_info --minimal").out == f"HOST_OFFLINE; {HOST2}\n"
        assert xe("task-param-get param-name=error_info uuid=" + uuid(95)).out == f"HOST_OFFLINE; {HOST2}\n"


@pytest.mark.parametrize("words", ["vm-migrate vm=vm1 host=host2", "--progress vm-shutdown vm=vm1"])
def test_a_cancelled_task_is_named_though_it_is_destroyed_by_then(tmp_path: Path, words: str) -> None:
    with running(tmp_path) as xe:
        xe.pool.results |= {"Async.VM.pool_migrate": ref(95), "Async.VM.clean_shutdown": ref(95)}
        xe.pool.records["task"][ref(95)] |= {"status": "cancelled", "error_info": ["TASK_CANCELLED", ref(95)]}
        status, _, said = xe(words)
        assert ("task.destroy", ref(95)) in xe.pool.acts
        assert (status, said.splitlines()[-1]) == (1, f"task: {TASK}")
