"""What is learned of guests' addresses: kept beside the VIFs, shown to clients in VM_guest_metrics.networks as XenServer's guest agent has it,
and forgotten when it need not be true any more.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from xenet.model.change import Draft
from xenet.model.hidden import Claim, GuestAddresses
from xenet.model.state import PoolState
from xenet.model.types import Ref, ref_of
from xenet.model.vif import VIF
from xenet.model.vm import VM, VMGuestMetrics, born_as
from xenet.plan.claims import joined

replace = msgspec.structs.replace


def note_claims(draft: Draft, host: Ref, heard: Mapping[str, Iterable[Claim]], now: datetime) -> None:
    """What guests on this host were heard to claim, by the VIF's uuid. An address is at one VIF of a network: the last that claimed it."""
    shown: dict[Ref, None] = {}
    for uuid, claims in heard.items():
        vif = draft.state.find(VIF, ref_of(uuid))
        vm = draft.state.find(VM, vif.VM) if vif else None
        if vif is None or vm is None or not vif.plugged or host not in (vm.running_on, vm.peer):
            continue
        fresh = tuple(claims)
        known = draft.state.find(GuestAddresses, vif.ref) or GuestAddresses(uuid=vif.uuid, vif=vif.ref, network=vif.network, boot=born_as(vm))
        shown |= dict.fromkeys(_take_from_others(draft, vif, {claim.address for claim in fresh}))
        draft.put(replace(known, claims=joined(known.claims, fresh)))
        shown[vm.ref] = None
    for ref in shown:
        if _show(draft, ref):
            draft.update(draft.state.get(VMGuestMetrics, draft.state.get(VM, ref).guest_metrics), last_updated=now)


def _take_from_others(draft: Draft, vif: VIF, addresses: set[str]) -> Iterable[Ref]:
    """The VMs that lose one of these addresses."""
    for other in draft.state.where(GuestAddresses, "network", vif.network):
        if other.vif != vif.ref and any(claim.address in addresses for claim in other.claims):
            draft.update(other, claims=tuple(claim for claim in other.claims if claim.address not in addresses))
            yield draft.state.get(VIF, other.vif).VM


def follow_guests(draft: Draft) -> None:
    """Nothing is known of a guest that boots anew, nor behind a VIF that is unplugged, elsewhere or gone."""
    if not draft.base.count(GuestAddresses) and not draft.state.count(GuestAddresses):
        return
    vms: dict[Ref, None] = {}
    for ref in _concerned(draft):
        record = draft.state.find(GuestAddresses, ref)
        if record and not _holds(draft.state, record):
            draft.delete(record)
        vif = draft.state.find(VIF, ref)
        if vif:
            vms[vif.VM] = None
    for vm in vms:
        _show(draft, vm)


def _concerned(draft: Draft) -> Iterable[Ref]:
    """VIFs, of which something has changed or of whose VM."""
    found: dict[Ref, None] = {}
    for cls, ref in draft.touched():
        if cls in ("VIF", "guest_addresses"):
            found[ref] = None
        elif cls == "VM":
            found |= dict.fromkeys(draft.state.refs_where("VIF", "VM", ref))
    return found


def _holds(state: PoolState, record: GuestAddresses) -> bool:
    vif = state.find(VIF, record.vif)
    vm = state.find(VM, vif.VM) if vif else None
    return vif is not None and vm is not None and vif.plugged and (vif.network, born_as(vm)) == (record.network, record.boot)


def _show(draft: Draft, ref: Ref) -> bool:
    """Whether clients see other addresses of this VM now."""
    vm = draft.state.find(VM, ref)
    metrics = draft.state.find(VMGuestMetrics, vm.guest_metrics) if vm else None
    if metrics is None:
        return False
    networks = dict(_networks(draft.state, ref))
    if networks != metrics.networks:
        draft.update(metrics, networks=networks)
    return networks != metrics.networks


def _networks(state: PoolState, vm: Ref) -> Iterable[tuple[str, str]]:
    """`0/ip`, `0/ipv4/0`, `0/ipv6/0` ..: of each VIF by its device number, in the order in which they first came."""
    for vif in sorted(state.where(VIF, "VM", vm), key=lambda vif: int(vif.device)):
        record = state.find(GuestAddresses, vif.ref)
        addresses = [claim.address for claim in record.claims] if record else []
        four, six = ([address for address in addresses if (":" in address) == v6] for v6 in (False, True))
        yield from [(f"{vif.device}/ip", four[0])] if four else []
        yield from ((f"{vif.device}/ipv4/{number}", address) for number, address in enumerate(four))
        yield from ((f"{vif.device}/ipv6/{number}", address) for number, address in enumerate(six))
