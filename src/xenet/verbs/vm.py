"""VM: create, destroy, start, shut down, reboot. What a VM is here (a namespace, taps, a machine of QEMU's) is its host's affair."""

from collections.abc import Iterable
from typing import Annotated, Any

from xenet.model.change import Draft
from xenet.model.errors import Failure, not_allowed
from xenet.model.hidden import Operation
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.task import EPOCH
from xenet.model.types import NULL, HostRef, OfRecord, Record, Ref, StrSet, VMRef
from xenet.model.vif import VIF
from xenet.model.vm import COMES, VM, VMGuestMetrics, VMMetrics
from xenet.verbs.allowed import check_free, check_vm
from xenet.verbs.attach import bring_up, check_live, check_networks, is_live, sees, vm_networks
from xenet.verbs.boot import check_boot, is_qemu
from xenet.verbs.call import Call, Further, Outcome, Work
from xenet.verbs.generic import construct
from xenet.verbs.operation import forsake
from xenet.verbs.registry import message
from xenet.verbs.stack import port_mtu
from xenet.verbs.trunk_check import carries, check_carries
from xenet.verbs.vif import set_attached

VIF_DEVICES = 16
"""XenServer advertises devices 0 to 15."""


@message("VM", VMRef)
def create(call: Call, record: Annotated[dict[str, Any], OfRecord("VM")]) -> Outcome:
    """A halted VM. A random mac_seed is put into other_config when the caller gave none, so that its VIFs get MACs that last."""
    vm: VM = construct(VM, call.entropy.uuid(), record, power_state="Halted")
    work = Work(call)
    put_new(work, vm)
    return work.outcome(vm.ref)


def put_new(work: Work, vm: VM) -> None:
    """A halted VM with metrics of its own."""
    call = work.call
    metrics = work.put(VMMetrics(uuid=call.entropy.uuid(), start_time=EPOCH, install_time=call.now, last_updated=call.now))
    guest_metrics = work.put(VMGuestMetrics(uuid=call.entropy.uuid(), last_updated=call.now))
    work.put(vm)
    other_config = {"mac_seed": call.entropy.uuid(), **vm.other_config}
    work.update(vm, other_config=other_config, metrics=metrics.ref, guest_metrics=guest_metrics.ref)


@message("VM")
def destroy(call: Call, self: VMRef) -> Outcome:
    """With its VIFs and metrics. Raises OTHER_OPERATION_IN_PROGRESS for a VIF that is on its way to a bond, too."""
    vm = call.state.get(VM, self)
    check_vm(vm, "destroy")
    for vif in call.state.where(VIF, "VM", self):
        check_free(vif)
    work = Work(call)
    remove(work, vm)
    return work.outcome()


def remove(draft: Draft, vm: VM) -> None:
    """A halted VM, its VIFs and metrics."""
    metrics = draft.state.find(VMMetrics, vm.metrics), draft.state.find(VMGuestMetrics, vm.guest_metrics)
    for record in (*draft.state.where(VIF, "VM", vm.ref), *metrics):
        if record is not None:
            draft.delete(record)
    draft.delete(vm)


@message("VM")
def start(call: Call, vm: VMRef, start_paused: bool, force: bool) -> Outcome:
    """On the host that suits best: the VM's affinity if it can be, else the one with the fewest VMs."""
    record = call.state.get(VM, vm)
    check_vm(record, "start")
    check_unpaused(start_paused)
    hosts = possible_hosts(call.state, record)
    if not hosts:
        raise Failure("NO_HOSTS_AVAILABLE")
    busy = {host.ref: len(call.state.refs_where("VM", "running_on", host.ref)) for host in hosts}
    best = min(hosts, key=lambda host: (host.ref != record.affinity, busy[host.ref], host.name_label))
    return _boot(call, record, best.ref, "start")


