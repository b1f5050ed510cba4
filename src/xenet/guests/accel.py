"""Whether QEMU's guests run on KVM here or are emulated (TCG). Where /dev/kvm is there it may still not work: in virtual machines that do not
pass it on, a guest then stands still after its first steps. So the firmware is started once, and has to come to where it would boot something.
"""

import os
import select
import subprocess
import time
from pathlib import Path

QEMU = "qemu-system-x86_64"
WITHIN = 4.0
"""Seconds in which a firmware on KVM gets there: it takes half a second."""
_BOOTS = b"handle_19"
"""SeaBIOS's function that boots, by the interrupt's number."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
KVM = Path("/dev/kvm")


def environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath)}


def find_accel(note: Path) -> str:
    """`kvm` or `tcg`. What was found is noted in the file, and holds until the machine starts anew."""
    boot = BOOT_ID.read_text().strip()
    noted = note.read_text().split() if note.exists() else []
    if noted[:1] == [boot]:
        return noted[1]
    found = "kvm" if os.access(KVM, os.R_OK | os.W_OK) and _works() else "tcg"
    note.write_text(f"{boot} {found}\n")
    return found


def _works() -> bool:
    """Whether SeaBIOS comes to the point, by what it says at its debug port, where it looks for something to boot."""
    machine = [QEMU, "-accel", "kvm", "-machine", "pc", "-m", "16", "-nodefaults", "-no-user-config", "-display", "none"]
    port = ["-chardev", "stdio,id=word", "-device", "isa-debugcon,iobase=0x402,chardev=word"]
    with subprocess.Popen(
        [*machine, *port], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    ) as process:
        try:
            assert process.stdout
            return _says(process.stdout.fileno(), _BOOTS)
        finally:
            process.kill()


def _says(fd: int, word: bytes) -> bool:
    until, said = time.monotonic() + WITHIN, b""
    while word not in said:
        ready, _, _ = select.select([fd], [], [], max(until - time.monotonic(), 0))
        if not ready or not (data := os.read(fd, 4096)):
            return False
        said += data
    return True
