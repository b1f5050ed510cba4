"""Live migration of a VM between two hosts of the pool.

It is one operation of three phases, each of them a commit. First both hosts get ready: the destination makes the VM's networks and
ports, the source notes on its own ports that another host may take the guest over. Then comes the switch-over: the VM shall run on the
destination, which takes the guest and announces its addresses. Then the source lets go. Up to the switch-over a failure is undone at
once; the failure of the switch-over itself by way of the source, which takes the guest back before the destination lets go. After it
there is no way back: what the source still has of the VM goes when its agent next hears of the pool.

Where the guest is a QEMU, the switch-over is the copy of its memory, from the source's QEMU to the one that the destination has ready; the
destination reports when its own runs. It may be silent for as long as a call may take, which is longer where there is much to copy: agents
die, and guests do not. To take it back, the destination's is ended first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from xenet.model.change import Draft
from xenet.model.errors import Failure, bad_power_state, not_allowed
from xenet.model.guests import default_kind, kind_of
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import primary_address
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.types import EMPTY, NULL, GPUGroupRef, HostRef, NetworkRef, Ref, SRRef, StrMap, VDIRef, VGPURef, VIFRef, VMRef
from xenet.model.vif import VIF
from xenet.model.vm import VM, born_as
from xenet.plan.machine import machine_of, way_to
from xenet.verbs.allowed import check_vm
from xenet.verbs.attach import bring_up, check_live, check_networks, find_pif
from xenet.verbs.boot import COPIED
from xenet.verbs.call import Call, Errand, Further, Outcome, Work
from xenet.verbs.cross_in import NO_ADDRESS
from xenet.verbs.cross_out import CANNOT_LEAVE, NOT_OURS, ask_live, send_live
from xenet.verbs.migrate_out import ask_abroad, is_abroad, send_abroad
from xenet.verbs.registry import message
from xenet.verbs.stack import check_passes
from xenet.verbs.vm import take_domid

POOL_MIGRATE, MIGRATE_SEND = "pool_migrate", "migrate_send"
VIFMap = Mapping[VIFRef, NetworkRef]
VDIMap = Mapping[VDIRef, SRRef]
"""Of disks, of which there are none here, as there are no formats of theirs and no vGPUs."""
FormatMap = Mapping[VDIRef, str]
VGPUMap = Mapping[VGPURef, GPUGroupRef]
NO_COPY = "Copy mode is disallowed for intra pool storage migration, try efficient alternatives e.g. VM.copy/clone."
NO_MAP = "VIF mapping is not allowed for intra-pool migration -all VIFs must be on the same network"


@message("VM")
def pool_migrate(call: Call, vm: VMRef, host: HostRef, options: StrMap) -> Outcome:
    """To another host of the pool while it runs; to its own: there is nothing to do. `options` are read by XenServer alone.

    Raises VM_BAD_POWER_STATE, OTHER_OPERATION_IN_PROGRESS, HOST_OFFLINE, HOST_DISABLED [host], HOST_CANNOT_ATTACH_NETWORK [host, network],
    VM_REQUIRES_NETWORK [vm, network], OPENVSWITCH_NOT_ACTIVE where a VIF has trunks and the host bridges, OPERATION_NOT_ALLOWED.
    """
    record = call.state.get(VM, vm)
    call.state.get(Host, host)
    check_vm(record, POOL_MIGRATE)
    if record.resident_on == host:
        return Work(call).outcome()
    check_can_go(call.state, record, host)
    return _move(call, [(record, host)], POOL_MIGRATE)


@message("VM")
def assert_can_migrate(
    call: Call, vm: VMRef, dest: StrMap, live: bool, vdi_map: VDIMap, vif_map: VIFMap, options: StrMap, vgpu_map: VGPUMap = EMPTY
) -> Errand | None:
    """`dest` is what host.migrate_receive gave. Raises what pool_migrate raises; OPERATION_NOT_ALLOWED for a vif_map or a copy within the
    pool; for a host of another pool what `ask_abroad` raises, or `ask_live` where the VM runs."""
    record = call.state.get(VM, vm)
    check_vm(record, MIGRATE_SEND)
    if is_abroad(call.state, dest):
        return (ask_live if record.power_state == "Running" else ask_abroad)(call, record, dest, vif_map, options)
    _check_within(call, record, Ref(dest["host"]), vif_map, options)
    return None


@message("VM", VMRef)
def migrate_send(
    call: Call,
    vm: VMRef,
    dest: StrMap,
    live: bool,
    vdi_map: VDIMap,
    vif_map: VIFMap,
    options: StrMap,
    vgpu_map: VGPUMap = EMPTY,
    vdi_format_map: FormatMap = EMPTY,
) -> Outcome | Errand:
    """The VM's reference where it is then; it keeps it within the pool. Raises what assert_can_migrate raises."""
    record = call.state.get(VM, vm)
    check_vm(record, MIGRATE_SEND)
    if is_abroad(call.state, dest):
        return (send_live if record.power_state == "Running" else send_abroad)(call, record, dest, vif_map, options)
    host = Ref(dest["host"])
    _check_within(call, record, host, vif_map, options)
    if record.resident_on == host:
        return Work(call).outcome(vm)
    return _move(call, [(record, host)], MIGRATE_SEND, vm)


