"""The virtual machines of a lab on this computer: whether they can be here, which run, and their end. Their agents start them."""

from pathlib import Path

from xenet.guests import held, qemu
from xenet.guests.base import GuestError
from xenet.guests.machine import check_files
from xenet.lab.topology import MIB, Lab
from xenet.plan.view import BootView, GuestView


class Lacking(Exception):
    """What the lab needs is not on this computer; the text says what, in one line."""


def check_boots(lab: Lab) -> None:
    """Raises Lacking, before anything is made."""
    for vm in lab.vms:
        if vm.boot:
            boot = BootView(vm.boot.kernel, vm.boot.ramdisk, vm.boot.args, vm.boot.memory * MIB, 1)
            try:
                check_files(GuestView("", 0, vm.name, "qemu", boot))
            except GuestError as error:
                raise Lacking(f"{vm.name}: {error}") from error


def living(directory: Path) -> list[GuestView]:
    """Those that run under an agent's folder of machines, or await another's memory there."""
    views = (qemu.read(folder) for folder in _folders(directory) if held.is_held(folder / qemu.LOCK))
    return [view for view in views if view is not None]


def way_in(name: str, host: str, console: Path, address: str) -> str:
    """What to do instead of running a program in it; `address` is that of the topology, or empty."""
    words = _last_words(console)
    heard = f"it last said: {words}" if words else "nothing yet (its kernel writes there with console=ttyS0 among its arguments)"
    talk = f"talk to it at {address}, from a host's or guest's namespace" if address else "talk to it over its network"
    ways = f"{talk}; `xenet lab capture {name}` shows its frames; its serial console, to be read only, is {console}, {heard}"
    return f"{name} is a virtual machine on {host}, no program can be put into it: {ways}"


def _last_words(console: Path) -> str:
    """The last line that is not blank, without what only a terminal can show."""
    try:
        lines = console.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    words = ("".join(letter for letter in line if letter.isprintable()).strip() for line in reversed(lines))
    return next((line for line in words if line), "")


def end_all(directory: Path) -> None:
    """Those of all the hosts under a lab's directory."""
    for machines in directory.glob("*/machines"):
        for folder in _folders(machines):
            qemu.end(folder)
            held.let_go(folder / qemu.LOCK)


def _folders(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []
