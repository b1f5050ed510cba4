"""Working with a lab that runs: who is where, going inside, pulling cables, pinging.

Guests start without an address, as machines do whose disks nobody wrote. The lab knows what address each VM of its
topology shall have, and gives it whenever a command of its own finds the guest without: after `up`, and after any
start, reboot or migration that came through the API.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import msgspec

from xenet.guests.machine import CONSOLE
from xenet.guests.namespace import Namespace, living
from xenet.lab import frames, virtual, vswitch
from xenet.lab.build import inside, ip, places
from xenet.lab.pool import address_of
from xenet.lab.run import LabError, Misnamed, Run
from xenet.lab.topology import Lab, TopologyError, port_name

PINGS_AT_ONCE = 8
PATIENCE_S = 2
"""How long a ping waits for its answer, in seconds."""


class Guest(msgspec.Struct, frozen=True):
    """A VM that runs, and where; a virtual machine has no namespace."""

    name: str
    vm: str
    domid: int
    host: str
    namespace: Namespace | None


class Learned(msgspec.Struct, frozen=True):
    """A line of a switch's MAC table; vlan 0: the switch does not look at tags."""

    mac: str
    port: str
    vlan: int = 0


class Ping(msgspec.Struct, frozen=True):
    """Whether a ping got through, `source` to `target` and back."""

    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    ok: bool


class Pings(msgspec.Struct, frozen=True):
    """The result of ping-all; its JSON is the one that interface scripts read."""

    sent: int
    received: int
    pairs: tuple[Ping, ...]


def guests(run: Run, lab: Lab) -> list[Guest]:
    """Every VM that runs, the lab's own and those made since."""
    found = [Guest(view.name, view.vm, view.domid, host.name, ns) for host in lab.hosts for view, ns in living(run.guests(host.name))]
    found += [Guest(view.name, view.vm, view.domid, host.name, None) for host in lab.hosts for view in virtual.living(run.machines(host.name))]
    return sorted(found, key=lambda guest: (len(guest.name), guest.name))


def locate(run: Run, lab: Lab, name: str) -> Namespace:
    """The namespace of a host, switch, machine or guest, by name or VM uuid. Raises LabError."""
    if name in places(lab):
        return run.namespace(name)
    there = guests(run, lab)
    for guest in there:
        if name in (guest.name, guest.vm):
            if guest.namespace is None:
                address = (address_of(lab.vms, guest.name) or "").partition("/")[0]
                raise LabError(virtual.way_in(guest.name, guest.host, run.machines(guest.host) / guest.vm / CONSOLE, address))
            return guest.namespace
    raise Misnamed(f"no {name} here; there are {', '.join([*places(lab), *(guest.name for guest in there)])}")


def ensure_addresses(run: Run, lab: Lab) -> None:
    """Give every running guest of the topology its address on eth0, where it has an eth0 and no address of its own."""
    for guest in guests(run, lab):
        address = address_of(lab.vms, guest.name)
        if address is not None and guest.namespace and addresses(guest.namespace).get("eth0") == []:
            ip(guest.namespace.pid, ["link set dev eth0 up", f"address add {address} dev eth0"])


def addresses(namespace: Namespace) -> dict[str, list[str]]:
    """The IPv4 addresses (CIDR) of each device but `lo`."""
    return {
        device["ifname"]: [f"{a['local']}/{a['prefixlen']}" for a in device["addr_info"] if a["family"] == "inet"]
        for device in ip_json(namespace.pid, "address", "show")
        if device["ifname"] != "lo"
    }


def addresses_of(run: Run, guest: Guest) -> dict[str, list[str]]:
    """Those of a virtual machine as the topology says: nobody can look into it."""
    known = address_of(run.lab().vms, guest.name)
    return addresses(guest.namespace) if guest.namespace else {"eth0": [known]} if known else {}


def ip_json(pid: int, *arguments: str) -> list[dict[str, Any]]:
    """What ip(8) shows in a namespace. Raises LabError."""
    done = subprocess.run(inside(pid, ["ip", "-details", "-json", *arguments]), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"ip: {done.stderr.strip()}")
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def command_in(run: Run, name: str, command: Sequence[str]) -> list[str]:
    """A command line that runs `command` inside a host, switch, machine or guest, guests having their addresses by then. Raises LabError."""
    lab = run.lab()
    ensure_addresses(run, lab)
    return inside(locate(run, lab, name).pid, vswitch.at_home(run, name, command) if name in places(lab) else command)


def become(command: Sequence[str]) -> None:
    """Be that command from here on: its terminal, signals and exit status are the user's own. Raises LabError."""
    try:
        os.execvp(command[0], list(command))
    except OSError as error:
        raise LabError(f"{command[0]}: {error.strerror}") from error