def _check_within(call: Call, vm: VM, host: Ref, vif_map: VIFMap, options: StrMap) -> None:
    if options.get("copy") == "true":
        raise not_allowed(NO_COPY)
    if vm.power_state != "Running":
        raise bad_power_state(vm.ref, "running", vm.power_state)
    if vif_map:
        raise not_allowed(NO_MAP)
    if vm.resident_on != host:
        check_can_go(call.state, vm, host)


@message("host")
def assert_can_evacuate(call: Call, host: HostRef) -> None:
    """Raises CANNOT_EVACUATE_HOST [why], each VM's error as `code,parameters`, with | between them."""
    _evacuation(call.state, host)


@message("host")
def evacuate(call: Call, host: HostRef, network: NetworkRef = NULL, evacuate_batch_size: int = 0) -> Outcome:
    """Every VM that runs there goes to the host that has the fewest VMs of those it can go to: all of them, or none. The network is the one
    that XenServer copies memory over. Raises CANNOT_EVACUATE_HOST [why]."""
    ways = _evacuation(call.state, host)
    return _move(call, ways, POOL_MIGRATE) if ways else Work(call).outcome()


def _evacuation(state: PoolState, host: Ref) -> list[tuple[VM, Ref]]:
    state.get(Host, host)
    busy = {other.ref: len(state.refs_where("VM", "running_on", other.ref)) for other in state.all(Host) if other.ref != host}
    ways, reasons = [], []
    for vm in state.where(VM, "running_on", host):
        target = min(busy, key=lambda other: (_refusal(state, vm, other) is not None, busy[other]), default=NULL)
        refusal = _refusal(state, vm, target) if target != NULL else Failure("NO_HOSTS_AVAILABLE")
        if refusal:
            reasons.append(",".join(refusal.description))
        else:
            busy[target] += 1
            ways.append((vm, target))
    if reasons:
        raise Failure("CANNOT_EVACUATE_HOST", "|".join(reasons))
    return ways


def _refusal(state: PoolState, vm: VM, host: Ref) -> Failure | None:
    try:
        check_vm(vm, POOL_MIGRATE)
        check_can_go(state, vm, host)
    except Failure as failure:
        return failure
    return None


def check_can_go(state: PoolState, vm: VM, host: Ref) -> None:
    """Raises what pool_migrate raises of the two hosts and the VM's networks."""
    check_live(state, vm.resident_on)
    check_live(state, host)
    if not state.get(Host, host).enabled:
        raise Failure("HOST_DISABLED", host)
    check_networks(state, vm, host)
    check_guest(state, vm, host)


def check_guest(state: PoolState, vm: VM, host: Ref) -> None:
    """Raises OPERATION_NOT_ALLOWED where what stands for the VM cannot get to the host."""
    kind = kind_of(vm, default_kind(state))
    if kind == "tap":
        raise not_allowed(NOT_OURS)
    if kind == "namespace" and machine_of(state, vm.resident_on) != machine_of(state, host):
        raise not_allowed(CANNOT_LEAVE)
    if kind == "qemu" and way_to(state, vm.resident_on, host, 0).startswith(":"):
        raise not_allowed(NO_ADDRESS)


def receiving_address(state: PoolState, host: Ref, network: Ref) -> str:
    """The address at which a host takes VMs on this network. Raises what host.migrate_receive raises."""
    state.get(Host, host), state.get(Network, network)
    pif = find_pif(state, network, host)
    if pif is None:
        raise Failure("HOST_CANNOT_ATTACH_NETWORK", host, network)
    if pif.ip_configuration_mode == "None" and pif.ipv6_configuration_mode == "None":
        raise Failure("PIF_HAS_NO_NETWORK_CONFIGURATION", pif.ref)
    address = primary_address(pif)
    if not address:
        raise Failure("INTERFACE_HAS_NO_IP", pif.ref)
    return address


