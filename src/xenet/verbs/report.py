"""What a host's report means for the pool: operations end, PIFs are up or not, facts are noted."""

from collections.abc import Iterable, Mapping

import msgspec

from xenet.model.change import Change, Draft
from xenet.model.classes import STORED
from xenet.model.errors import Failure, internal
from xenet.model.hidden import NIC, BondLinks, Edit, HostFacts, Lease, Operation
from xenet.model.pif import PIF
from xenet.model.task import Task
from xenet.model.types import Ref, ref_of
from xenet.model.vif import VIF
from xenet.verbs.addresses import note_leases, note_leases6
from xenet.verbs.adopt import refresh_metrics
from xenet.verbs.allowed import refresh_allowed
from xenet.verbs.bond_links import note_bonds
from xenet.verbs.call import Call, Work
from xenet.verbs.management import note_address
from xenet.verbs.tunnel import note_tunnels
from xenet.verbs.unmanaged import note_unmanaged


class Ended(msgspec.Struct, frozen=True):
    """An operation that is over; `failure` is None when it succeeded."""

    operation: Ref
    failure: Failure | None


class News(msgspec.Struct, frozen=True):
    """A host says that it now is as `revision` wants it, but for `failures` (uuid of the object -> why) and `pending` (uuids of what
    still takes its time); and what it found out."""

    revision: int
    failures: Mapping[str, str] = {}
    nics: tuple[NIC, ...] | None = None
    leases: Mapping[str, Lease] | None = None
    leases6: Mapping[str, Lease] | None = None
    pending: tuple[str, ...] = ()
    bonds: tuple[BondLinks, ...] | None = None


def take_report(call: Call, host: Ref, news: News) -> tuple[Change, list[Ended]]:
    """What a host's report changes, and the operations that it ends."""
    work = Work(call)
    revision, pending = news.revision, {ref_of(uuid) for uuid in news.pending}
    failed = {ref_of(uuid): text for uuid, text in news.failures.items()}
    down = _without_switch(work, host, failed)
    _note_facts(work, host, news)
    note_leases(work, host, news.leases or {})
    note_leases6(work, host, news.leases6 or {})
    _note_pifs(work, host, revision, down)
    ended = []
    for operation in list(call.state.all(Operation)):
        if host in operation.waiting and operation.since <= revision and pending.isdisjoint(operation.objects):
            failure = _failure_of(work, operation, {**failed, **down})
            ended += _advance(work, operation, host, failure)
    note_tunnels(work, host)
    refresh_allowed(work)
    return work.change(), ended


def _note_facts(work: Work, host: Ref, news: News) -> None:
    """What the host found out about its NICs and bonds."""
    facts = work.state.find(HostFacts, host)
    if facts is None:
        return
    if news.nics is not None:
        work.update(facts, nics=news.nics)
        refresh_metrics(work, host, work.call.now)
        note_unmanaged(work, host)
    if news.bonds is not None:
        work.update(facts, bonds=news.bonds)
    note_bonds(work, host, {links.device: links for links in facts.bonds})


def _without_switch(work: Work, host: Ref, failed: Mapping[Ref, str]) -> dict[Ref, str]:
    """The host's PIFs whose network's switch failed: they are down. (A PIF that merely got no address by DHCP is up.)"""
    return {pif.ref: failed[pif.network] for pif in work.state.where(PIF, "host", host) if pif.network in failed}


def give_up(call: Call, operation: Ref, failure: Failure) -> tuple[Change, list[Ended]]:
    """An operation whose host died or whose time is over: everything is taken back."""
    work = Work(call)
    found = call.state.find(Operation, operation)
    ended = _end(work, found, failure) if found else []
    refresh_allowed(work)
    return work.change(), ended


def _note_pifs(work: Work, host: Ref, revision: int, down: Mapping[Ref, str]) -> None:
    """PIF.currently_attached follows what the host has, operation or not: PIFs also come up by themselves at start."""
    if revision < work.base.revision and any(host in op.waiting for op in work.base.all(Operation)):
        return
    for pif in work.state.where(PIF, "host", host):
        up = pif.plugged and pif.ref not in down
        if pif.managed and pif.currently_attached != up:
            work.update(pif, currently_attached=up)


def _failure_of(work: Work, operation: Operation, failed: Mapping[Ref, str]) -> Failure | None:
    for ref in (*operation.objects, *operation.needs):
        if ref in failed:
            if work.state.find(PIF, ref) is not None:
                return Failure("PIF_CONFIGURATION_ERROR", ref, failed[ref])
            return internal(failed[ref])
    return None


def _advance(work: Work, operation: Operation, host: Ref, failure: Failure | None) -> list[Ended]:
    left = tuple(h for h in operation.waiting if h != host)
    if left and failure is None:
        work.update(operation, waiting=left)
        return []
    return _end(work, operation, failure)


def _end(work: Work, operation: Operation, failure: Failure | None) -> list[Ended]:
    replay(work, operation.undo if failure else operation.done)
    work.delete(operation)
    for pif in filter(None, (work.state.find(PIF, ref) for ref in operation.objects)):
        note_address(work, pif.host)  # the management interface may have moved or changed meanwhile
    _end_task(work, operation, failure)
    return [Ended(operation.ref, failure)]


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
        work.update(task, status="success", progress=1.0, finished=work.call.now, result=operation.result)
    else:
        work.update(task, status="failure", progress=1.0, finished=work.call.now, error_info=tuple(failure.description))


def timeout_failure(call: Call, operation: Operation) -> Failure:
    """What XenServer says when a device does not come or go in time."""
    vif = next((ref for ref in operation.objects if call.state.find(VIF, ref) is not None), None)
    if vif is None:
        return Failure("CANNOT_CONTACT_HOST", *operation.waiting[:1])
    code = "DEVICE_DETACH_TIMEOUT" if operation.verb == "VIF.unplug" else "DEVICE_ATTACH_TIMEOUT"
    return Failure(code, "VIF", vif)
