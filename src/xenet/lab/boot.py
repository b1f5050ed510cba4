"""What a VM of a lab is: a namespace, or a virtual machine that QEMU runs from a kernel. In a topology file:

    small: {host: host1, address: 10.0.0.103/24, guest: qemu, kernel: vmlinuz, ramdisk: initrd, args: "quiet", memory: 128}

Paths are from where the file is. The address is what the machine is known to have: it gives it to itself.
"""

from pathlib import Path
from typing import Literal

import msgspec

MEMORY = 256
"""MiB, where the file says nothing."""


class BootError(Exception):
    """What makes no sense; the text says why, in one line."""


class Boot(msgspec.Struct, frozen=True):
    """What a virtual machine starts from."""

    kernel: str
    ramdisk: str = ""
    args: str = ""
    memory: int = MEMORY
    """MiB."""


class VMForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A VM as a file says it."""

    host: str
    address: str
    nic: str = "eth0"
    guest: Literal["namespace", "qemu"] = "namespace"
    kernel: str = ""
    ramdisk: str = ""
    args: str = ""
    memory: int = 0


def boot_of(form: VMForm, folder: Path) -> Boot | None:
    """None for a namespace. Raises BootError."""
    if form.guest == "namespace":
        if form.kernel or form.ramdisk or form.args or form.memory:
            raise BootError("kernel, ramdisk, args and memory are for `guest: qemu`")
        return None
    if not form.kernel:
        raise BootError("`guest: qemu` starts from a kernel, such as `kernel: vmlinuz`")
    if form.memory < 0:
        raise BootError(f"{form.memory} MiB of memory")
    kernel, ramdisk = (str((folder / path).absolute()) if path else "" for path in (form.kernel, form.ramdisk))
    return Boot(kernel, ramdisk, form.args, form.memory or MEMORY)
