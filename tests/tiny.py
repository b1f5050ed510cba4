"""A tiny virtual machine for tests: Debian's kernel, and an initramfs of busybox and the drivers of virtio's NIC. It answers ping, and at TCP
port 4000 says everything back. Emulated it takes about 10 s to its `ready` on the serial console. Its kernel's arguments say which address its
eth0 has (`ip=10.0.0.1/24`); every NIC that it gets comes up. It ends when its power button is pressed, if the arguments do not say `deaf`.
Where they say `counts` its console counts from 1 on, five times a second.
"""

import shutil
import stat
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tools.stock_kernel import CACHE, StockError, kernel_image, unpacked

ARGS = "console=ttyS0 quiet no_timer_check panic=-1"
"""Of its kernel. On a busy machine its first timer interrupts come so late that the kernel would take the timer for broken, and stop."""
ECHO = 4000
MEMORY = 96 << 20
BOOTS_WITHIN = 240.0
"""Seconds: with a machine that has other things to do."""
_MODULES: tuple[str, ...] = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "failover", "net_failover")
_MODULES += ("virtio_net", "evdev", "button")
_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in MODULES; do insmod /modules/$module.ko; done
ip link set lo up
for word in $(cat /proc/cmdline); do
    case $word in
        ip=*) ip address add ${word#ip=} dev eth0 ;;
        deaf) deaf=yes ;;
        counts) counts=0 ;;
    esac
done
ip link set eth0 up
for input in /sys/class/input/event*; do
    read -r name <$input/device/name
    [ "$name" = "Power Button" ] && button=/dev/input/${input##*/}
done
[ "$deaf" ] || (head -c 1 $button >/dev/null; poweroff -f) &
nc -ll -p 4000 -e cat &
until cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ":0FA0 .* 0A "; do sleep 0.05; done
echo ready
while sleep 0.2; do
    [ "$counts" ] && echo $((counts += 1))
    for nic in /sys/class/net/eth*; do
        read -r flags <$nic/flags && [ $((flags & 1)) = 1 ] || ip link set ${nic##*/} up
    done
done
"""


class Tiny(NamedTuple):
    """Paths of what boots."""

    kernel: Path
    ramdisk: Path


def tiny() -> Tiny:
    """Skips the test, naming what is missing, where it cannot be had."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 is missing; install qemu-system-x86")
    try:
        return _made()
    except StockError as error:
        pytest.skip(f"no kernel for a virtual machine: {error}")


@cache
def _made() -> Tiny:
    kernel, busybox = kernel_image(), unpacked("busybox-static") / "bin" / "busybox"
    modules = {path.stem: path for path in kernel.parent.parent.glob("lib/modules/*/kernel/**/*.ko") if path.stem in _MODULES}
    archive = b"".join(
        (
            *(_entry(folder, stat.S_IFDIR | 0o755) for folder in ("bin", "dev", "modules")),
            _entry("init", stat.S_IFREG | 0o755, _INIT.replace("MODULES", " ".join(_MODULES)).encode()),
            _entry("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes()),
            *(_entry(f"modules/{name}.ko", stat.S_IFREG | 0o644, path.read_bytes()) for name, path in modules.items()),
            _entry("TRAILER!!!", 0),
        )
    )
    ramdisk = CACHE / f"tiny-{kernel.name}.cpio"
    if not ramdisk.exists() or ramdisk.read_bytes() != archive:
        part = ramdisk.with_suffix(f".{id(archive)}")
        part.write_bytes(archive)
        part.rename(ramdisk)
    return Tiny(kernel, ramdisk)


def _entry(name: str, mode: int, data: bytes = b"") -> bytes:
    """A file of a cpio archive of the form newc (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst)."""
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
