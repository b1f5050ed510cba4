"""What a migration costs those who talk to the VM: 1,000 packets a second from the router and from another VM, each with its number; on a plain
network, on a VLAN, on a bond.

A gap is the time from the first packet that was lost to the first behind it that arrived, by the clock of who sent them: what the move cost,
whatever else the machine did. What the receiver saw is shown, too: the longest time without a packet, beside that of the same streams
while nobody moved.

VLANs and bonds of the Linux bridge need a kernel that has them. Where it has not, they run on a stock kernel in a virtual machine without KVM
(tools/stock_kernel.py), ten to twenty times slower and with fewer packets and moves: those times are upper bounds.
"""

import copy
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec

from bench.harness import Row, at_most, median, percentile
from tests.e2e.crossing import NICS, TAG, bond_network, vlan_network
from tests.e2e.world import PATIENCE, until
from tests.e2e.yard import HOSTS, MOVER, ROUTER, Yard, yard
from tests.netns import ping
from xenet.cli.xe.tasks import members
from xenet.datapath import bonds, vlans

ROOT = Path(__file__).resolve().parent.parent
EMULATED = PATIENCE > 1
MOVES = 5 if EMULATED else 20
PORT = 4002
INTERVAL = 0.02 if EMULATED else 0.001
AROUND = 0.15 * PATIENCE
"""Seconds of packets before and after each move."""
MEDIAN_MS, PERCENTILE_MS = 10.0, 50.0
SOURCES = ("router", "a VM")


class Course(msgspec.Struct, frozen=True):
    """A network on which a VM moves, and to which the router speaks with this tag."""

    name: str
    site: Yard
    address: str = MOVER
    tag: int = 0


def course(name: str, site: Yard, network: str, prefix: str, tag: int = 0) -> Course:
    """With a VM of its own that moves, and one on each host that stays."""
    own = copy.copy(site)
    own.vm = site.pool.vm(f"mover on a {name}", network)
    own.vif = site.pool.api.VM.get_VIFs(own.vm)[0]
    own.mac = str(site.pool.api.VIF.get_MAC(own.vif))
    own.guest = site.pool.start(own.vm, HOSTS[0], f"{prefix}.1/24")
    own.others = {
        host: site.pool.start(site.pool.vm(f"{host} on a {name}", network), host, f"{prefix}.{10 + number}/24") for number, host in enumerate(HOSTS)
    }
    return Course(name, own, f"{prefix}.1", tag)


# --- streams -------------------------------------------------------------------------------------------------------------


def _udp_to(stack: ExitStack, place: Any, address: str) -> Callable[[bytes], object]:
    sock: socket.socket = stack.enter_context(place(socket.socket, socket.AF_INET, socket.SOCK_DGRAM))
    sock.setblocking(False)
    return lambda data: sock.sendto(data, (address, PORT))


def _frames_to(stack: ExitStack, place: Any, mac: str, address: str, tag: int) -> Callable[[bytes], object]:
    """Packets as they are on the wire, tag and all: the router need have no device for the VLAN."""
    wire: socket.socket = stack.enter_context(place(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0))
    place(wire.bind, ("eth0", 0))
    source = bytes.fromhex(place(_mac_of, "eth0").replace(":", ""))
    head = bytes.fromhex(mac.replace(":", "")) + source + (struct.pack("!HH", 0x8100, tag) if tag else b"") + b"\x08\x00"
    return lambda data: wire.send(head + _packet(address, data))


def _mac_of(device: str) -> str:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((device, 0))
        return str(sock.getsockname()[4].hex())


