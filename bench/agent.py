"""The agent on the real kernel: what it adds to the bare messages, whether one plug grows with the host, and what it costs when nothing happens.

All in network namespaces of its own, with guests of its own. A plug is measured from the server's delta as it came over the link to the
state read back: replica, compile, diff, do, observe.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from bench.datapath import EACH, GUESTS, NETWORKS, bare, check, clean, listed, ports, spent, still
from bench.harness import Row, at_least, at_most, median, seconds
from tests.agent.rig import delta, snapshot
from tests.netns import Namespace, namespaces
from tests.plan.pools import network, records, vif
from xenet.agent.keeper import Keeper
from xenet.agent.namespace import enter_netns
from xenet.agent.replica import Replica
from xenet.datapath.bridge import BridgeDatapath
from xenet.guests.namespace import NamespaceGuests
from xenet.link.channel import Channel
from xenet.link.messages import Delta, FromAgent, FromServer, Hello, Report, decode, encode
from xenet.model.state import PoolState, state_of
from xenet.model.types import Ref, ref_of
from xenet.model.vif import VIF

ROUNDS = 3
PLUGS = 40
IDLE = 20.0
"""Seconds for which an agent is watched that has nothing to do; the bound is for a minute."""
MINUTE = 60.0
BOUND = 50.0
"""Milliseconds of CPU in an idle minute."""


def pool(networks: int, each: int, plugged: bool) -> PoolState:
    """GUESTS running VMs, and so many VIFs on so many internal networks: the ones that `bench.datapath.bare` makes."""
    vms = {str(guest): {"domid": guest + 1} for guest in range(GUESTS)}
    nets = [msgspec.structs.replace(network(f"net{n}"), bridge=f"xapi{n}") for n in range(networks)]
    views = [(n, view) for n in range(networks) for view in ports(n, each)]
    vifs = [msgspec.structs.replace(vif(view.vm, view.index, f"net{n}", mac=view.mac, plugged=plugged), uuid=view.vif) for n, view in views]
    return state_of(1, [*records({"vms": vms}), *nets, *vifs])


def with_plugged(state: PoolState, ref: Ref, value: bool) -> PoolState:
    return state.with_record("VIF", ref, msgspec.structs.replace(state.get(VIF, ref), plugged=value))


class Host:
    """A keeper in a namespace, with guests that are namespaces too, and the state that it was last told."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.namespace = namespace
        self.guests = NamespaceGuests(folder / "guests")
        self.datapath: BridgeDatapath = namespace(BridgeDatapath, self.guests.netns)
        self.keeper = Keeper(Replica(), self.datapath, self.guests)
        self.state = PoolState()

    def start_at(self, state: PoolState) -> None:
        self.keeper.replica.take(snapshot(state))
        self.keeper.start_over()
        self.namespace(self.keeper.converge)
        check(list(self.keeper.failures.items()))
        self.state = state
        for guest in self.guests.observe():
            inside(self.guests, guest)

    def news(self, state: PoolState) -> bytes:
        """The delta that leads to this state, as it crosses the link."""
        body, self.state = encode(delta(self.state, state)), state
        return body

    def take(self, body: bytes) -> None:
        """What the loop does with a delta."""
        message = decode(FromServer, body)
        assert isinstance(message, Delta)
        self.keeper.replica.take(message)
        self.namespace(self.keeper.converge)
        check(list(self.keeper.failures.items()))

    def one_plug(self, ref: Ref) -> float:
        """The seconds that the plug of a VIF takes which was unplugged just before."""
        self.take(self.news(with_plugged(self.state, ref, False)))
        self.namespace(self.datapath.reap)
        body = self.news(with_plugged(self.state, ref, True))
        return seconds(lambda: self.take(body))

    def close(self) -> None:
        self.datapath.close()
        clean(self.namespace)
        for guest in self.guests.observe():
            self.guests.stop(guest)


def inside(guests: NamespaceGuests, vm: str) -> None:
    """Keep a guest still, as `bench.datapath` keeps its own."""

    def quieten() -> None:
        found = guests.find(vm)
        assert found
        enter_netns(f"/proc/{found.pid}/ns/net")
        still()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(quieten).result()


