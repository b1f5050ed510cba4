"""The machine that a QEMU guest is: QEMU's command line. Every device has its place on the bus named, since a guest's two machines must be alike
when it moves, whatever was plugged in between.
"""

import os
import re
import shutil

from xenet.guests.accel import QEMU, environment
from xenet.guests.base import FileMissing, GuestError
from xenet.plan.machine import files_of
from xenet.plan.view import BootView, GuestView, NICView

MONITOR, EVENTS, INCOMING, CONSOLE = "qmp", "events", "incoming", "console"
"""Files in the guest's folder: sockets of two monitors, and of where it is awaited; what comes out of its serial port."""
_DISK_SLOT, _FIRST_NIC = 3, 4


def arguments(guest: GuestView, accel: str) -> list[str]:
    """With paths in the guest's folder as QEMU finds them there."""
    boot = guest.boot
    assert boot is not None, "a QEMU guest says what it boots"
    name = re.sub(r"[^\w.-]+", "-", guest.name) or "guest"
    return [
        *(QEMU, "-name", f"guest={name}", "-uuid", guest.vm, "-accel", accel, "-machine", boot.machine),
        *("-m", f"size={boot.memory}B", "-smp", str(boot.vcpus), "-nodefaults", "-no-user-config", "-display", "none"),
        *("-chardev", f"socket,id=m0,path={MONITOR},server=on,wait=off", "-mon", "chardev=m0,mode=control"),
        *("-chardev", f"socket,id=m1,path={EVENTS},server=on,wait=off", "-mon", "chardev=m1,mode=control"),
        *("-chardev", f"file,id=console,path={CONSOLE},append=on", "-serial", "chardev:console"),
        *_boots(boot),
        *(word for nic in guest.nics for word in _nic(nic)),
        *(("-incoming", f"tcp:{guest.way}" if guest.way else f"unix:{INCOMING}") if guest.stage == "awaits" else ()),
    ]


def _boots(boot: BootView) -> list[str]:
    words = []
    if boot.kernel:
        words += ["-kernel", boot.kernel, "-append", boot.args]
    if boot.ramdisk:
        words += ["-initrd", boot.ramdisk]
    if boot.disk:
        form = "qcow2" if boot.disk.endswith(".qcow2") else "raw"
        words += ["-drive", f"file={_escaped(boot.disk)},if=none,id=disk,format={form}"]
        words += ["-device", f"virtio-blk-pci,drive=disk,addr={_DISK_SLOT:#x}"]
    return words


def _nic(nic: NICView) -> list[str]:
    """On a tap that is there; without a boot ROM, which not every machine has."""
    device = f"virtio-net-pci,id={nic.device},netdev={nic.device},mac={nic.mac},addr={slot_of(nic)},romfile="
    return ["-netdev", f"tap,id={nic.device},ifname={nic.device},script=no,downscript=no", "-device", device]


def slot_of(nic: NICView) -> str:
    return f"{_FIRST_NIC + nic.index:#x}"


def _escaped(text: str) -> str:
    return text.replace(",", ",,")


def check_files(guest: GuestView) -> None:
    """Raises GuestError for what is not there, before anything is touched."""
    if shutil.which(QEMU, path=environment()["PATH"]) is None:
        raise GuestError(f"{QEMU} is not installed here; Debian's package is qemu-system-x86")
    for kind, path in files_of(guest.boot) if guest.boot else ():
        if path and not os.access(path, os.R_OK):
            raise FileMissing(kind, path)