@message("VM")
def start_on(call: Call, vm: VMRef, host: HostRef, start_paused: bool, force: bool) -> Outcome:
    record = call.state.get(VM, vm)
    target = call.state.get(Host, host)
    check_vm(record, "start_on")
    check_unpaused(start_paused)
    check_live(call.state, host)
    if not target.enabled:
        raise Failure("HOST_DISABLED", host)
    check_networks(call.state, record, host)
    return _boot(call, record, host, "start_on")


def check_unpaused(start_paused: bool) -> None:
    """Raises OPERATION_NOT_ALLOWED: a namespace cannot be started and stand still."""
    if start_paused:
        raise not_allowed("a VM cannot be started paused here")


def possible_hosts(state: PoolState, vm: VM) -> list[Host]:
    """The live, enabled hosts that see every network of the VM, and can carry its trunks."""
    networks, vifs = vm_networks(state, vm), state.where(VIF, "VM", vm.ref)
    found = (host for host in state.all(Host) if host.enabled and is_live(state, host) and carries(state, vifs, host.ref))
    return [host for host in found if all(sees(state, host.ref, network) for network in networks)]


@message("VM", tuple[HostRef, ...])
def get_possible_hosts(call: Call, vm: VMRef) -> list[Ref]:
    return [host.ref for host in possible_hosts(call.state, call.state.get(VM, vm))]


@message("VM")
def assert_can_boot_here(call: Call, self: VMRef, host: HostRef) -> None:
    """Raises HOST_NOT_LIVE, HOST_DISABLED [host] or what `check_networks` raises."""
    vm, target = call.state.get(VM, self), call.state.get(Host, host)
    if not is_live(call.state, target):
        raise Failure("HOST_NOT_LIVE")
    if not target.enabled:
        raise Failure("HOST_DISABLED", host)
    check_networks(call.state, vm, host)


def _boot(call: Call, vm: VM, host: Ref, operation: str) -> Outcome:
    """Raises VALUE_NOT_SUPPORTED [field, value, why]."""
    check_boot(call.state, vm)
    work = Work(call)
    for network in vm_networks(call.state, vm):
        bring_up(work, host, network)
    vifs = _plug_all(work, vm, host)
    coming = host if vm.resident_on == NULL else NULL
    work.update(vm, running_on=host, domid=take_domid(work), born=-1, scheduled_to_be_resident_on=coming)

    def done(draft: Draft) -> None:
        draft.update(vm, power_state="Running", resident_on=host, scheduled_to_be_resident_on=NULL)
        set_attached(draft, vifs, True)
        note_start(draft, vm, call)

    return work.await_host(host, _locked(vm, operation, vifs, "attach"), done)


def _plug_all(work: Work, vm: VM, host: Ref) -> list[VIF]:
    """Every VIF of a VM that boots is plugged, one unplugged earlier too, as in XenServer."""
    vifs = work.state.where(VIF, "VM", vm.ref)
    return [work.update(vif, plugged=True, MTU=port_mtu(work.state, vif, work.state.get(Network, vif.network), host)) for vif in vifs]


def take_domid(work: Work) -> int:
    """A domain id that was never given before in this pool."""
    pool = next(work.state.all(Pool))
    work.update(pool, next_domid=pool.next_domid + 1)
    return pool.next_domid


def note_start(draft: Draft, vm: VM, call: Call) -> None:
    metrics = draft.state.find(VMMetrics, vm.metrics)
    if metrics is not None:
        draft.update(metrics, start_time=call.now, last_updated=call.now, VCPUs_number=vm.VCPUs_at_startup, memory_actual=vm.memory_dynamic_max)


def _locked(vm: VM, operation: str, vifs: Iterable[VIF], vif_operation: str) -> list[tuple[Record, str]]:
    return [(vm, operation), *((vif, vif_operation) for vif in vifs)]


@message("VM")
def clean_shutdown(call: Call, vm: VMRef) -> Outcome:
    """It never fails for the guest's reasons: a QEMU guest that does not end within half a minute is ended."""
    return _halt(call, vm, "clean_shutdown")


@message("VM")
def hard_shutdown(call: Call, vm: VMRef) -> Outcome:
    return _halt(call, vm, "hard_shutdown")


