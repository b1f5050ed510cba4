"""Bonds: packets lost when the cable is cut that carries a VM, how long the API is silent while its NIC joins and leaves a bond, how eight VMs
spread over two NICs, and what two NICs carry against one.

The kernel must have bonding. Where it has not, all of it runs on a stock kernel in a virtual machine without KVM (tools/stock_kernel.py), ten
to twenty times slower: packets and ratios stand, times are upper bounds. Such a machine cannot carry two NICs of 100 Mbit/s. Open vSwitch
bonds by itself, so how VMs spread and what two NICs carry is measured on it as well, on this kernel.
"""

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec

from bench.harness import Row, at_least, at_most, median
from tests.e2e.world import Inside, pool, until
from tests.netns import Namespace, namespaces, ping
from tests.stock.bonded import GUEST, NICS, OUTSIDE, WIRES, Bonded, bonded, bonded_by_switch, say, vif
from tests.stock.site import Site
from xenet.datapath.bonds import find_lack

ROOT = Path(__file__).resolve().parent.parent
CUTS, ROUNDS, VIFS = 3, 3, 8
INTERVAL = 0.005
"""Seconds between two pings."""
ROUTER = "10.0.0.254"
RATE, SECONDS = 100, 4
"""Mbit/s that each NIC is held to; less where the machine itself could not carry four times as much."""
Hops = list[tuple[Namespace, str]]
"""Devices that frames leave by, and where these are: one behind each NIC."""


def run() -> Iterator[Row]:
    yield from figures() if not find_lack() else elsewhere()
    with bonded_by_switch(VIFS) as host:
        yield from spread(host, " on Open vSwitch")
        yield from two_against_one(host, behind_nics(host), " on Open vSwitch")


def elsewhere() -> Iterator[Row]:
    """The rows that the virtual machine's run says, in its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "junit.xml")
        command = [sys.executable, "tools/stock_kernel.py", "--seconds", "1200", "--junit", str(report), "bench/stock_bonds.py"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:])
        for found in ElementTree.parse(report).iter("property"):
            row = msgspec.convert(json.loads(found.attrib["value"]), Row)
            yield msgspec.structs.replace(row, note="; ".join(filter(None, (row.note, "in the virtual machine"))))


def figures() -> Iterator[Row]:
    with bonded(VIFS) as host:
        yield from spread(host)
        yield from two_against_one(host, on_nics(host))
    with namespaces(3) as (host, switch, other), ExitStack() as stack:
        made = stack.enter_context(pool(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        site = Site(made, host, switch, other)
        guest = site.guest()
        yield from silences(site)
        yield from cuts(site, guest)


# --- how eight VMs spread, and what they get --------------------------------------------------------------------------


def on_both(host: Bonded, **said: Any) -> None:
    host.reach(host.on_bond(*(vif(number) for number in range(1, VIFS + 1)), **said))
    host.wait_for_links(*said.get("slaves", NICS))
    host.steered()


def spread(host: Bonded, place: str = "") -> Iterator[Row]:
    on_both(host)
    before = sent(host)
    for number in range(25):
        for guest, ns in enumerate(host.guests[:VIFS], 1):
            say(ns, vif(guest).mac, OUTSIDE, number)
    carried = [now - then for now, then in zip(sent(host), before, strict=True)]
    share = min(carried) / sum(carried)
    yield at_least(f"the smaller share of two NICs of eight VMs' frames, balance-slb{place}", share, 0.25, "", f"frames by NIC: {carried}")


def sent(host: Bonded) -> list[int]:
    return [host.json("-s", "link", "show", nic)[0]["stats64"]["tx"]["packets"] for nic in NICS]


def two_against_one(host: Bonded, hops: Hops, place: str = "") -> Iterator[Row]:
    """TCP of eight VMs at once to a machine outside, what each NIC sends held to the same rate by one of these."""
    on_both(host)
    for number, ns in enumerate(host.guests[:VIFS], 1):
        ns.ip("address", "add", f"10.6.0.{number}/24", "dev", GUEST)
    host.outside.ip("address", "add", "10.6.0.254/24", "dev", GUEST)
    rate = max(1, min(RATE, int(carried(host) / 4e6)))
    for ns, device in hops:
        ns.command("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{rate}mbit", "burst", "64kb", "latency", "50ms")
    two, one = [], []
    for _ in range(ROUNDS):
        on_both(host)
        two.append(carried(host))
        on_both(host, slaves=NICS[:1])
        one.append(carried(host))
    ratios = [both / alone for both, alone in zip(two, one, strict=True)]
    note = f"TCP of {VIFS} VMs, {SECONDS} s; Mbit/s: {', '.join(f'{b / 1e6:.1f} to {a / 1e6:.1f}' for b, a in zip(two, one, strict=True))}"
    yield at_least(f"two NICs of {rate} Mbit/s each against one, balance-slb{place}", median(ratios), 1.5, "times", note)


def on_nics(host: Bonded) -> Hops:
    return [(host.ns, nic) for nic in NICS]


def behind_nics(host: Bonded) -> Hops:
    """A hop more in each cable, outside the host: ovs-vswitchd takes away what limits a NIC as it takes the NIC."""
    for wire in WIRES:
        host.far.ip("link", "add", f"{wire}-on", "type", "veth", "peer", "name", f"{wire}-sw")
        host.far.ip("link", "add", f"{wire}-br", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        for device, master in ((wire, f"{wire}-br"), (f"{wire}-on", f"{wire}-br"), (f"{wire}-sw", "sw")):
            host.far.ip("link", "set", device, "master", master, "up")
        host.far.ip("link", "set", f"{wire}-br", "up")
    return [(host.far, f"{wire}-on") for wire in WIRES]


def carried(host: Bonded) -> float:
    """Bits a second that arrive outside."""
    with ExitStack() as stack:
        servers = [started(stack, host.outside, "iperf3", "-s", "-1", "-p", str(5200 + n)) for n in range(VIFS)]
        time.sleep(1)
        clients = [
            started(stack, ns, "iperf3", "-c", "10.6.0.254", "-p", str(5200 + n), "-t", str(SECONDS), "-J") for n, ns in enumerate(host.guests[:VIFS])
        ]
        answers = [json.loads(client.communicate(timeout=120)[0]) for client in clients]
        assert servers
    return float(sum(answer["end"]["sum_received"]["bits_per_second"] for answer in answers))


def started(stack: ExitStack, ns: Namespace, *argv: str) -> "subprocess.Popen[str]":
    process: subprocess.Popen[str] = ns(subprocess.Popen, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    stack.callback(process.stdout.close)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


# --- the API while its NIC joins a bond -------------------------------------------------------------------------------


def silences(site: Site) -> Iterator[Row]:
    """Told by pings, since a client whose first packet falls into the gap hears nothing for a second more by TCP's own rules."""
    network = site.pool.network("both")
    members = [site.pif(nic) for nic in NICS]
    joined, left = [], []
    for number in range(ROUNDS):
        joined.append(silence(site.switch, lambda: site.api.Bond.create(network, members, "", "balance-slb", {})))
        if number < ROUNDS - 1:
            left.append(silence(site.switch, lambda: site.api.Bond.destroy(site.bond())))
    for name, seconds in (("joins a bond", joined), ("leaves one", left)):
        note = f"pings of the host's address every {INTERVAL * 1000:.0f} ms; each, in ms: {', '.join(f'{value * 1000:.0f}' for value in seconds)}"
        yield at_most(f"longest silence of management while its NIC {name}", max(seconds), 1.0, "s", note)


