"""Rate limits on the bridge datapath and on Open vSwitch's, which is the userspace one where the kernel has not its module: what arrives of UDP
offered at twice the limit, what TCP makes of it, and how long its queue is.

One host, two namespace guests, the first of them limited. All rates are Ethernet bytes a second against the limit's; of TCP, what
reaches the program, so 1,448 of each 1,514 bytes: 0.956 is all that there is. The bounds are for 10 s and the median of 5, as
`XENET_LONG=1` measures; else both are less, and the bucket's first filling weighs more.
"""

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from msgspec import structs

from bench.datapath import check, still
from bench.harness import Row, at_most, median
from tests.netns import Namespace, namespaces
from xenet.datapath.base import Datapath, SocketIn
from xenet.datapath.bridge import BridgeDatapath
from xenet.datapath.openvswitch.backend import OpenVSwitchDatapath
from xenet.datapath.openvswitch.daemons import Daemons
from xenet.datapath.openvswitch.place import Place
from xenet.datapath.openvswitch.userspace import kernel_has_module
from xenet.plan.steps import CreatePort, CreateSwitch, SetPort
from xenet.plan.view import PortView, SwitchView

LONG = bool(os.environ.get("XENET_LONG"))
RATES = (100, 1_250, 12_500, 125_000)
"""kB/s of 1,024 bytes."""
SECONDS, ROUNDS = (10, 5) if LONG else (4, 3)
PAYLOAD, FRAME = 1400, 1442
MANY = 20
"""Datagrams a send from FAST on: one by one, two cores do not offer 2 Gbit/s."""
FAST = 100_000
SEGMENT, SEND_BUFFER = 103, 32
"""UDP_SEGMENT, SO_SNDBUFFORCE (udp(7), socket(7))."""
NOTE = f"median of {ROUNDS}, {SECONDS} s each" + ("" if LONG else "; XENET_LONG=1: of 5, 10 s each")
UNBOUND = "" if kernel_has_module() else f"openvswitch: UDP offered at twice {RATES[-1]:,} kB/s"
"""A figure that the machine's processors bound, not the limit."""
PORT = PortView("vif1.0", "limited", "0", 0, "02:00:00:00:00:01")
OTHER = PortView("vif2.0", "free", "1", 0, "02:00:00:00:00:02")
TARGET = "10.0.0.2"


class Site(NamedTuple):
    """A host's datapath, its namespace, and the guests'."""

    datapath: Datapath
    host: Namespace
    sender: Namespace
    receiver: Namespace

    def limit(self, kbps: int) -> int:
        """Bytes a second, from now on."""
        rate = kbps * 1024
        check(self.host(self.datapath.do, [SetPort(object=PORT.vif, bridge="xapi0", port=structs.replace(PORT, rate=rate))]))
        return rate


class Heard(NamedTuple):
    """What a device has received at a time: bytes and frames, as the kernel counts them (a large segment once)."""

    octets: int
    frames: int
    at: float


def heard() -> Heard:
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    octets, frames = next(line.split()[1:3] for line in lines if line.split()[0] == "eth0:")
    return Heard(int(octets), int(frames), time.monotonic())


def on_the_wire(before: Heard, after: Heard) -> float:
    """Ethernet bytes a second, all datagrams in frames of their own."""
    header = FRAME - PAYLOAD
    return (after.octets - before.octets - header * (after.frames - before.frames)) / PAYLOAD * FRAME / (after.at - before.at)


