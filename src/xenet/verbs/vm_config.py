"""VM: its memory, processors and the like, which clients set. Guests here take no notice of them; a record that a client has filled in
keeps XenServer's rules all the same."""

from xenet.model import errors
from xenet.model.errors import Failure, invalid_value
from xenet.model.types import NULL, StrSet, VMApplianceRef, VMRef
from xenet.model.vm import VM, DomainType, OnCrash, VMOperation
from xenet.verbs.allowed import VM_OPERATIONS, check_vm
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.registry import message

MOST_DISKS = 255
PRIORITIES = ("", "best-effort", "restart")
_ORDER = ("memory_static_min", "memory_dynamic_min", "memory_dynamic_max", "memory_static_max")
_WRONG_ORDER = "Memory limits must satisfy: static_min <= dynamic_min <= dynamic_max <= static_max"


def _set(call: Call, vm: VM, **fields: object) -> Outcome:
    work = Work(call)
    work.update(vm, **fields)
    return work.outcome()


def _halted(call: Call, self: VMRef) -> VM:
    vm = call.state.get(VM, self)
    if vm.power_state != "Halted":
        raise errors.bad_power_state(vm.ref, "halted", vm.power_state)
    return vm


def _set_memory(call: Call, vm: VM, **limits: int) -> Outcome:
    """Raises MEMORY_CONSTRAINT_VIOLATION [rule]."""
    wanted = [limits.get(name, getattr(vm, name)) for name in _ORDER]
    if wanted[0] < 0 or sorted(wanted) != wanted:
        raise Failure("MEMORY_CONSTRAINT_VIOLATION", _WRONG_ORDER)
    return _set(call, vm, **limits)


@message("VM")
def set_memory_limits(call: Call, self: VMRef, static_min: int, static_max: int, dynamic_min: int, dynamic_max: int) -> Outcome:
    """In bytes. Raises VM_BAD_POWER_STATE, MEMORY_CONSTRAINT_VIOLATION."""
    limits = zip(_ORDER, (static_min, dynamic_min, dynamic_max, static_max), strict=True)
    return _set_memory(call, _halted(call, self), **dict(limits))


@message("VM")
def set_memory(call: Call, self: VMRef, value: int) -> Outcome:
    """All that the VM has, in bytes."""
    return _set_memory(call, _halted(call, self), memory_dynamic_min=value, memory_dynamic_max=value, memory_static_max=value)


@message("VM")
def set_memory_static_range(call: Call, self: VMRef, min_: int, max_: int) -> Outcome:
    return _set_memory(call, _halted(call, self), memory_static_min=min_, memory_static_max=max_)


@message("VM")
def set_memory_dynamic_range(call: Call, self: VMRef, min_: int, max_: int) -> Outcome:
    """Of a running VM, too."""
    return _set_memory(call, call.state.get(VM, self), memory_dynamic_min=min_, memory_dynamic_max=max_)


@message("VM")
def set_memory_static_min(call: Call, self: VMRef, value: int) -> Outcome:
    return _set_memory(call, _halted(call, self), memory_static_min=value)


@message("VM")
def set_memory_static_max(call: Call, self: VMRef, value: int) -> Outcome:
    return _set_memory(call, _halted(call, self), memory_static_max=value)


@message("VM")
def set_memory_dynamic_min(call: Call, self: VMRef, value: int) -> Outcome:
    return _set_memory(call, call.state.get(VM, self), memory_dynamic_min=value)


@message("VM")
def set_memory_dynamic_max(call: Call, self: VMRef, value: int) -> Outcome:
    return _set_memory(call, call.state.get(VM, self), memory_dynamic_max=value)


@message("VM")
def set_VCPUs_max(call: Call, self: VMRef, value: int) -> Outcome:
    """Raises INVALID_VALUE for fewer than the VM starts with."""
    vm = _halted(call, self)
    if value < max(1, vm.VCPUs_at_startup):
        raise invalid_value("VCPUs_max", str(value))
    return _set(call, vm, VCPUs_max=value)


@message("VM")
def set_VCPUs_at_startup(call: Call, self: VMRef, value: int) -> Outcome:
    """Raises INVALID_VALUE for more than VCPUs_max."""
    vm = _halted(call, self)
    if not 1 <= value <= vm.VCPUs_max:
        raise invalid_value("VCPUs_at_startup", str(value))
    return _set(call, vm, VCPUs_at_startup=value)


@message("VM")
def set_actions_after_crash(call: Call, self: VMRef, value: OnCrash) -> Outcome:
    return _set(call, call.state.get(VM, self), actions_after_crash=value)


@message("VM")
def set_HVM_boot_policy(call: Call, self: VMRef, value: str) -> Outcome:
    return _set(call, call.state.get(VM, self), HVM_boot_policy=value)


@message("VM")
def set_domain_type(call: Call, self: VMRef, value: DomainType) -> Outcome:
    return _set(call, _halted(call, self), domain_type=value)


@message("VM")
def set_has_vendor_device(call: Call, self: VMRef, value: bool) -> Outcome:
    return _set(call, _halted(call, self), has_vendor_device=value)


@message("VM")
def set_ha_restart_priority(call: Call, self: VMRef, value: str) -> Outcome:
    """Raises INVALID_VALUE for a word that is no priority."""
    if value not in PRIORITIES:
        raise invalid_value("ha_restart_priority", value)
    return _set(call, call.state.get(VM, self), ha_restart_priority=value)


@message("VM")
def set_appliance(call: Call, self: VMRef, value: VMApplianceRef) -> Outcome:
    """None, since there are no appliances here. Raises HANDLE_INVALID for any other."""
    if value != NULL:
        raise errors.handle_invalid("VM_appliance", value)
    return _set(call, call.state.get(VM, self), appliance=value)


@message("VM")
def assert_operation_valid(call: Call, self: VMRef, op: VMOperation) -> None:
    """Raises what the operation itself would: its VM's power state, an operation under way, OPERATION_NOT_ALLOWED for what no VM can here."""
    vm = call.state.get(VM, self)
    if op not in VM_OPERATIONS:
        raise errors.not_allowed(f"{op} is not possible here")
    check_vm(vm, op)


@message("VM")
def update_allowed_operations(call: Call, self: VMRef) -> Outcome:
    work = Work(call)
    work.put(call.state.get(VM, self))
    return work.outcome()


@message("VM", StrSet)
def get_allowed_VBD_devices(call: Call, vm: VMRef) -> list[str]:
    """Every number that a disk can have in XenServer: no VM has disks here, and clients ask before they know."""
    call.state.get(VM, vm)
    return [str(device) for device in range(MOST_DISKS)]
