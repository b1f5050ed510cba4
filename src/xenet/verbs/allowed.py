"""allowed_operations of VMs and VIFs: the same table that refuses a verb tells clients beforehand what would be refused."""

from collections.abc import Callable, Iterable, Mapping

from xenet.model import errors
from xenet.model.change import Draft
from xenet.model.errors import Failure
from xenet.model.guests import default_kind, kind_of
from xenet.model.hidden import Edit, HostFacts, Operation
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.types import NULL, Record, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM

VM_OPERATIONS: dict[str, tuple[str, ...]] = {
    "start": ("Halted",),
    "start_on": ("Halted",),
    "destroy": ("Halted",),
    "clean_shutdown": ("Running",),
    "clean_reboot": ("Running",),
    "hard_shutdown": ("Running",),
    "hard_reboot": ("Running",),
    "shutdown": ("Running",),
    "pool_migrate": ("Running",),
    "migrate_send": ("Running", "Halted"),
}
"""The power states in which each operation on a VM may begin."""
MIGRATIONS = ("pool_migrate", "migrate_send")
"""What a VM cannot do while it runs on a hypervisor that is not xenet's."""
_LEAVING = ("clean_shutdown", "hard_shutdown", "suspend", "pause")


def check_free(record: Record) -> None:
    """Raises OTHER_OPERATION_IN_PROGRESS [class, ref, operations, tasks] when a call on this record is under way."""
    current: dict[Ref, str] = getattr(record, "current_operations", {})
    if current:
        raise _in_progress(record, current)


def check_unheld(state: PoolState, record: Record) -> None:
    """The same, asked of the operations themselves: a PIF has no current_operations."""
    _check_none(record, state.where(Operation, "objects", record.ref))


def check_unkept(state: PoolState, network: Network, host: Ref) -> None:
    """The same while an operation of this host has something to bring back to a network if it fails."""
    _check_none(network, [operation for operation in state.where(Operation, "keeps", network.ref) if host in operation.waiting])


def check_unleft(state: PoolState, network: Network, host: Ref) -> None:
    """The same while that is the host's PIF."""
    held = state.where(Operation, "keeps", network.ref)
    _check_none(network, [operation for operation in held if host in operation.waiting and network.ref in operation.needs])


def check_removable(state: PoolState, record: Record) -> None:
    """As `check_unheld`, and the same while an operation has something to bring back that refers to this record if it fails: a VLAN that its
    host has yet to take down."""
    check_unheld(state, record)
    check_none_returns(state, record, lambda edit: edit.after is not None and record.ref in edit.after.values())


def check_none_returns(state: PoolState, record: Record, which: Callable[[Edit], bool]) -> None:
    """The same, blamed on this record, while such an edit brings a record back that an operation has deleted."""
    waiting = [operation for operation in state.all(Operation) if any(edit.before is None and which(edit) for edit in operation.undo)]
    _check_none(record, waiting)


def _check_none(record: Record, held: Iterable[Operation]) -> None:
    tasks = {operation.task: operation.verb.partition(".")[2] for operation in held}
    if tasks:
        raise _in_progress(record, tasks)


def _in_progress(record: Record, current: Mapping[Ref, str]) -> Failure:
    """What a host has told of itself is the host's, to clients: they know no other such object."""
    cls = Host.xenapi if isinstance(record, HostFacts) else record.xenapi
    return errors.in_progress(cls, record.ref, _braced(current.values()), _braced(current))


def _braced(texts: Iterable[str]) -> str:
    return "{" + ",".join(texts) + "}"


def check_vm(vm: VM, operation: str) -> None:
    """Raises what XenServer raises when this operation cannot begin now."""
    check_free(vm)
    if vm.is_a_template and operation != "destroy":
        raise Failure("VM_IS_TEMPLATE", vm.ref)
    if operation in vm.blocked_operations:
        raise Failure("OPERATION_BLOCKED", vm.ref, vm.blocked_operations[operation])  # type: ignore[index]
    states = VM_OPERATIONS[operation]
    if vm.power_state not in states:
        raise errors.bad_power_state(vm.ref, states[0], vm.power_state)


def check_vif(state: PoolState, vif: VIF, operation: str) -> None:
    """The reference's table for plug, unplug and unplug_force, the first refusal that applies."""
    check_free(vif)
    vm = state.get(VM, vif.VM)
    if vm.is_control_domain and operation == "plug":
        raise errors.not_allowed("Control domain does not support hotplug")
    if vm.power_state != "Running" and operation != "attach":
        raise errors.bad_power_state(vm.ref, "running", vm.power_state)
    if vm.power_state == "Running" and vif.currently_attached and operation in ("plug", "attach"):
        raise Failure("DEVICE_ALREADY_ATTACHED", vif.ref)
    if not vif.currently_attached and operation == "unplug":
        raise Failure("DEVICE_ALREADY_DETACHED", vif.ref)
    for busy in vm.current_operations.values():
        if busy in _LEAVING or operation != "attach":
            raise errors.not_allowed(f"Current operation on VM:{vm.ref} is {busy}")


def refresh_allowed(draft: Draft) -> None:
    """Bring allowed_operations of every VM and VIF that the draft touches up to date."""
    state = draft.state
    vms, vifs = _touched(draft)
    for vm in vms:
        impossible = MIGRATIONS if vm.power_state != "Halted" and kind_of(vm, default_kind(state)) == "tap" else ()
        allowed = tuple(op for op in VM_OPERATIONS if op not in impossible and not _refused(check_vm, vm, op))
        if allowed != vm.allowed_operations:
            draft.update(vm, allowed_operations=allowed)
    for vif in vifs:
        if vif.VM == NULL or state.find(VM, vif.VM) is None:
            continue
        allowed = tuple(op for op in ("attach", "plug", "unplug") if not _refused(check_vif, state, vif, op))
        if allowed != vif.allowed_operations:
            draft.update(vif, allowed_operations=allowed)


def _refused(check: object, *args: object) -> bool:
    try:
        check(*args)  # type: ignore[operator]
    except Failure:
        return True
    return False


def _touched(draft: Draft) -> tuple[list[VM], list[VIF]]:
    state = draft.state
    vms = {ref: None for cls, ref in draft.touched() if cls == "VM"}
    vifs = {ref: None for cls, ref in draft.touched() if cls == "VIF"}
    for ref in vms:
        vifs.update(dict.fromkeys(state.refs_where("VIF", "VM", ref)))
    found_vms = [vm for ref in vms if (vm := state.find(VM, ref)) is not None]
    found_vifs = [vif for ref in vifs if (vif := state.find(VIF, ref)) is not None]
    return found_vms, found_vifs
