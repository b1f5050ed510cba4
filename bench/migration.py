"""What a migration costs those who talk to the VM: 1,000 packets a second from the router and from another VM, each with its number.

A gap is the time from the first packet that was lost to the first behind it that arrived, by the clock of who sent them: what the move cost,
whatever else the machine did. What the receiver saw is shown, too: the longest time without a packet, beside that of the same streams
while nobody moved.
"""

import itertools
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.harness import Row, at_most, median, percentile
from tests.e2e.world import until
from tests.e2e.yard import MOVER, Yard, yard
from xenet.cli.xe.tasks import members

MOVES = 20
PORT = 4002
INTERVAL = 0.001
AROUND = 0.15
"""Seconds of packets before and after each move."""
BOUND = "bridge"
"""Where the bounds hold. Open vSwitch without its kernel module forwards in a process that waits for the processor like all others."""
MEDIAN_MS, PERCENTILE_MS = 10.0, 50.0
SOURCES = ("router", "a VM")


def _sender(place: Any) -> socket.socket:
    sock: socket.socket = place(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    return sock


def _receiver() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.bind((MOVER, PORT))
    sock.settimeout(0.2)
    return sock


class Streams:
    """Both streams, for as long as the block lasts, and when which number of which stream arrived."""

    def __init__(self, site: Yard, other: Any) -> None:
        self._stop = threading.Event()
        self._senders = [_sender(site.router), _sender(other)]
        self._receiver: socket.socket = site.guest(_receiver)
        self.sent: tuple[list[float], list[float]] = ([], [])
        """When which number of each stream was sent."""
        self.arrived: list[tuple[float, int, int]] = []
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(2)] + [threading.Thread(target=self._receive)]

    def _send(self, stream: int) -> None:
        due = time.perf_counter()
        while not self._stop.is_set():
            self.sent[stream].append(time.perf_counter())
            self._senders[stream].sendto(b"%d %d" % (stream, len(self.sent[stream]) - 1), (MOVER, PORT))
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
        for sock in (*self._senders, self._receiver):
            sock.close()

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


Round = tuple[Streams, Streams, dict[str, str]]
"""The streams while nobody moves, those of a move, and what the hosts say of it."""


def _moved(site: Yard) -> dict[str, str]:
    api = site.pool.api
    task = api.Async.VM.pool_migrate(site.vm, site.pool.host(site.elsewhere()), {})
    until(lambda: api.task.get_status(task) != "pending")
    record = api.task.get_record(task)
    api.task.destroy(task)
    return members(record["result"])


def _rounds(site: Yard) -> Iterator[Round]:
    """Still and moving, in turns."""
    site.ping()
    for number in range(MOVES + 1):
        other = site.others[site.where()]  # on the same switch as the VM: its frames turn round at the source's
        with Streams(site, other) as still:
            time.sleep(0.1)
        with Streams(site, other) as moving:
            said = _moved(site)
        until(site.settled)
        if number:  # the first one warms up
            yield still, moving, said


def run() -> Iterator[Row]:
    for datapath in ("bridge", "openvswitch"):
        with tempfile.TemporaryDirectory() as folder, yard(Path(folder), datapath) as site:
            rounds = list(_rounds(site))
        for stream, name in enumerate(SOURCES):
            yield from _of_stream(f"{datapath}, {name}", rounds, stream)
        yield from _of_hosts(datapath, rounds)


def _of_stream(name: str, rounds: Sequence[Round], stream: int) -> Iterator[Row]:
    gaps = [moving.gap(stream) for _, moving, _ in rounds]
    note = f"{MOVES} moves, load {os.getloadavg()[0]:.1f}; each: {_each(gaps)}"
    if name.startswith(BOUND):
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
