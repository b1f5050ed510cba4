"""VM.migrate_send to a host of another pool, for a VM that runs: what the pool that it leaves decides.

No commit spans two pools, but the guest itself is never in two places: its QEMU runs on here until it has handed all of it over, and that one
knows. Until then this pool decides; from then on what the other one says is so. First the other pool awaits the guest. Then it goes. Where that
fails, or takes too long, the host shall say that the guest stays; where it cannot, since it was handed over, the other pool's word is waited for,
however long that takes: `runs` ends the VM here, `gone` has it go on here. Where it can, that word is waited for as long as a host's: a QEMU whose
connection breaks in the very moment in which the other one begins takes itself for the one that stays. server/crossing.py does the asking.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from xenet.model.change import Draft
from xenet.model.errors import bad_power_state, not_allowed
from xenet.model.guests import KEY, default_kind, kind_of
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.attach import check_live
from xenet.verbs.boot import COPIED
from xenet.verbs.call import Call, Errand, Further, Work
from xenet.verbs.cross_in import digest
from xenet.verbs.migrate_out import Texts, errand_of, mapped
from xenet.verbs.vm import remove, take_domid

NOT_OURS = "the hypervisor that uses the VM's taps is not xenet's, so xenet cannot move the VM"
CANNOT_LEAVE = "the VM is a network namespace, which cannot leave its machine"
_NOT_YET_KNOWN = "?"


def ask_live(call: Call, vm: VM, dest: Texts, vif_map: Mapping[Ref, Ref], options: Texts) -> Errand:
    """Whether it could go: nothing changes. Raises VIF_NOT_IN_MAP [vif], VM_BAD_POWER_STATE for a copy, OPERATION_NOT_ALLOWED, HOST_OFFLINE,
    INVALID_VALUE [dest, text], and what the other pool says (VM.receive_live)."""
    return _errand(call, "VM.assert_can_receive_live", vm, dest, vif_map, options)


def send_live(call: Call, vm: VM, dest: Texts, vif_map: Mapping[Ref, Ref], options: Texts) -> Errand:
    """The result is the VM's reference there; of a task what the move has cost, where the other pool says its half of that. Raises what `ask_live`
    raises."""
    ticket = call.entropy.bytes(16).hex()
    errand = _errand(call, "VM.receive_live", vm, dest, vif_map, {**options, "ticket": digest(ticket)})
    work = Work(call)
    journey = take_domid(work)

    def goes(draft: Draft) -> None:
        draft.update(vm, crossing="goes", way=_NOT_YET_KNOWN, peer_domid=journey)

    def stays(draft: Draft) -> None:
        draft.update(vm, crossing="stays")

    def is_gone(draft: Draft) -> None:
        draft.update(vm, crossing="goes")

    def is_here(draft: Draft) -> None:
        draft.update(vm, crossing="")

    def done(draft: Draft) -> None:
        remove(draft, draft.state.get(VM, vm.ref))

    here = (vm.resident_on,)
    back = (Further(here, stays, "ever", back=(Further((), is_gone, "ever"),)), Further((), is_here))
    doing = [(vm, "migrate_send"), *((vif, "attach") for vif in call.state.where(VIF, "VM", vm.ref))]
    abroad = {"url": errand.to.url, "host": errand.to.host, "ticket": ticket}
    going = Further((), goes, "undo", back, here, longer=vm.memory_static_max / COPIED)
    hold = work.await_hosts((), doing, done, then=(going,), cancellable=True, abroad=abroad)
    return msgspec.structs.replace(errand, hold=hold, live=True)


def _errand(call: Call, method: str, vm: VM, dest: Texts, vif_map: Mapping[Ref, Ref], options: Texts) -> Errand:
    mapped(call.state, vm, vif_map)
    if options.get("copy") == "true":
        raise bad_power_state(vm.ref, "halted", vm.power_state)
    kind = kind_of(vm, default_kind(call.state))
    if kind != "qemu":
        raise not_allowed(NOT_OURS if kind == "tap" else CANNOT_LEAVE)
    check_live(call.state, vm.resident_on)
    address = urlsplit(dest.get("xenops", "")).hostname or ""
    sent = msgspec.structs.replace(vm, other_config={**vm.other_config, KEY: kind})
    return errand_of(call, method, sent, dest, vif_map, {**options, "address": address})