@contextmanager
def host(namespace: Namespace, state: PoolState) -> Iterator[Host]:
    """Gone at the end, with its guests and devices."""
    with ExitStack() as stack:
        made = Host(namespace, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.callback(made.close)
        made.start_at(state)
        yield made


def batch(namespace: Namespace, guests: Sequence[Namespace]) -> Iterator[Row]:
    """All VIFs plugged by one commit, against the bare loop, in turns."""
    before, after = pool(NETWORKS, EACH, False), pool(NETWORKS, EACH, True)
    walls, cpus, rates = [], [], []
    for _ in range(ROUNDS):
        with host(namespace, before) as made:
            body = made.news(after)
            took = spent(lambda made=made, body=body: made.take(body))  # type: ignore[misc]
        raw = bare(namespace, guests, NETWORKS, EACH)
        clean(namespace)
        walls.append(raw.wall / took.wall)
        cpus.append(raw.cpu / took.cpu)
        rates.append(NETWORKS * EACH / took.wall)
    note = f"one commit over {NETWORKS} networks of {EACH}; rounds: "
    yield Row("VIFs plugged a second through the agent", median(rates), "VIFs/s", note=note + ", ".join(f"{rate:.0f}" for rate in rates))
    yield at_least("rate against a bare loop of the same messages", median(walls), 0.8, note=note + listed(walls))
    yield Row("CPU of the bare loop against it", median(cpus), "times", note=note + listed(cpus))


def one_at_a_time(small: Host, large: Host) -> Iterator[Row]:
    few, many = [], []
    for number in range(PLUGS):
        few.append(small.one_plug(ref_of(ports(0, EACH)[number].vif)))
        many.append(large.one_plug(ref_of(ports(number % NETWORKS, EACH)[number].vif)))
    ratios = [b / a for a, b in zip(few, many, strict=True)]
    note = f"median of {PLUGS}, in turns"
    yield Row(f"one plug at {EACH} VIFs", median(few) * 1000, "ms", note=note)
    yield Row(f"one plug at {NETWORKS * EACH} VIFs", median(many) * 1000, "ms", note=note)
    yield at_most(f"one plug at {NETWORKS * EACH} VIFs against {EACH}", median(ratios), 2, note=note)


def idle(large: Host, folder: Path) -> Iterator[Row]:
    """An agent process, as users run it, over the large host."""
    large.datapath.close()
    cpu = asyncio.run(watch(large, folder)) * 1000
    note = f"{NETWORKS * EACH} VIFs, {IDLE:.0f} s watched, scaled to a minute"
    yield at_most("CPU of an idle minute of the agent, without the audit", cpu * MINUTE / IDLE, BOUND, "ms", note=note)


async def watch(large: Host, folder: Path) -> float:
    """The seconds of CPU that the agent spends on nothing."""
    greeted: asyncio.Queue[Channel[FromAgent]] = asyncio.Queue()
    server = await asyncio.start_unix_server(lambda reader, writer: greeted.put_nowait(Channel(reader, writer, FromAgent)), folder / "link")
    command = [sys.executable, "-m", "xenet.cli.xenet", "agent", "--link", str(folder / "link"), "--state", str(large.guests.directory.parent)]
    command += ["--name", "here", "--nics", "lo", "--guests", "namespace", "--netns", f"/proc/{os.getpid()}/fd/{large.namespace.fd}"]
    agent = subprocess.Popen(command)
    try:
        channel = await asyncio.wait_for(greeted.get(), 30)
        assert isinstance(await channel.receive(), Hello)
        channel.send(snapshot(large.state))
        report = await asyncio.wait_for(channel.receive(), 60)
        assert isinstance(report, Report), report
        assert not report.failures, report
        await asyncio.sleep(2)
        start = cpu_of(agent.pid)
        assert start > 0, "this kernel does not count what a process runs"
        await asyncio.sleep(IDLE)
        return cpu_of(agent.pid) - start
    finally:
        agent.terminate()
        agent.wait(20)
        server.close()


def cpu_of(pid: int) -> float:
    """Seconds that the threads of the process have run so far, to the nanosecond (proc(5), schedstat)."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def run() -> Iterator[Row]:
    with namespaces(2 + GUESTS) as (one, two, *guests):
        for guest in guests:
            guest(still)
        yield from batch(one, guests)
        with host(one, pool(1, EACH, True)) as small, host(two, pool(NETWORKS, EACH, True)) as large:
            yield from one_at_a_time(small, large)
            with tempfile.TemporaryDirectory() as folder:
                yield from idle(large, Path(folder))
