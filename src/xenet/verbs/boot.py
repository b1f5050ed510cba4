"""What a VM whose guest is a QEMU must say of itself before it can start. Whether the files are there, its host knows."""

from xenet.model.errors import Failure
from xenet.model.guests import default_kind, kind_of
from xenet.model.state import PoolState
from xenet.model.vm import VM
from xenet.plan.machine import DISK, boot_of, files_of

COPIED = 32 << 20
"""Bytes of a VM's memory that are copied in a second, at the least: by a network of 300 Mbit/s."""
LEAST_MEMORY = 1 << 20
"""Bytes: QEMU makes no machine with less."""
_FIELDS = {"kernel": "PV_kernel", "ramdisk": "PV_ramdisk", "disk": f"other_config:{DISK}"}


def is_qemu(state: PoolState, vm: VM) -> bool:
    return kind_of(vm, default_kind(state)) == "qemu"


def check_boot(state: PoolState, vm: VM) -> None:
    """Raises VALUE_NOT_SUPPORTED [field, value, why]."""
    if not is_qemu(state, vm):
        return
    boot = boot_of(vm)
    if not boot.kernel and not boot.disk:
        raise _unfit("PV_kernel", "", f"a QEMU guest starts from a kernel (PV_kernel) or from a disk (other_config:{DISK})")
    for kind, path in files_of(boot):
        if path and not path.startswith("/"):
            raise _unfit(_FIELDS[kind], path, "not an absolute path on the VM's host")
    if not boot.kernel and (boot.ramdisk or boot.args):
        raise _unfit("PV_kernel", "", "PV_ramdisk and PV_args are nothing without it")
    if boot.memory < LEAST_MEMORY:
        raise _unfit("memory_static_max", str(boot.memory), f"a QEMU guest has {LEAST_MEMORY} bytes at least")
    if boot.vcpus < 1:
        raise _unfit("VCPUs_at_startup", str(boot.vcpus), "a QEMU guest has one at least")


def missing_file(vm: VM, kind: str) -> Failure:
    """VALUE_NOT_SUPPORTED [field, path, why] for a file that the VM's host lacks."""
    return _unfit(_FIELDS[kind], dict(files_of(boot_of(vm)))[kind], "not there on the VM's host, or not to be read")


def _unfit(field: str, value: str, why: str) -> Failure:
    return Failure("VALUE_NOT_SUPPORTED", field, value, why)
