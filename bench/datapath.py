"""The bridge datapath against the bare kernel and against `ip`: making VIFs, observing them, taking them out of service.

All in network namespaces of its own. The bare loop sends the very messages that the datapath sends, one a send, and looks at nothing
but the answers; what the datapath adds is planning, marks checked, notifications taken in and views built.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.harness import Row, at_least, at_most, median, seconds
from tests.netns import Namespace, namespaces
from xenet.datapath.bridge import BridgeDatapath
from xenet.datapath.links import NO_ADDRESS, GuestEnd, create_bridge, create_veth, delete_group, get_link, link_index, set_link
from xenet.datapath.mark import HOST_MAC, LIVE, port_alias, switch_alias
from xenet.datapath.netlink import Request, Socket
from xenet.plan.steps import CreatePort, CreateSwitch, RemovePort
from xenet.plan.view import PortView, SwitchView

NETWORKS, EACH, GUESTS = 20, 200, 20
FEW = 40
ROUNDS = 3


def ports(network: int, count: int) -> list[PortView]:
    """So many VIFs of this network, spread over the guests."""
    found = []
    for number in range(network * count, network * count + count):
        guest, index = number % GUESTS, number // GUESTS
        mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        found.append(PortView(f"vif{guest + 1}.{index}", f"00000000-0000-0000-0000-{number:012}", str(guest), index, mac))
    return found


class Spent(NamedTuple):
    """Seconds on the clock, and seconds of CPU, the kernel's on our behalf included."""

    wall: float
    cpu: float


def spent(call: Callable[[], object]) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def ours(host: Namespace, guests: Sequence[Namespace], networks: int, each: int) -> tuple[BridgeDatapath, Spent]:
    """A datapath that made it all, and what the ports took."""
    datapath = host(BridgeDatapath, lambda vm: guests[int(vm)].dup())
    check(host(datapath.do, [CreateSwitch(object=f"net{n}", switch=SwitchView(f"xapi{n}", f"net{n}")) for n in range(networks)]))
    steps = [CreatePort(object=view.vif, bridge=f"xapi{n}", port=view) for n in range(networks) for view in ports(n, each)]
    took = spent(lambda: check(host(datapath.do, steps)))
    assert sum(len(view.ports) for view in datapath.switches().values()) == networks * each
    return datapath, took


def check(failures: Sequence[object]) -> None:
    assert not failures, failures


def bare(host: Namespace, guests: Sequence[Namespace], networks: int, each: int, per_send: int = 1) -> Spent:
    """What the same messages take, so many VIFs' at a time."""
    with host(Socket) as sock:
        masters = []
        for n in range(networks):
            sock.run(create_bridge(f"xapi{n}", "", 65535, LIVE))
            sock.run(set_link(f"xapi{n}", alias=switch_alias(f"net{n}"), addr_gen_mode=NO_ADDRESS, mtu=1500))
            sock.run(set_link(f"xapi{n}", up=True))
            masters.append(link_index(sock.get(get_link(f"xapi{n}")) or b""))
        batches = [messages(ports(n, each), masters[n], guests) for n in range(networks)]

        def send() -> None:
            for phases in batches:
                for start in range(0, each, per_send):
                    for phase in phases:
                        check([error for error in sock.do(phase[start : start + per_send]) if error])

        return spent(lambda: host(send))


def messages(views: Sequence[PortView], master: int, guests: Sequence[Namespace]) -> list[list[Request]]:
    pairs = [create_veth(v.device, HOST_MAC, 1500, LIVE, GuestEnd(guests[int(v.vm)].fd, f"eth{v.index}", v.mac, 1500)) for v in views]
    quiet = [set_link(v.device, addr_gen_mode=NO_ADDRESS) for v in views]
    served = [set_link(v.device, alias=port_alias(v), master=master, up=True) for v in views]
    return [pairs, quiet, served]


def by_commands(host: Namespace, guests: Sequence[Namespace]) -> float:
    """The seconds that FEW VIFs take with seven `ip` commands each."""
    host.ip("link", "add", "xapi0", "group", str(LIVE), "type", "bridge")
    start = time.perf_counter()
    for view in ports(0, FEW):
        guest, far, near = guests[int(view.vm)], f"p{view.device}", f"eth{view.index}"
        ip(host, "link", "add", view.device, "type", "veth", "peer", "name", far)
        ip(host, "link", "set", far, "netns", f"/proc/{os.getpid()}/fd/{guest.fd}")
        ip(host, "link", "set", view.device, "address", HOST_MAC, "group", str(LIVE))
        ip(host, "link", "set", view.device, "addrgenmode", "none", "alias", port_alias(view))
        ip(host, "link", "set", view.device, "master", "xapi0", "up")
        ip(guest, "link", "set", far, "name", near, "address", view.mac)
        ip(guest, "link", "set", near, "up")
    return time.perf_counter() - start