def silence(router: Namespace, move: Callable[[], object]) -> float:
    """The longest time between two answers, in seconds."""
    pings = router(subprocess.Popen, ["ping", "-n", "-D", "-i", str(INTERVAL), "10.0.0.1"], stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    move()
    time.sleep(1)
    pings.send_signal(signal.SIGINT)
    answers = [float(at) for at in re.findall(r"^\[([0-9.]+)\] .*icmp_seq", pings.communicate(timeout=60)[0], re.MULTILINE)]
    return max(later - earlier for earlier, later in pairwise(answers))


# --- cables cut -------------------------------------------------------------------------------------------------------


def cuts(site: Site, guest: Inside) -> Iterator[Row]:
    api, master = site.api, site.master()
    api.PIF.add_to_other_config(master, "bond-updelay", "0")
    for mode in ("balance-slb", "active-backup", "lacp"):
        with aggregated(site, mode):
            api.Bond.set_mode(site.bond(), mode)
            for miimon in (100, 20):
                api.PIF.remove_from_other_config(master, "bond-miimon")
                api.PIF.add_to_other_config(master, "bond-miimon", str(miimon))
                yield from cut_figures(mode, miimon, [lost(site, guest) for _ in range(CUTS)])


def cut_figures(mode: str, miimon: int, packets: Sequence[int]) -> Iterator[Row]:
    note = f"{CUTS} cuts: {', '.join(map(str, packets))}; of pings every {INTERVAL * 1000:.0f} ms"
    yield Row(f"packets lost at a cut, {mode}, miimon {miimon}", median(packets), "", note=note)


def lost(site: Site, guest: Inside) -> int:
    """The cable that carries the VM is cut in the middle of the pings."""
    until(lambda: site.up() == "2" and ping(guest, ROUTER), 120)
    before = frames(site)
    for _ in range(20):
        ping(guest, ROUTER)
    busy = max(range(2), key=lambda number: frames(site)[number] - before[number])
    pings = guest.start("ping", "-n", "-q", "-i", str(INTERVAL), "-c", "400", "-W", "1", ROUTER)
    time.sleep(1)
    site.cut(busy)
    said, _ = pings.communicate(timeout=120)
    site.cut(busy, False)
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", said).groups())
    return sent - received


def frames(site: Site) -> list[int]:
    """Sent by each NIC so far."""
    return [json.loads(site.host.ip("-j", "-s", "link", "show", nic))[0]["stats64"]["tx"]["packets"] for nic in NICS]


@contextmanager
def aggregated(site: Site, mode: str) -> Iterator[None]:
    """With LACP, the switch speaks it too."""
    if mode != "lacp":
        yield
        return
    site.aggregate()
    try:
        yield
    finally:
        site.separate()