def _packet(address: str, data: bytes) -> bytes:
    """IPv4 and UDP without a checksum of its own, from the router."""
    udp = struct.pack("!HHHH", PORT, PORT, 8 + len(data), 0) + data
    ends = socket.inet_aton(ROUTER) + socket.inet_aton(address)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + ends
    total = sum(struct.unpack("!10H", header))
    total = (total >> 16) + (total & 0xFFFF)
    return header[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + header[12:] + udp


def _receiver(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.bind((address, PORT))
    sock.settimeout(0.2 * PATIENCE)
    return sock


class Senders:
    """Of one course, open until the stack is."""

    def __init__(self, stack: ExitStack, run: Course) -> None:
        site = run.site
        self.router = _frames_to(stack, site.router, site.mac, run.address, run.tag)
        self.others = {host: _udp_to(stack, other, run.address) for host, other in site.others.items()}


class Streams:
    """Both streams, for as long as the block lasts, and when which number of which stream arrived."""

    def __init__(self, run: Course, senders: Senders, host: str) -> None:
        self._stop = threading.Event()
        self._senders = (senders.router, senders.others[host])
        self._receiver: socket.socket = run.site.guest(_receiver, run.address)
        self.sent: tuple[list[float], list[float]] = ([], [])
        """When which number of each stream was sent."""
        self.arrived: list[tuple[float, int, int]] = []
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(2)] + [threading.Thread(target=self._receive)]

    def _send(self, stream: int) -> None:
        due = time.perf_counter()
        while not self._stop.is_set():
            self.sent[stream].append(time.perf_counter())
            try:
                self._senders[stream](b"%d %d" % (stream, len(self.sent[stream]) - 1))
            except BlockingIOError:
                self.sent[stream].pop()
            due = max(due + INTERVAL, time.perf_counter() - 10 * INTERVAL)
            time.sleep(max(due - time.perf_counter(), 0))

    def _receive(self) -> None:
        while True:
            try:
                stream, number = map(int, self._receiver.recv(64).split())
            except TimeoutError:
                return
            self.arrived.append((time.perf_counter(), stream, number))

    def __enter__(self) -> "Streams":
        for thread in self._threads:
            thread.start()
        time.sleep(AROUND)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(AROUND)
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._receiver.close()

    def gap(self, stream: int) -> float:
        """From the first packet lost to the first that arrived again, in ms."""
        sent, lost = self.sent[stream], self._missing(stream)
        return (sent[min(lost[-1] + 1, len(sent) - 1)] - sent[lost[0]]) * 1000 if lost else 0.0

    def pause(self, stream: int) -> float:
        """The longest time without a packet of this stream, in ms."""
        times = [at for at, which, _ in self.arrived if which == stream]
        return max((after - before for before, after in itertools.pairwise(times)), default=0.0) * 1000

    def lost(self, stream: int) -> int:
        return len(self._missing(stream))

    def _missing(self, stream: int) -> list[int]:
        arrived = {number for _, which, number in self.arrived if which == stream}
        return [number for number in range(len(self.sent[stream])) if number not in arrived]

    def duplicated(self) -> int:
        return len(self.arrived) - len({(which, number) for _, which, number in self.arrived})


# --- moves ---------------------------------------------------------------------------------------------------------------

Round = tuple[Streams, Streams, dict[str, str]]
"""The streams while nobody moves, those of a move, and what the hosts say of it."""


def _moved(site: Yard) -> dict[str, str]:
    api = site.pool.api
    task = api.Async.VM.pool_migrate(site.vm, site.pool.host(site.elsewhere()), {})
    until(lambda: api.task.get_status(task) != "pending")
    record = api.task.get_record(task)
    api.task.destroy(task)
    return members(record["result"])


def _rounds(run: Course, senders: Senders) -> Iterator[Round]:
    """Still and moving, in turns."""
    site = run.site
    for other in site.others.values():
        until(lambda other=other: ping(other, run.address))  # type: ignore[misc]
    for number in range(MOVES + 1):
        host = site.where()  # the VM on the same switch as the one that moves: its frames turn round at the source's
        with Streams(run, senders, host) as still:
            time.sleep(0.1 * PATIENCE)
        with Streams(run, senders, host) as moving:
            said = _moved(site)
        until(site.settled)
        if number:  # the first one warms up
            yield still, moving, said


def _network(name: str, site: Yard) -> Course:
    if name == "VLAN":
        return course(name, site, vlan_network(site), "10.2.0", TAG)
    return course(name, site, bond_network(site), "10.3.0") if name == "bond" else Course(name, site)


def figures(datapath: str, networks: Sequence[str], within: bool) -> Iterator[Row]:
    """On this kernel. `within`: whether the bounds are for these."""
    with tempfile.TemporaryDirectory() as folder, yard(Path(folder), datapath, NICS) as site:
        for network in networks:
            run = _network(network, site)
            with ExitStack() as stack:
                rounds, name = list(_rounds(run, Senders(stack, run))), f"{datapath}, {run.name}"
            for stream, source in enumerate(SOURCES):
                yield from _of_stream(f"{name}, {source}", rounds, stream, within)
            yield from _of_hosts(name, rounds)


def run() -> Iterator[Row]:
    whole = not vlans.find_lack() and not bonds.find_lack()
    yield from figures("bridge", ("network", "VLAN", "bond") if whole else ("network",), within=True)
    yield from figures("openvswitch", ("network", "VLAN", "bond"), within=True)
    if not whole:
        yield from elsewhere()


def elsewhere() -> Iterator[Row]:
    """The rows that the virtual machine's run says, in its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "junit.xml")
        command = [sys.executable, "tools/stock_kernel.py", "--seconds", "1200", "--junit", str(report), "bench/stock_migration.py"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:])
        for found in ElementTree.parse(report).iter("property"):
            row = msgspec.convert(json.loads(found.attrib["value"]), Row)
            yield msgspec.structs.replace(row, note="; ".join(filter(None, (row.note, "in the virtual machine"))))


def _of_stream(name: str, rounds: Sequence[Round], stream: int, within: bool) -> Iterator[Row]:
    gaps = [moving.gap(stream) for _, moving, _ in rounds]
    note = f"{len(rounds)} moves, load {os.getloadavg()[0]:.1f}; each: {_each(gaps)}"
    if within:
        yield at_most(f"{name}: gap, median", median(gaps), MEDIAN_MS, "ms", note)
        yield at_most(f"{name}: gap, 95th percentile", percentile(gaps, 95), PERCENTILE_MS, "ms")
    else:
        yield Row(f"{name}: gap, median", median(gaps), "ms", note=note)
        yield Row(f"{name}: gap, 95th percentile", percentile(gaps, 95), "ms")
    yield Row(f"{name}: packets lost, median", median([moving.lost(stream) for _, moving, _ in rounds]), "")
    pauses, quiet = ([one[part].pause(stream) for one in rounds] for part in (1, 0))
    still = f"when nobody moves {median(quiet):.1f}, 95th percentile {percentile(quiet, 95):.1f}"
    yield Row(f"{name}: longest time without a packet, median", median(pauses), "ms", note=still)


def _of_hosts(name: str, rounds: Sequence[Round]) -> Iterator[Row]:
    yield at_most(f"{name}: packets duplicated, all moves", sum(moving.duplicated() for _, moving, _ in rounds), 0, "")
    said = [report for *_, report in rounds if report]
    off = [abs(int(report["lost"]) - moving.lost(0) - moving.lost(1)) for _, moving, report in rounds if report]
    yield Row(f"{name}: gap as the hosts say, median", median([float(report["gap"]) for report in said if "gap" in report]), "ms")
    yield Row(f"{name}: first announcement after the switch-over began, median", median([float(report["announced"]) for report in said]), "ms")
    yield Row(f"{name}: frames by which their count of the lost is off, median", median(off), "")


def _each(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values)
