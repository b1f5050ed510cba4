"""What a host's report means for the pool: operations end, PIFs are up or not, facts are noted."""

from collections.abc import Mapping

import msgspec

from xenet.model.change import Change
from xenet.model.hidden import NIC, BondLinks, Claim, ForeignBridge, Heard, HostFacts, Lease, Operation
from xenet.model.pif import PIF
from xenet.model.types import Ref, ref_of
from xenet.model.vm import COMES, VM
from xenet.verbs.addresses import note_leases, note_leases6
from xenet.verbs.adopt import refresh_metrics
from xenet.verbs.bond_links import note_bonds
from xenet.verbs.call import Call, Ended, Work
from xenet.verbs.claims import note_claims
from xenet.verbs.operation import STRICT, advance, fail, failure_of
from xenet.verbs.settle import settle
from xenet.verbs.snooping import status_of
from xenet.verbs.tunnel import note_tunnels
from xenet.verbs.unmanaged import note_unmanaged


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
    bridges: tuple[ForeignBridge, ...] | None = None
    heard: tuple[Heard, ...] = ()
    claims: Mapping[str, tuple[Claim, ...]] | None = None
    lacking: Mapping[str, str] = {}
    """Of the failures, the VMs that a file is missing for: its kind in plan.machine.files_of."""


def take_report(call: Call, host: Ref, news: News) -> tuple[Change, list[Ended]]:
    """What a host's report changes, and the operations that it ends."""
    work = Work(call)
    revision, pending = news.revision, {ref_of(uuid) for uuid in news.pending}
    failed = {ref_of(uuid): text for uuid, text in news.failures.items()}
    lacking = {ref_of(uuid): kind for uuid, kind in news.lacking.items()}
    down = _without_switch(work, host, failed)
    _note_facts(work, host, news)
    note_leases(work, host, news.leases or {})
    note_leases6(work, host, news.leases6 or {})
    note_claims(work, host, news.claims or {}, call.now)
    _note_pifs(work, host, revision, down)
    ended = []
    for known in list(call.state.all(Operation)):
        operation = _note_heard(work, known, news.heard)
        if host in operation.waiting and operation.since <= revision and pending.isdisjoint(operation.objects):
            failure = failure_of(work, operation, {**failed, **down}, lacking) if operation.mercy in STRICT else None
            ended += fail(work, operation, failure) if failure else advance(work, operation, (host,))
        elif host in operation.heeds and operation.since <= revision and (failure := failure_of(work, operation, failed, lacking)):
            ended += fail(work, operation, failure)
    note_tunnels(work, host)
    settle(work)
    return work.change(), ended


def _note_facts(work: Work, host: Ref, news: News) -> None:
    """What the host found out about its NICs, its bonds and the bridges of others."""
    facts = work.state.find(HostFacts, host)
    if facts is None:
        return
    if news.nics is not None:
        work.update(facts, nics=news.nics)
        refresh_metrics(work, host, work.call.now)
        note_unmanaged(work, host)
    if news.bridges is not None:
        work.update(facts, bridges=news.bridges)
    if news.bonds is not None:
        work.update(facts, bonds=news.bonds)
    note_bonds(work, host, {links.device: links for links in facts.bonds})


def _note_heard(work: Work, operation: Operation, heard: tuple[Heard, ...]) -> Operation:
    """What was heard of a VM that comes from another pool is for that one to compare. Of one that has gone there, the operation knows its VIFs by
    what that pool has heard."""
    its = tuple(post for post in heard if ref_of(post.vif) in operation.objects or any(post.vif == known.vif for known in operation.heard))
    if not its:
        return operation
    if vm := next((vm for ref in operation.objects if (vm := work.state.find(VM, ref)) and vm.crossing in COMES), None):
        work.update(vm, heard=(*vm.heard, *its))
        return operation
    return work.update(operation, heard=(*operation.heard, *its))


def _without_switch(work: Work, host: Ref, failed: Mapping[Ref, str]) -> dict[Ref, str]:
    """The host's PIFs whose network's switch failed: they are down. (A PIF that merely got no address by DHCP is up.)"""
    return {pif.ref: failed[pif.network] for pif in work.state.where(PIF, "host", host) if pif.network in failed}


def _note_pifs(work: Work, host: Ref, revision: int, down: Mapping[Ref, str]) -> None:
    """PIF.currently_attached follows what the host has, operation or not: PIFs also come up by themselves at start."""
    if revision < work.base.revision and any(host in op.waiting for op in work.base.all(Operation)):
        return
    for pif in work.state.where(PIF, "host", host):
        up = pif.plugged and pif.ref not in down
        igmp = status_of(work.state, pif, up and pif.managed)
        if pif.managed and (pif.currently_attached, pif.igmp_snooping_status) != (up, igmp):
            work.update(pif, currently_attached=up, igmp_snooping_status=igmp)
