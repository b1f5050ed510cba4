"""What the migration of a virtual machine costs those who talk to it: a thousand numbered echo requests a second from the router, and as many from
a VM on the host that it leaves, while it moves there and back; on a plain network, on a VLAN, on a bond.

QEMU itself stops it for some time, which is its own: it depends on how much memory it wrote last, and on how fast the machine is that emulates
it. The bound is for the rest, from when it goes on to when frames reach it.

An emulated guest on two busy cores answers late, by a tenth of a second and more, and loses requests now and then, whether it moves or not.
So the gap is told by what was lost, not by when answers came: from the first request that was lost to the next one that was answered, by the
clock of who sent them, where losses with less than the bound between them are one. Of these the gap is the longest at
the switch-over: in the time that the pause takes, the bound before it and the bound behind it, reckoned from when the physical switch hears the
guest's first reverse ARP from the host that it went to. What was lost at other times stands beside it, with what the same streams lose in the
same run while nobody moves. So do silences, the time between two answers.

VLANs and bonds run on Open vSwitch alone: the Linux bridge's need a kernel that has them, and in the virtual machine with a stock kernel the guest
would be emulated by an emulated machine.
"""

import ctypes
import os
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.harness import Row, at_most, median, percentile
from tests.e2e.crossing import NICS, TAG, bond_network, vlan_network
from tests.e2e.echoes import ADDRESS, Echoes, Outage, Plain, Tagged, Way, echoes
from tests.e2e.machine import Machine
from tests.e2e.world import ETH_P_ALL, until
from tests.e2e.yard import HOSTS, Yard, answers, yard
from tests.netns import Namespace
from tests.tiny import tiny
from xenet.cli.xe.tasks import members

MOVES = 10
RATE = 1000
"""Echo requests a second and source."""
REST_MS = 20.0
SOURCES = ("router", "a VM")
_ATTACH_FILTER = 26
_REVERSE_ARP = ((0x28, 0, 0, 12), (0x15, 0, 1, 0x8035), (6, 0, 0, 64), (6, 0, 0, 0))
"""For the kernel's filter (bpf(2)'s older form, of socket(7)): the EtherType is that."""
Ways = tuple[Callable[[Any], Way], Callable[[Any], Way]]
"""The router's and the VM's."""


class Course(msgspec.Struct, frozen=True):
    """A network on which the machine moves, with a VM on each host that stays."""

    name: str
    machine: Machine
    ways: Ways
    others: dict[str, Any]

    def streams(self, stack: ExitStack, host: str) -> list[Echoes]:
        """From the router and from the VM on this host, until the stack is closed."""
        places = (self.machine.site.router, self.others[host])
        return [stack.enter_context(echoes(place, RATE, way)) for place, way in zip(places, self.ways, strict=True)]


class Move(msgspec.Struct, frozen=True):
    """The streams while nobody moves, those of a move, what the hosts say of it, and when the switch heard of it, by time.perf_counter."""

    still: list[Echoes]
    moving: list[Echoes]
    said: dict[str, str]
    heard: float

    def rest(self, source: int) -> float:
        """The gap without the machine's own pause, in ms."""
        return sum(gap.ms() for gap in self.gap(source)) - float(self.said["pause"])

    def gap(self, source: int) -> list[Outage]:
        """Of the switch-over; empty where it cost nothing."""
        bound = REST_MS / 1000
        since, until = self.heard - float(self.said["pause"]) / 1000 - bound, self.heard + bound
        return sorted((one for one in self.moving[source].outages(bound) if one.end >= since and one.begin <= until), key=Outage.ms)[-1:]

    def others(self, source: int) -> list[Outage]:
        return [outage for outage in self.moving[source].outages(REST_MS / 1000) if outage not in self.gap(source)]


class Ear:
    """When the physical switch heard a MAC's reverse ARPs, from which of its ports, while the block lasts."""

    def __init__(self, switch: Namespace, mac: str) -> None:
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._socket = switch(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        only = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _REVERSE_ARP))
        self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", len(_REVERSE_ARP), ctypes.addressof(only)))
        self._thread = threading.Thread(target=self._listen)
        self._over = threading.Event()
        self.heard: list[tuple[float, str]] = []

    def _listen(self) -> None:
        self._socket.settimeout(0.1)
        while not self._over.is_set():
            with suppress(TimeoutError):
                frame, source = self._socket.recvfrom(64)
                if frame[6:12] == self._mac and source[2] != socket.PACKET_OUTGOING:
                    self.heard.append((time.perf_counter(), source[0]))

    def first(self, host: str) -> float:
        """By a port of this host."""
        found = [at for at, port in self.heard if port == host or port.startswith(f"{host}-")]
        assert found, f"the switch heard nothing of the guest from {host}"
        return found[0]

    def __enter__(self) -> "Ear":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()


# --- networks ----------------------------------------------------------------------------------------------------------


def plain(site: Yard) -> Course:
    return Course("network", started(site, site.pool.external(), ADDRESS), (Plain, Plain), site.others)