def master_address(state: PoolState) -> str:
    """The management address of the pool's master; empty where it has none."""
    pool = next(iter(state.all(Pool)))
    return state.get(Host, pool.master).address


class Journey(msgspec.Struct, frozen=True):
    """A VM and where it goes."""

    vm: VM
    host: Ref
    domid: int
    """As which it will run there."""
    qemu: bool
    """The guest is a QEMU: what comes to the host is another one, and no more than one of them may run."""


def _move(call: Call, ways: Sequence[tuple[VM, Ref]], operation: str, result: Any = "") -> Outcome:
    """All of them, or none."""
    work = Work(call)
    journeys = [_prepare(work, vm, host) for vm, host in ways]
    vifs = [vif for vm, _ in ways for vif in _plugged(work, vm)]
    sources = dict.fromkeys(vm.resident_on for vm, _ in ways)
    targets = dict.fromkeys(host for _, host in ways)
    both = tuple(dict.fromkeys((*targets, *sources)))
    qemu = any(way.qemu for way in journeys)
    switch = Further(
        tuple(targets),
        partial(_switch_over, journeys),
        "hold" if qemu else "undo",
        tuple(_way_back(journeys, tuple(sources), tuple(targets))),
        tuple(sources) if qemu else (),
        sum(way.vm.memory_static_max for way in journeys if way.qemu) / COPIED,
    )
    then = (switch, Further(both, partial(_let_go, journeys), "skip"))
    doing = [*((vm, operation) for vm, _ in ways), *((vif, "attach") for vif in vifs)]
    return work.await_hosts(both, doing, lambda draft: None, result, then, cancellable=True)


def _way_back(journeys: Sequence[Journey], sources: tuple[Ref, ...], targets: tuple[Ref, ...]) -> Iterator[Further]:
    """A namespace is taken back before the destination lets go; a QEMU goes on at the source when the destination's is no more."""
    if any(way.qemu for way in journeys):
        yield Further(tuple(dict.fromkeys(way.host for way in journeys if way.qemu)), partial(_end_there, journeys), "wait")
    yield Further(sources, partial(_take_back, journeys), "wait")
    yield Further(targets, partial(_forget, journeys), "skip")


def _plugged(work: Work, vm: VM) -> list[VIF]:
    return [vif for vif in work.state.where(VIF, "VM", vm.ref) if vif.plugged]


def _prepare(work: Work, vm: VM, host: Ref) -> Journey:
    for vif in _plugged(work, vm):
        network = work.state.get(Network, vif.network)
        bring_up(work, host, network)
        if network.managed:
            check_passes(work.state, vif, vif.MTU, network, host)
    journey = Journey(vm, host, take_domid(work), kind_of(vm, default_kind(work.state)) == "qemu")
    work.update(vm, peer=host, peer_domid=journey.domid, handing_over=True, born=born_as(vm), scheduled_to_be_resident_on=host)
    return journey


def _switch_over(journeys: Iterable[Journey], draft: Draft) -> None:
    for way in journeys:
        was = {"peer": way.vm.resident_on, "peer_domid": way.vm.domid}
        draft.update(way.vm, running_on=way.host, domid=way.domid, **was, handing_over=False)


def _let_go(journeys: Iterable[Journey], draft: Draft) -> None:
    for way in journeys:
        draft.update(way.vm, peer=NULL, peer_domid=-1, resident_on=way.host, scheduled_to_be_resident_on=NULL)


def _end_there(journeys: Iterable[Journey], draft: Draft) -> None:
    for way in journeys:
        if way.qemu:
            draft.update(way.vm, running_on=way.vm.resident_on, domid=way.vm.domid, peer=way.host, peer_domid=way.domid, taken_back=True)


def _take_back(journeys: Iterable[Journey], draft: Draft) -> None:
    for way in journeys:
        peer = {"peer": NULL, "peer_domid": -1, "taken_back": False} if way.qemu else {"peer": way.host, "peer_domid": way.domid}
        draft.update(way.vm, running_on=way.vm.resident_on, domid=way.vm.domid, **peer)


def _forget(journeys: Iterable[Journey], draft: Draft) -> None:
    for way in journeys:
        draft.update(way.vm, peer=NULL, peer_domid=-1)