def offer(rate: float, seconds: float, many: int) -> float:
    """Send at this rate; what was offered indeed, in bytes a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((TARGET, 9))
        sock.setsockopt(socket.SOL_SOCKET, SEND_BUFFER, 32 << 20)  # or the limit's queue, which counts as not yet sent, stops the sender
        if many > 1:
            sock.setsockopt(socket.SOL_UDP, SEGMENT, PAYLOAD)
        data, sent, start = bytes(PAYLOAD * many), 0, time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            while sent < rate * passed:
                send(sock, data)
                sent += FRAME * many
            time.sleep(0.0005)
        return sent / passed


def send(sock: socket.socket, data: bytes) -> None:
    with suppress(ConnectionRefusedError):  # nobody listens there: what arrives is counted at the device
        sock.send(data)


def udp(site: Site, rate: int, many: int) -> tuple[float, float]:
    """What arrived and what was offered, in limits: from the first frame on."""
    offered: list[float] = []
    before = site.receiver(heard)
    thread = threading.Thread(target=lambda: offered.append(site.sender(offer, 2 * rate, SECONDS + 0.5, many)))
    thread.start()
    while (start := site.receiver(heard)).frames == before.frames:
        time.sleep(0.001)
    time.sleep(SECONDS)
    end = site.receiver(heard)
    thread.join()
    return on_the_wire(start, end) / rate, offered[0] / rate


class Transfer(NamedTuple):
    """What TCP reached, in limits, and the longest round trip that it met, in milliseconds."""

    rate: float
    round_trip: float


def tcp(site: Site, rate: int, control: str) -> Transfer:
    server = site.receiver(subprocess.Popen, ["iperf3", "-s", "-1", "--forceflush"], stdout=subprocess.PIPE, text=True)
    with server:
        assert server.stdout
        while "listening" not in server.stdout.readline():
            pass
        command = ["iperf3", "-c", TARGET, "-t", str(SECONDS), "-C", control, "-J"]
        done = site.sender(subprocess.run, command, capture_output=True, text=True, timeout=SECONDS + 30)
        server.stdout.read()
    said = json.loads(done.stdout)["end"]
    return Transfer(said["sum_received"]["bits_per_second"] / 8 / rate, said["streams"][0]["sender"]["max_rtt"] / 1000)


def at_a_rate(site: Site, kbps: int, controls: Sequence[str], prefix: str) -> Iterator[Row]:
    rate, many = site.limit(kbps), MANY if kbps > FAST else 1
    found = [udp(site, rate, many) for _ in range(ROUNDS)]
    note = f"{NOTE}; offered {median([offered for _, offered in found]):.2f}: " + listed([arrived for arrived, _ in found])
    yield within(f"{prefix}UDP offered at twice {kbps:,} kB/s", median([arrived for arrived, _ in found]), 0.98, 1.02, note)
    for control in controls:
        runs = [tcp(site, rate, control) for _ in range(ROUNDS)]
        rates = [run.rate for run in runs]
        yield within(f"{prefix}TCP ({control}) at {kbps:,} kB/s", median(rates), 0.93, 1.0, f"{NOTE}: {listed(rates)}")
        longest = max(run.round_trip for run in runs)
        name = f"{prefix}its longest round trip ({control}) at {kbps:,} kB/s"
        yield at_most(name, longest, 100, "ms") if kbps >= RATES[1] else Row(name, longest, "ms")


def within(name: str, value: float, low: float, high: float, note: str) -> Row:
    if name == UNBOUND:
        return Row(name, value, "times", note=f"as much as the userspace datapath moves on this machine; {note}")
    return Row(name, value, "times", f"{low:g} to {high:g}", low <= value <= high, note)


def listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def run() -> Iterator[Row]:
    yield from on("", lambda netns_of, folder: BridgeDatapath(netns_of))
    yield from on("openvswitch: ", switched)


def switched(netns_of: SocketIn, folder: Path) -> Datapath:
    daemons = Daemons(folder / "openvswitch")
    return OpenVSwitchDatapath(netns_of, Place(daemons.socket, daemons, not kernel_has_module()))


def on(prefix: str, made: Callable[[SocketIn, Path], Datapath]) -> Iterator[Row]:
    with TemporaryDirectory() as folder, namespaces(3) as (host, *guests):
        for guest in guests:
            guest(still)
        datapath = host(made, lambda vm: guests[int(vm)].dup(), Path(folder))
        steps = [CreatePort(object=view.vif, bridge="xapi0", port=view) for view in (PORT, OTHER)]
        check(host(datapath.do, [CreateSwitch(object="net", switch=SwitchView("xapi0", "net")), *steps]))
        for number, guest in enumerate(guests, 1):
            guest.ip("address", "add", f"10.0.0.{number}/24", "dev", "eth0")
        there = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
        try:
            for kbps in RATES:
                yield from at_a_rate(Site(datapath, host, *guests), kbps, [control for control in ("cubic", "bbr") if control in there], prefix)
        finally:
            datapath.dismantle()
            datapath.close()