def vlan(site: Yard) -> Course:
    """The router's kernel needs no VLANs: it sends frames as they are on the wire, and answers for its address."""
    network, address = vlan_network(site), "10.2.0.2"
    machine = started(site, network, address)
    way = partial(Tagged, tag=TAG, source="10.2.0.254", mac=machine.mac, address=address)
    return Course("VLAN", machine, (way, partial(Plain, address=address)), residents(site, network, "10.2.0"))


def bond(site: Yard) -> Course:
    network, address = bond_network(site), "10.3.0.2"
    site.router.ip("address", "add", "10.3.0.254/24", "dev", "eth0")
    way = partial(Plain, address=address)
    return Course("bond", started(site, network, address), (way, way), residents(site, network, "10.3.0"))


def started(site: Yard, network: str, address: str) -> Machine:
    made = Machine(site, network, address)
    made.start(HOSTS[0])
    return made


def residents(site: Yard, network: str, prefix: str) -> dict[str, Any]:
    names = {host: site.pool.vm(f"{host} on {prefix}", network) for host in HOSTS}
    return {host: site.pool.start(vm, host, f"{prefix}.{10 + number}/24") for number, (host, vm) in enumerate(names.items())}


# --- moves -------------------------------------------------------------------------------------------------------------


def moves(course: Course, address: str) -> Iterator[Move]:
    """Still and moving, in turns; the first one warms up."""
    machine = course.machine
    for other in course.others.values():
        until(partial(answers, other, address))
    for number in range(MOVES + 1):
        host = machine.where()  # the VM on the same switch as the machine: its requests turn round at the source's
        with ExitStack() as stack:
            still = course.streams(stack, host)
            time.sleep(1)
        there = machine.elsewhere()
        with Ear(machine.site.switch, machine.mac) as ear, ExitStack() as stack:
            moving = course.streams(stack, host)
            said = members(machine.move(there))
        until(machine.settled)
        if number:
            yield Move(still, moving, said, ear.first(there))


def figures(datapath: str, networks: Sequence[tuple[Callable[[Yard], Course], str]]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, yard(Path(folder), datapath, NICS) as site:
        for network, address in networks:
            course = network(site)
            made, name = list(moves(course, address)), f"{datapath}, {course.name}"
            for source, label in enumerate(SOURCES):
                yield from of_source(f"{name}, {label}", made, source)
            yield from of_hosts(name, made)
            site.pool.api.VM.hard_shutdown(course.machine.vm)


def run() -> Iterator[Row]:
    try:
        tiny()
    except pytest.skip.Exception as why:
        yield Row("no virtual machine here", float("nan"), "", note=str(why))
        return
    yield from figures("bridge", [(plain, ADDRESS)])
    yield from figures("openvswitch", [(plain, ADDRESS), (vlan, "10.2.0.2"), (bond, "10.3.0.2")])


def of_source(name: str, made: Sequence[Move], source: int) -> Iterator[Row]:
    rest = [move.rest(source) for move in made]
    rate = median([len(move.moving[source].sent) / (move.moving[source].sent[-1] - move.moving[source].sent[0]) for move in made])
    note = f"{len(made)} moves, {rate:.0f} requests a second, load {os.getloadavg()[0]:.1f}; each: {', '.join(f'{value:.0f}' for value in rest)}"
    yield at_most(f"{name}: gap minus the pause that QEMU says, median", median(rest), REST_MS, "ms", note)
    yield at_most(f"{name}: gap minus the pause that QEMU says, 95th percentile", percentile(rest, 95), REST_MS, "ms")
    yield Row(f"{name}: requests lost, median", median([len(move.moving[source].lost()) for move in made]), "")
    others = [outage for move in made for outage in move.others(source)]
    still = [outage for move in made for outage in move.still[source].outages(REST_MS / 1000)]
    note = f"the longest time {longest(others):.0f} ms; while nobody moves {lost(still)}, {longest(still):.0f} ms"
    yield Row(f"{name}: requests lost at other times, all moves", lost(others), "", note=note)
    silent = [[streams[source].silence() for streams in (move.moving, move.still)] for move in made]
    quiet = f"when nobody moves {median([still for _, still in silent]):.0f}"
    yield Row(f"{name}: longest time without an answer, median", median([moving for moving, _ in silent]), "ms", note=quiet)


def of_hosts(name: str, made: Sequence[Move]) -> Iterator[Row]:
    yield Row(f"{name}: the pause that QEMU says, median", median([float(move.said["pause"]) for move in made]), "ms")
    twice = sum(stream.duplicated() for move in made for stream in move.moving) + sum(int(move.said["duplicated"]) for move in made)
    yield at_most(f"{name}: packets duplicated, all moves", twice, 0, "")
    spoken = [float(move.said["announced"]) for move in made]
    yield Row(f"{name}: first announcement after the guest went on, median", median(spoken), "ms")


def lost(outages: Sequence[Outage]) -> int:
    return sum(outage.lost for outage in outages)


def longest(outages: Sequence[Outage]) -> float:
    return max((outage.ms() for outage in outages), default=0.0)