@message("VM")
def shutdown(call: Call, vm: VMRef) -> Outcome:
    """A clean shutdown."""
    return _halt(call, vm, "shutdown")


def _halt(call: Call, self: Ref, operation: str) -> Outcome:
    vm = call.state.get(VM, self)
    check_vm(vm, operation)
    check_live(call.state, vm.resident_on)
    work = Work(call)
    vifs = call.state.where(VIF, "VM", self)

    def end(draft: Draft) -> None:
        for vif in vifs:
            draft.update(vif, plugged=False)
        draft.update(vm, running_on=NULL, halting=False)

    def done(draft: Draft) -> None:
        draft.update(vm, power_state="Halted", resident_on=NULL, domid=-1, born=-1)
        set_attached(draft, vifs, False)

    doing, host = _locked(vm, operation, vifs, "unplug"), vm.resident_on
    if operation == "hard_shutdown" or not is_qemu(call.state, vm):
        end(work)
        return work.await_host(host, doing, done)
    work.update(vm, halting=True)
    return work.await_hosts([host], doing, done, then=(Further((host,), end),), mercy="skip")


@message("VM")
def power_state_reset(call: Call, vm: VMRef) -> Outcome:
    """Say that a VM is halted whose host has gone for good, so that it can be started on another; nothing is asked of any host. Should the host
    come back, it ends what it still has of the VM. One that was coming from another pool to that host is gone, and goes on there. Raises
    CANNOT_RESET_CONTROL_DOMAIN [vm], DOMAIN_EXISTS [vm, domid] while the host lives."""
    record = call.state.get(VM, vm)
    if record.is_control_domain:
        raise Failure("CANNOT_RESET_CONTROL_DOMAIN", vm)
    if record.crossing in COMES and not is_live(call.state, call.state.get(Host, record.running_on)):
        operation = next(iter(call.state.where(Operation, "objects", vm)))
        change, ended = forsake(call, operation.ref, "its host is gone")
        return Outcome(change, ended=tuple(ended))
    vifs = call.state.where(VIF, "VM", vm)
    for held in (record, *vifs):
        check_free(held)
    if record.resident_on != NULL and is_live(call.state, call.state.get(Host, record.resident_on)):
        raise Failure("DOMAIN_EXISTS", vm, str(record.domid))
    work = Work(call)
    for vif in vifs:
        work.update(vif, plugged=False, currently_attached=False)
    work.update(record, power_state="Halted", running_on=NULL, resident_on=NULL, domid=-1, born=-1)
    return work.outcome()


@message("VM")
def clean_reboot(call: Call, vm: VMRef) -> Outcome:
    return _reboot(call, vm, "clean_reboot")


@message("VM")
def hard_reboot(call: Call, vm: VMRef) -> Outcome:
    return _reboot(call, vm, "hard_reboot")


def _reboot(call: Call, self: Ref, operation: str) -> Outcome:
    """A new domain on the same host: a new domid, so new devices, and a guest that begins anew. A VIF that was unplugged comes
    back too, so its network must still be in reach. Raises HOST_CANNOT_ATTACH_NETWORK [host, network], OPENVSWITCH_NOT_ACTIVE."""
    vm = call.state.get(VM, self)
    check_vm(vm, operation)
    check_live(call.state, vm.resident_on)
    for network in vm_networks(call.state, vm):
        if not sees(call.state, vm.resident_on, network):
            raise Failure("HOST_CANNOT_ATTACH_NETWORK", vm.resident_on, network.ref)
    check_carries(call.state, call.state.where(VIF, "VM", self), vm.resident_on)
    return _boot(call, vm, vm.resident_on, operation)


@message("VM", StrSet)
def get_allowed_VIF_devices(call: Call, vm: VMRef) -> list[str]:
    """The free ones of 0 to 15."""
    taken = {vif.device for vif in call.state.where(VIF, "VM", call.state.get(VM, vm).ref)}
    return [str(n) for n in range(VIF_DEVICES) if str(n) not in taken]
