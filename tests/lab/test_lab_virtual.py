"""A lab with a virtual machine in it: refused where it cannot be, up, pinged, moved, and gone without a trace."""

import json
from pathlib import Path

import pytest

from tests.e2e.world import until
from tests.lab.test_lab_pool import _client, _lab, _processes_of
from tests.tiny import ARGS, BOOTS_WITHIN, MEMORY, tiny
from xenet.lab.boot import Boot
from xenet.lab.topology import MIB, read_lab
from xenet.lab.virtual import way_in

ADDRESS = "10.0.0.150/24"


def topology(folder: Path, boot: str) -> Path:
    file = folder / "lab.yaml"
    file.write_text(f"""
hosts:
  host1: {{nics: {{eth0: sw1}}}}
  host2: {{nics: {{eth0: sw1}}}}
vms:
  vm1: {{host: host2, address: 10.0.0.101/24}}
  small: {{host: host1, address: {ADDRESS}, {boot}}}
""")
    return file


def test_a_virtual_machine_is_as_the_file_says(tmp_path: Path) -> None:
    lab = read_lab(topology(tmp_path, "guest: qemu, kernel: vmlinuz, ramdisk: /boot/initrd, args: quiet ro, memory: 96"))
    assert [vm.boot for vm in lab.vms] == [None, Boot(str(tmp_path / "vmlinuz"), "/boot/initrd", "quiet ro", 96)]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("boot", "status", "said"),
    [
        ("guest: qemu", 2, "small: `guest: qemu` starts from a kernel"),
        ("kernel: vmlinuz", 2, "small: kernel, ramdisk, args and memory are for `guest: qemu`"),
        ("guest: qemu, kernel: nowhere", 2, "xenet lab: small: the kernel {folder}/nowhere is not there, or cannot be read"),
        ("guest: qemu, kernel: lab.yaml, ramdisk: /nowhere", 2, "xenet lab: small: the ramdisk /nowhere is not there, or cannot be read"),
    ],
)
def test_what_it_cannot_start_from_is_said_in_one_line(tmp_path: Path, boot: str, status: int, said: str) -> None:
    tiny()
    labs = tmp_path / "labs"
    line = _lab(labs, "up", str(topology(tmp_path, boot)), status=status)
    assert said.format(folder=tmp_path) in line
    assert len(line.splitlines()) == 1
    assert not labs.exists()


@pytest.mark.kernel
def test_without_qemu_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    line = _lab(tmp_path / "labs", "up", str(topology(tmp_path, "guest: qemu, kernel: lab.yaml")), status=2)
    assert line == "xenet lab: small: qemu-system-x86_64 is not installed here; Debian's package is qemu-system-x86\n"


@pytest.mark.parametrize(
    ("console", "heard"),
    [
        (None, "nothing yet (its kernel writes there with console=ttyS0 among its arguments)"),
        (b"\r\n \n", "nothing yet (its kernel writes there with console=ttyS0 among its arguments)"),
        (b"Linux\r\nsmall login: \x1b\xff\r\n\r\n", "it last said: small login: \ufffd"),
    ],
)
def test_what_its_console_said_last_is_told(tmp_path: Path, console: bytes | None, heard: str) -> None:
    file = tmp_path / "console"
    if console is not None:
        file.write_bytes(console)
    told = way_in("small", "host1", file, "")
    assert told.endswith(f"{file}, {heard}")
    assert "talk to it over its network" in told


@pytest.mark.kernel
def test_it_is_there_and_moves_and_goes(tmp_path: Path) -> None:
    made, labs = tiny(), tmp_path / "labs"
    boot = f"guest: qemu, kernel: {made.kernel}, ramdisk: {made.ramdisk}, args: {ARGS} ip={ADDRESS}, memory: {MEMORY // MIB}"
    _lab(labs, "up", str(topology(tmp_path, boot)))
    try:
        until(lambda: reaches(labs), BOOTS_WITHIN)
        assert places(labs) == {"small": "host1", "vm1": "host2"}
        refusal = _lab(labs, "exec", "small", "true", status=1)
        assert "small is a virtual machine on host1" in refusal
        assert "talk to it at 10.0.0.150" in refusal
        assert refusal.endswith("/console, it last said: ready\n")
        with _client(labs) as client:
            (vm,), (host,) = client.call("VM.get_by_name_label", "small"), client.call("host.get_by_name_label", "host2")
            client.call("VM.pool_migrate", vm, host, {})
        assert places(labs) == {"small": "host2", "vm1": "host2"}
        moved = _lab(labs, "exec", "small", "true", status=1)
        assert "small is a virtual machine on host2" in moved
        assert moved.endswith("/console, it last said: ready\n")
        said = json.loads(_lab(labs, "ping-all", "--json"))
        assert [(pair["from"], pair["to"], pair["ok"]) for pair in said["pairs"]] == [("vm1", "small", True)], "nobody can be sent into it"
        assert "1 of 1 got through" in _lab(labs, "ping-all")
    finally:
        _lab(labs, "down")
    assert _processes_of(labs) == []
    assert list(labs.iterdir()) == []


def reaches(labs: Path) -> bool:
    ping = f"ping -q -c 1 -W 2 {ADDRESS.partition('/')[0]} >/dev/null && echo yes || echo no"
    return _lab(labs, "exec", "vm1", "--", "sh", "-c", ping) == "yes\n"


def places(labs: Path) -> dict[str, str]:
    """Which guest is on which host, by what the lab shows."""
    said = json.loads(_lab(labs, "status", "--json"))
    return {port["guest"]: host["name"] for host in said["hosts"] for bridge in host["bridges"] for port in bridge["ports"]}
