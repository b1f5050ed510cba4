"""A physical switch of a lab where the kernel's bridge has no VLAN filtering, or no LACP: an Open vSwitch of the switch's own, in its namespace,
which moves the frames in userspace. It ends with the namespace."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from xenet.datapath.namespaces import opened_in
from xenet.datapath.openvswitch.control import ask
from xenet.datapath.openvswitch.daemons import WAIT, Daemons
from xenet.datapath.openvswitch.programs import NoOpenVSwitch, find_programs
from xenet.lab.ports import SwitchPort
from xenet.lab.run import LabError, Run

START_S = 30
"""Seconds that ovs-vswitchd has to make the switch."""


def is_here() -> bool:
    """Whether there can be such a switch on this computer."""
    try:
        find_programs()
    except NoOpenVSwitch:
        return False
    return True


def is_one(run: Run, switch: str) -> bool:
    """Whether this switch is one, or this host has one."""
    return _daemons(run, switch).folder.exists()


def at_home(run: Run, name: str, command: Sequence[str]) -> list[str]:
    """The command, in whose environment ovs-vsctl(8), ovs-ofctl(8) and their like are found, and mean the Open vSwitch of this host or switch.
    As it is where there is none."""
    if not is_one(run, name) or not is_here():
        return list(command)
    programs = find_programs()
    there = dict.fromkeys(str(Path(program).parent) for program in (programs.vsctl, programs.ofctl, programs.ovsdb_tool, programs.vswitchd))
    path = ":".join([*os.environ.get("PATH", os.defpath).split(":"), *there])
    return ["env", *(f"{key}={value}" for key, value in {**_daemons(run, name).environment(), "PATH": path}.items()), *command]


def make(run: Run, switch: str, ports: Mapping[str, SwitchPort], filtering: bool) -> None:
    """With these devices, which are there by now; without `filtering` it passes all tags by all ports. Raises LabError."""
    netns = os.open(f"/proc/{run.namespace(switch).pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        opened_in(netns, _daemons(run, switch).ensure)
    except NoOpenVSwitch as error:
        raise LabError(f"{switch}: {error}") from error
    finally:
        os.close(netns)
    _vsctl(run, switch, *switch_words(switch, ports, filtering))


def switch_words(switch: str, ports: Mapping[str, SwitchPort], filtering: bool) -> list[str]:
    """For ovs-vsctl(8): all of it in one transaction, after which frames may pass."""
    words = ["add-br", switch, "--", "set", "Bridge", switch, "datapath_type=netdev"]
    links: dict[str, list[str]] = {}
    for name, port in ports.items():
        links.setdefault(port.lag or name, []).append(name)
    for link, names in links.items():
        words += _link_words(switch, link, names)
        if filtering:
            words += ["--", "set", "Port", link, *_vlan_words(ports[names[0]])]
    return [*words, "--", "remove", "Open_vSwitch", ".", "other_config", WAIT]


def _link_words(switch: str, link: str, names: Sequence[str]) -> Iterator[str]:
    """An aggregated link, of one cable too, with LACP's fast time-out; while the other side says nothing, one cable carries it (IEEE 802.1AX)."""
    if link in names:
        yield from ("--", "add-port", switch, link)
        return
    for name in names:
        yield from ("--", f"--id=@{name}", "create", "Interface", f"name={name}")
    members = ",".join(f"@{name}" for name in names)
    yield from ("--", f"--id=@{link}", "create", "Port", f"name={link}", f"interfaces={members}", "bond_mode=balance-tcp", "lacp=active")
    yield from ("other_config:lacp-time=fast", "other_config:lacp-fallback-ab=true", "--", "add", "Bridge", switch, "ports", f"@{link}")


def _vlan_words(port: SwitchPort) -> Iterator[str]:
    if port.tagged == ():
        yield from ("vlan_mode=access", f"tag={port.native}")
        return
    yield from ("vlan_mode=native-untagged", f"tag={port.native}")
    if port.tagged:
        yield f"trunks={','.join(map(str, port.tagged))}"


def learned(run: Run, switch: str, ports: Mapping[str, SwitchPort]) -> Iterator[tuple[str, str, int]]:
    """MAC, port and VLAN of all that it has learned, an aggregated link by its own name. Raises LabError."""
    rows = _vsctl(run, switch, "--format=csv", "--no-headings", "--columns=ofport,name", "list", "Interface").splitlines()
    names = dict(row.split(",") for row in rows)
    try:
        said = ask(_daemons(run, switch).control, "fdb/show", switch)
    except OSError as error:
        raise LabError(f"{switch}: {error}") from error
    for number, vlan, mac, *_ in (line.split() for line in said.splitlines()[1:]):
        if (name := names.get(number, "")) in ports:
            yield mac, ports[name].lag or name, int(vlan)


def _daemons(run: Run, switch: str) -> Daemons:
    return Daemons(run.directory / switch / "openvswitch")


def _vsctl(run: Run, switch: str, *words: str) -> str:
    programs = find_programs()
    command = [programs.vsctl, f"--db=unix:{_daemons(run, switch).socket}", f"--timeout={START_S}", *words]
    done = subprocess.run(command, env={**os.environ, **programs.environment}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{switch}: {' '.join(done.stderr.split())}")
    return done.stdout
