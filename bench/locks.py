"""Locks on the bridge datapath: what they add to making VIFs, what a change costs beside many others, and what a frame pays.

A frame's time is that of its sender's send, which carries it through the bridge to the other guest's NIC.
"""

import socket
import time
from collections.abc import Callable, Iterator, Sequence

from msgspec import structs

from bench.datapath import EACH, GUESTS, ROUNDS, check, clean, listed, ours, ports, still
from bench.harness import Row, at_most, median, seconds
from tests.netns import Namespace, namespaces
from xenet.datapath.bridge import BridgeDatapath
from xenet.plan.steps import CreatePort, CreateSwitch, SetPort
from xenet.plan.view import LockView, PortView, SwitchView

MANY = 1000
FRAMES, TURNS = 5000, 15
SENDER = "02:00:00:00:00:00"


def locked(view: PortView, last: int = 1) -> PortView:
    """With an IPv4 and an IPv6 address."""
    number = int(view.vif[-12:])
    address = f"10.{last}.{number >> 8}.{number & 255}"
    return structs.replace(view, lock=LockView((address,), (f"2001:db8::{number + 1:x}",)))


def made(host: Namespace, guests: Sequence[Namespace], views: Sequence[PortView]) -> tuple[BridgeDatapath, float]:
    """A datapath with these ports in bridges of 200, and the seconds that they took."""
    datapath = host(BridgeDatapath, lambda vm: guests[int(vm)].dup())
    bridges = range(len(views) // EACH)
    check(host(datapath.do, [CreateSwitch(object=f"net{n}", switch=SwitchView(f"xapi{n}", f"net{n}")) for n in bridges]))
    steps = [CreatePort(object=view.vif, bridge=f"xapi{n // EACH}", port=view) for n, view in enumerate(views)]
    return datapath, seconds(lambda: check(host(datapath.do, steps)))


def ended(host: Namespace, datapath: BridgeDatapath) -> None:
    clean(host)
    host(datapath.refresh)
    host(datapath.reap)
    datapath.close()


def making(host: Namespace, guests: Sequence[Namespace]) -> Iterator[Row]:
    views, ratios = ports(0, EACH), []
    for _ in range(ROUNDS):
        datapath, free = ours(host, guests, 1, EACH)
        ended(host, datapath)
        datapath, took = made(host, guests, [locked(view) for view in views])
        ended(host, datapath)
        ratios.append(took / free.wall)
    note = f"{EACH} in one batch; rounds: {listed(ratios)}"
    yield at_most("making VIFs that are locked, against unlocked ones", median(ratios), 2, note=note)


def changing(host: Namespace, guests: Sequence[Namespace]) -> Iterator[Row]:
    """Of one lock, beside few and beside many; and what a frame pays then."""
    first = [view for n in range(MANY // EACH) for view in ports(n, EACH)]
    datapath, _ = made(host, guests, first)
    plain = frames(guests)
    for count in (1, MANY):
        change(host, datapath, [(n, locked(view)) for n, view in enumerate(first[-count:], len(first) - count) if n > 1])
        took = [seconds(lambda n=n: change(host, datapath, [(len(first) - 1, locked(first[-1], 2 + n))])) for n in range(TURNS)]  # type: ignore[misc]
        yield Row(f"a change of one lock of {count}", median(took) * 1000, "ms", note=f"median of {TURNS}")
    yield from paying(plain, guests, lambda: change(host, datapath, [(0, allowing(first[0]))]))
    ended(host, datapath)


def allowing(view: PortView) -> PortView:
    return structs.replace(view, lock=LockView(("10.9.9.9",)))


def change(host: Namespace, datapath: BridgeDatapath, views: Sequence[tuple[int, PortView]]) -> None:
    check(host(datapath.do, [SetPort(object=view.vif, bridge=f"xapi{n // EACH}", port=view) for n, view in views]))


def paying(plain: float, guests: Sequence[Namespace], lock: Callable[[], None]) -> Iterator[Row]:
    unlocked = frames(guests)
    lock()
    held = frames(guests)
    note = f"median of {TURNS} times {FRAMES:,}; {MANY - 2} other VIFs are locked"
    yield Row("a frame on a host without locks", plain * 1e6, "us", note=f"median of {TURNS} times {FRAMES:,}")
    yield at_most("a frame of an unlocked VIF, against that", unlocked / plain, 1.5, note=note)
    yield at_most("a frame of a locked VIF, against that", held / plain, 2.5, note=note)


def frames(guests: Sequence[Namespace]) -> float:
    """The seconds that a frame takes from the first VIF to the second."""

    def send() -> float:
        frame = bytes.fromhex("020000000001" + SENDER.replace(":", "") + "0800") + HEADER + bytes(26)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind(("eth0", 0))
            start = time.perf_counter()
            for _ in range(FRAMES):
                sock.send(frame)
            return (time.perf_counter() - start) / FRAMES

    return median([guests[0](send) for _ in range(TURNS)])


HEADER = bytes.fromhex("4500002e0000000040fd0000") + socket.inet_aton("10.9.9.9") + socket.inet_aton("10.9.9.10")
"""IPv4, of protocol 253, for experiments (RFC 3692)."""


def run() -> Iterator[Row]:
    with namespaces(1 + GUESTS) as (host, *guests):
        for guest in guests:
            guest(still)
        yield from making(host, guests)
        yield from changing(host, guests)