def capture_command(run: Run, where: str, count: int | None = None, only: Sequence[str] = ()) -> list[str]:
    """A command line that writes the frames seen at HOST/DEVICE or GUEST[/N] as text, tags included, to stdout.

    `only` is a filter in the words of pcap-filter(7). Raises LabError.
    """
    name, _, device = where.partition("/")
    device = f"eth{device}" if device.isdecimal() else device or "eth0"
    name, device = _outside(run, name, device)
    pid = locate(run, run.lab(), name).pid
    if device not in {link["ifname"] for link in ip_json(pid, "link", "show")}:
        raise Misnamed(f"{name} has no device {device}")
    show = ["-e", "-n", "-l", "-q", *(["-c", str(count)] if count else [])]
    if frames.privileges_can_be_dropped():
        return inside(pid, ["tcpdump", "--immediate-mode", "-i", device, *show, *only])
    listen = inside(pid, [sys.executable, "-m", "xenet.lab.frames", device])
    read = ["unshare", "--user", "tcpdump", "-r", "-", *show, *only]
    return ["/bin/sh", "-c", f"{shlex.join(listen)} | {shlex.join(read)}"]


def _outside(run: Run, name: str, device: str) -> tuple[str, str]:
    """Where frames of a virtual machine's NIC can be seen: at its tap, on its host. Others are as they are."""
    for guest in guests(run, run.lab()):
        if name in (guest.name, guest.vm) and guest.namespace is None:
            return guest.host, f"tap{guest.domid}.{device.removeprefix('eth')}"
    return name, device


def set_cable(run: Run, where: str, *, plugged: bool) -> None:
    """Pull or plug the cable of HOST/NIC: the switch's end goes down or up, and the other side's carrier with it. Raises LabError."""
    owner, _, nic = where.partition("/")
    switch = _switch_of(run.lab(), owner, nic or "eth0")
    ip(run.namespace(switch).pid, [f"link set dev {port_name(owner, nic or 'eth0')} {'up' if plugged else 'down'}"])


def _switch_of(lab: Lab, owner: str, nic: str) -> str:
    for machine in lab.machines:
        if (machine.name, "eth0") == (owner, nic):
            return machine.switch
    try:
        host = lab.host(owner)
    except TopologyError as error:
        raise Misnamed(str(error)) from error
    for found in host.nics:
        if found.name == nic:
            return found.switch
    raise Misnamed(f"{owner} has no NIC {nic}; it has {', '.join(found.name for found in host.nics)}")


def fdb(run: Run, switch: str) -> list[Learned]:
    """What a physical switch has learned, port by port. Raises LabError."""
    lab = run.lab()
    if switch not in lab.switches:
        raise Misnamed(f"no switch {switch} here; there are {', '.join(lab.switches)}")
    if vswitch.is_one(run, switch):
        return _in_order(Learned(*row) for row in vswitch.learned(run, switch, lab.ports(switch)))
    command = inside(run.namespace(switch).pid, ["bridge", "-j", "fdb", "show", "br", switch])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"bridge: {done.stderr.strip()}")
    entries = [entry for entry in json.loads(done.stdout or "[]") if entry.get("state", "") == "" and "master" in entry]
    return _in_order(Learned(entry["mac"], entry["ifname"], entry.get("vlan", 0)) for entry in entries)


def _in_order(rows: Iterable[Learned]) -> list[Learned]:
    return sorted(rows, key=lambda row: (row.port, row.mac, row.vlan))


def fdb_lines(rows: Sequence[Learned]) -> list[str]:
    width = max((len(row.port) for row in rows), default=0)
    return [f"{row.port:<{width}}  {row.mac}{f'  VLAN {row.vlan}' if row.vlan else ''}" for row in rows]


Places = dict[str, tuple[Namespace | None, str]]
"""Where each is from whom pings can be sent, and its address, without its prefix length."""


def endpoints(run: Run, lab: Lab) -> Places:
    """Who can be pinged: guests and machines with an address, virtual ones with that of the topology."""
    ensure_addresses(run, lab)
    everyone = [(guest.name, guest.namespace) for guest in guests(run, lab)] + [(m.name, run.namespace(m.name)) for m in lab.machines]
    first = {name: first_address(namespace) if namespace else (address_of(lab.vms, name) or "").partition("/")[0] for name, namespace in everyone}
    return {name: (namespace, first[name]) for name, namespace in everyone if first[name]}


def first_address(namespace: Namespace) -> str:
    """That of the NIC with the lowest number: the kernel's order is another one after a migration."""
    found = addresses(namespace)
    return next((address.partition("/")[0] for device in sorted(found, key=_nic_order) for address in found[device]), "")


def _nic_order(device: str) -> tuple[bool, int]:
    number = device.removeprefix("eth")
    return (False, int(number)) if number != device and number.isdecimal() else (True, 0)


def ping_all(who: Places, done: Callable[[], None] = lambda: None) -> Pings:
    """Every ordered pair whose first can be told to ping once, a few at a time; `done` is called after each."""
    pairs = tuple(_pings(who, done))
    return Pings(len(pairs), sum(ping.ok for ping in pairs), pairs)


def _pings(who: Places, done: Callable[[], None]) -> Iterator[Ping]:
    def one(way: tuple[str, str, Namespace]) -> Ping:
        source, target, place = way
        return Ping(source, target, ping(place, who[target][1]))

    ways = [(source, target, place) for source, target in permutations(who, 2) if (place := who[source][0])]
    with ThreadPoolExecutor(PINGS_AT_ONCE) as pool:
        for result in pool.map(one, ways):
            done()
            yield result


def ping(source: Namespace, address: str, count: int = 1) -> bool:
    """Whether so many echo requests are all answered."""
    command = inside(source.pid, ["ping", "-n", "-q", "-c", str(count), "-i", "0.2", "-W", str(PATIENCE_S), address])
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