def ip(ns: Namespace, *argv: str) -> None:
    ns(subprocess.run, ["ip", *argv], check=True)


def clean(host: Namespace) -> None:
    with host(Socket) as sock:
        check([error for error in sock.do([delete_group(LIVE)]) if error])


def against_bare(host: Namespace, guests: Sequence[Namespace], networks: int) -> tuple[Spent, Spent]:
    """What the datapath took, and how many times as much the bare loop did."""
    datapath, took = ours(host, guests, networks, EACH)
    datapath.close()
    clean(host)
    raw = bare(host, guests, networks, EACH)
    clean(host)
    return took, Spent(raw.wall / took.wall, raw.cpu / took.cpu)


def making(host: Namespace, guests: Sequence[Namespace]) -> Iterator[Row]:
    took, ratio = against_bare(host, guests, NETWORKS)
    note = f"one batch over {NETWORKS} networks of {EACH}"
    yield Row("VIFs made a second", NETWORKS * EACH / took.wall, "VIFs/s", note=note)
    yield at_least("CPU of a bare loop of the same messages against it", ratio.cpu, 0.8, note=note)
    walls = [against_bare(host, guests, 4)[1].wall for _ in range(7)]
    yield at_least("rate against a bare loop of the same messages", median(walls), 0.8, note=f"batches of 4 networks of {EACH}: {listed(walls)}")


def sending(host: Namespace, guests: Sequence[Namespace]) -> Iterator[Row]:
    ratios = []
    for _ in range(ROUNDS):
        one = bare(host, guests, 5, EACH)
        clean(host)
        ratios.append(one.wall / bare(host, guests, 5, EACH, per_send=32).wall)
        clean(host)
    yield Row("what the kernel gives for 32 messages a send, against 1", median(ratios), "times", note="rounds: " + listed(ratios))


def commands(host: Namespace, guests: Sequence[Namespace]) -> Iterator[Row]:
    ratios = []
    for _ in range(ROUNDS):
        datapath, took = ours(host, guests, 1, FEW)
        datapath.close()
        clean(host)
        ratios.append(by_commands(host, guests) / took.wall)
        clean(host)
    yield at_least("making VIFs against seven ip commands each", median(ratios), 20, note=f"{FEW} VIFs; rounds: {listed(ratios)}")


def observing(host: Namespace, guests: Sequence[Namespace]) -> Iterator[Row]:
    datapath, _ = ours(host, guests, NETWORKS, EACH)
    ratios, refreshed = [], []
    with host(Socket) as sock:
        for _ in range(7):
            unparsed = spent(lambda: dump_unparsed(sock)).cpu
            ratios.append(spent(lambda: look(datapath)).cpu / unparsed)
            sock.run(set_link("vif1.0", mtu=1400 + len(ratios)))
            refreshed.append(seconds(lambda: (datapath.refresh(), datapath.switches())))
    links = f"{NETWORKS * EACH} links"
    yield at_most("observing all, against a bare dump unparsed (CPU)", median(ratios), 6, note=f"{links}; rounds: {listed(ratios)}")
    yield Row("taking in one port's change", median(refreshed) * 1000, "ms", note=links)
    yield from removing(host, datapath)
    datapath.close()
    clean(host)


def look(datapath: BridgeDatapath) -> None:
    datapath.observe()
    datapath.switches()


def dump_unparsed(sock: Socket) -> None:
    """Received to its end, no attribute looked at."""
    sock.dump(get_link(0))


def removing(host: Namespace, datapath: BridgeDatapath) -> Iterator[Row]:
    steps = [RemovePort(object=view.vif, bridge="xapi0", port=view) for view in ports(0, EACH)]
    took = seconds(lambda: check(host(datapath.do, steps)))
    reaped = seconds(lambda: host(datapath.reap))
    yield Row("VIFs out of service", took / EACH * 1000, "ms each", note=f"{EACH} in one batch")
    yield Row("their deletion later", reaped / EACH * 1000, "ms each", note="in one message")


def listed(ratios: Sequence[float]) -> str:
    return ", ".join(f"{ratio:.2f}" for ratio in ratios)


def still() -> None:
    """No IPv6 in a guest: 4,000 NICs that announce themselves to 200 neighbours each would be all that is measured."""
    for name in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")


def run() -> Iterator[Row]:
    with namespaces(1 + GUESTS) as (host, *guests):
        for guest in guests:
            guest(still)
        yield from making(host, guests)
        yield from sending(host, guests)
        yield from commands(host, guests)
        yield from observing(host, guests)
