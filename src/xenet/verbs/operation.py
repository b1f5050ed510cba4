"""What becomes of an operation: it goes on when its hosts have done what they had to, ends, or is taken back."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

import msgspec

from xenet.model.change import Change, Draft
from xenet.model.classes import STORED
from xenet.model.errors import Failure, internal
from xenet.model.hidden import Edit, Heard, Operation, Phase
from xenet.model.host import Host
from xenet.model.pif import PIF
from xenet.model.task import Task
from xenet.model.types import EMPTY, NULL, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.attach import is_live
from xenet.verbs.boot import missing_file
from xenet.verbs.call import PATIENCE, Call, Ended, Work, xml_result
from xenet.verbs.management import note_address
from xenet.verbs.measure import measured
from xenet.verbs.settle import settle
from xenet.verbs.snooping import VERB as SNOOPING
from xenet.verbs.stack import find_left

STRICT, _PATIENT = ("undo", "hold", "ever"), ("wait", "hold", "ever")
"""Mercies by which a failure is one, and by which a silent host has time."""


def give_up(call: Call, operation: Ref, failure: Failure, host: Ref | None = None) -> tuple[Change, list[Ended]]:
    """An operation of which a host died (`host`), or whose time is over: everything is taken back, where nothing else was said."""
    work = Work(call)
    found = call.state.find(Operation, operation)
    ended: list[Ended] = []
    if found and found.mercy != "ever" and not (host and found.mercy in _PATIENT):
        ended = fail(work, found, failure) if found.mercy in STRICT else advance(work, found, (host,) if host else found.waiting)
    settle(work)
    return work.change(), ended


def fulfil(call: Call, operation: Ref, result: str) -> tuple[Change, list[Ended]]:
    """An operation that waits for no host but for another pool, which has agreed; nothing ends where the operation has been given up."""
    work = Work(call)
    found = call.state.find(Operation, operation)
    ended = _end(work, msgspec.structs.replace(found, result=xml_result(result)), None) if found else []
    settle(work)
    return work.change(), ended


def arrived_abroad(call: Call, operation: Ref, heard: Mapping[int, Heard] = EMPTY) -> tuple[Change, list[Ended]]:
    """A VM on its way now runs in another pool, so it is here no more. Where that pool says what its host `heard`, by the VIF's device, the call
    ends when the host here has let go and said what it heard itself; where not, at once. What is left of the operation, with no objects, is that
    the other pool has yet to hear of it: `forget` it then."""
    work = Work(call)
    found = call.state.find(Operation, operation)
    if found is None or not found.objects:
        return Change(), []
    vm = work.state.get(VM, found.objects[0])
    vifs = {int(vif.device): vif.uuid for vif in work.state.where(VIF, "VM", vm.ref)}
    theirs = tuple(msgspec.structs.replace(post, vif=vifs[device], coming=True) for device, post in heard.items() if device in vifs)
    waits = bool(theirs) and is_live(work.state, work.state.get(Host, vm.resident_on))
    replay(work, found.done)
    plain = {"objects": (), "done": (), "undo": (), "back": (), "then": (), "heeds": (), "failure": (), "mercy": "skip"}
    now = {"since": work.base.revision + 1, "deadline": call.now + PATIENCE, "waiting": (vm.resident_on,) if waits else ()}
    left = work.update(found, abroad={**found.abroad, "vm": vm.ref}, result=xml_result(vm.ref), heard=theirs, **plain, **now)
    ended = [] if waits else _end(work, left, None)
    settle(work)
    return work.change(), ended


def forget(call: Call, operation: Ref) -> Change:
    """There is nothing more to say about it to the other pool; its host here may still have to answer."""
    work = Work(call)
    found = call.state.find(Operation, operation)
    if found and found.waiting:
        work.update(found, abroad=EMPTY)
    elif found:
        work.delete(found)
    return work.change()


def forsake(call: Call, operation: Ref, why: str) -> tuple[Change, list[Ended]]:
    """The operation of a VM on its way, of which somebody who knows says that it has failed, whatever else it waits for. What it failed of before
    stays the reason."""
    work = Work(call)
    found = call.state.find(Operation, operation)
    vm = call.state.find(VM, found.objects[0]) if found and found.objects else None
    ended = fail(work, msgspec.structs.replace(found, back=()), migrate_failed(vm, found, why)) if found and vm else []
    settle(work)
    return work.change(), ended


def set_out(call: Call, operation: Ref, way: str) -> Change | None:
    """Another pool awaits the guest of the VM there: the next phase. None where the operation has been given up."""
    work = Work(call)
    found = call.state.find(Operation, operation)
    if found is None:
        return None
    _enter(work, found, found.then[0], found.then[1:])
    work.update(work.state.get(VM, found.objects[0]), way=way)
    settle(work)
    return work.change()


def failure_of(work: Work, operation: Operation, failed: Mapping[Ref, str], lacking: Mapping[Ref, str]) -> Failure | None:
    """What the first of its objects that failed means for the caller; of one in `lacking` a file of that kind is missing."""
    for ref in (*operation.objects, *operation.needs):
        if ref in failed:
            if operation.verb == SNOOPING:
                return Failure("COULD_NOT_UPDATE_IGMP_SNOOPING_EVERYWHERE")
            if work.state.find(PIF, ref) is not None:
                gone = {edit.ref for edit in operation.undo if edit.after is None}
                return Failure("PIF_CONFIGURATION_ERROR", find_left(work.state, ref, gone.__contains__), failed[ref])
            vm = work.state.find(VM, ref)
            return missing_file(vm, lacking[ref]) if vm and ref in lacking else internal(failed[ref])
    return None


def advance(work: Work, operation: Operation, hosts: Iterable[Ref]) -> list[Ended]:
    """These hosts are done. After the last one comes the next phase, or the end."""
    left = tuple(host for host in operation.waiting if host not in hosts)
    if left:
        work.update(operation, waiting=left)
        return []
    if operation.then:
        return _enter(work, operation, operation.then[0], operation.then[1:])
    return _end(work, operation, Failure(*operation.failure) if operation.failure else None)


def fail(work: Work, operation: Operation, failure: Failure) -> list[Ended]:
    """Take everything back, by the phases that lead there."""
    first = Failure(*operation.failure) if operation.failure else failure
    if not operation.back:
        return _end(work, operation, first)
    return _enter(work, work.update(operation, failure=tuple(first.description)), operation.back[0], operation.back[1:])


def _enter(work: Work, operation: Operation, phase: Phase, then: tuple[Phase, ...]) -> list[Ended]:
    replay(work, phase.enter)
    if task := work.state.find(Task, operation.task):
        left = 1 + len(then)
        work.update(task, allowed_operations=("destroy",), progress=1.0 - (1.0 - task.progress) * left / (left + 1))
    dead = tuple(host for host in phase.waiting if not is_live(work.state, work.state.get(Host, host)))
    answered = [Ended(operation.ref, None)] if phase.answers else []
    entered = work.update(
        operation,
        waiting=phase.waiting,
        since=work.base.revision + 1,
        deadline=work.call.now + PATIENCE + timedelta(seconds=phase.longer),
        mercy=phase.mercy,
        undo=phase.undo,
        back=phase.back,
        heeds=phase.heeds,
        then=then,
    )
    if dead and phase.mercy == "undo":
        return fail(work, entered, Failure("CANNOT_CONTACT_HOST", dead[0]))
    return [*answered, *(advance(work, entered, dead) if dead and phase.mercy == "skip" else ())]


def _end(work: Work, operation: Operation, failure: Failure | None) -> list[Ended]:
    if operation.heard:
        operation = msgspec.structs.replace(operation, result=_with_figures(operation))
    replay(work, operation.undo if failure else operation.done)
    if "vm" in operation.abroad:  # the other pool has yet to hear of it
        work.update(operation, waiting=(), mercy="ever", heard=(), task=NULL)
    else:
        work.delete(operation)
    for pif in filter(None, (work.state.find(PIF, ref) for ref in operation.objects)):
        note_address(work, pif.host)  # the management interface may have moved or changed meanwhile
    _end_task(work, operation, failure)
    return [Ended(operation.ref, failure)]


def _with_figures(operation: Operation) -> str:
    """The result of a migration with what it has cost. The reference that VM.migrate_send answers stands in it as `VM`, so that a client that
    looks for one in the text finds it."""
    figures = measured(operation.heard)
    answer = operation.result.removeprefix("<value>").removesuffix("</value>")
    return xml_result({**({"VM": answer} if answer else {}), **figures}) if figures else operation.result


def replay(draft: Draft, edits: Iterable[Edit]) -> None:
    """Write edits made earlier into a draft. The records were locked since, so only what others may not touch is set;
    a record that is gone stays gone."""
    for edit in edits:
        cls = STORED[edit.cls]
        current = draft.state.find(cls, edit.ref)
        if edit.before is None:
            draft.put(cls(**(edit.after or {})))
        elif current is not None and edit.after is None:
            draft.delete(current)
        elif current is not None:
            draft.update(current, **(edit.after or {}))


def _end_task(work: Work, operation: Operation, failure: Failure | None) -> None:
    task = work.state.find(Task, operation.task)
    if task is None:
        return
    if not operation.keep_task:
        work.delete(task)
    elif failure is None:
        work.update(task, status="success", progress=1.0, finished=work.call.now, result=operation.result, allowed_operations=("destroy",))
    else:
        status = "cancelled" if failure.code == "TASK_CANCELLED" else "failure"
        ended = {"status": status, "progress": 1.0, "finished": work.call.now, "allowed_operations": ("destroy",)}
        work.update(task, **ended, error_info=tuple(failure.description))


def timeout_failure(call: Call, operation: Operation) -> Failure:
    """What XenServer says when a device does not come or go in time. Nothing is said of it where a host is silent; and VIFs that move to a bond
    with its PIFs, or with their VM, are not to blame."""
    state = call.state
    if silent := next((host for host in operation.waiting if not is_live(state, state.get(Host, host))), None):
        return Failure("CANNOT_CONTACT_HOST", silent)
    if vm := next((vm for ref in operation.objects if (vm := state.find(VM, ref)) and (vm.peer != NULL or vm.crossing or operation.abroad)), None):
        return migrate_failed(vm, operation, "not in time")
    vif = next((ref for ref in operation.objects if state.find(VIF, ref) is not None), None)
    if vif is None or any(state.find(PIF, ref) is not None for ref in operation.objects):
        return Failure("CANNOT_CONTACT_HOST", *operation.waiting[:1])
    code = "DEVICE_DETACH_TIMEOUT" if operation.verb == "VIF.unplug" else "DEVICE_ATTACH_TIMEOUT"
    return Failure(code, "VIF", vif)


def migrate_failed(vm: VM, operation: Operation, why: str) -> Failure:
    return Failure("VM_MIGRATE_FAILED", vm.ref, vm.resident_on, operation.abroad.get("host", vm.scheduled_to_be_resident_on), why)
