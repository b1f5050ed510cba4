"""Step 10 of the tour: a VM moves to another host while others talk to it."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from xenet.lab import operate
from xenet.lab.build import inside
from xenet.lab.topology import port_name
from xenet.lab.tour.stage import Stage, soon

MOVER, NEIGHBOUR, SOURCE, TARGET, OUTSIDE = "vm1", "vm3", "host1", "host2", "router"
COUNTED = re.compile(r"(\d+) of (\d+) frames lost, (\d+) duplicated")
INTERVAL_S = 0.001
BEFORE_S = 0.3
"""How long the pings flow before and after the move, in seconds."""


def live_migration(stage: Stage) -> None:
    """A live migration: announced on the wire before it ends, the switches' tables before and after, frames lost and duplicated"""
    network = stage.uuid("lan", "network", "bridge=xenbr0")
    mac = str(stage.links(MOVER)["eth0"]["address"])
    address = json.loads(stage.quietly(MOVER, "ip", "-j", "-4", "address", "show", "dev", "eth0"))[0]["addr_info"][0]["local"]
    stage.check(f"{OUTSIDE} and {NEIGHBOUR} reach {MOVER}", stage.ping(OUTSIDE, address) and stage.ping(NEIGHBOUR, address))
    process = stage.pid(MOVER)
    before = _tables(stage, network, mac)
    stage.check(f"{MOVER} is behind {SOURCE}'s port", before == _expected(SOURCE))
    with stage.watch(f"{_switch(stage)}/{port_name(TARGET, 'eth0')}", "ether", "src", mac, "and", "arp") as watch, _pinged(stage, address) as lost:
        said = stage.xe("vm-migrate", f"vm={MOVER}", f"host={TARGET}", "live=true")
        ended = f"{datetime.now():%H:%M:%S.%f}"  # noqa: DTZ005 - tcpdump's clock is the local one
    stage.show(said)
    stage.show("\n".join(watch.lines[:3]))
    stage.check("its address is on the wire of its new port before the migration ends", bool(watch.lines) and watch.lines[0][: len(ended)] < ended)
    after = _tables(stage, network, mac)
    stage.check(f"now it is behind {TARGET}'s port", after == _expected(TARGET))
    _count(stage, said, lost)
    stage.check(f"{MOVER}'s processes are the same", stage.pid(MOVER) == process and stage.guest(MOVER).host == TARGET)
    stage.check("nothing of it is left on the other host", soon(lambda: not _left_behind(stage)))
    stage.xe("vm-migrate", f"vm={MOVER}", f"host={SOURCE}", "live=true")


def _switch(stage: Stage) -> str:
    return stage.lab.hosts[0].nics[0].switch


def _expected(host: str) -> dict[str, bool]:
    return {name: name == host for name in (SOURCE, TARGET)} | {"switch": host == TARGET}


def _tables(stage: Stage, network: str, mac: str) -> dict[str, bool]:
    """Shown: where each switch has the address. For each host whether it is at a port of a VM's, and whether the physical switch has it at
    the target's port."""
    rows = [line for line in stage.xe("network-fdb-list", f"uuid={network}").splitlines() if line.startswith(mac)]
    stage.show("\n".join(rows))
    stage.prompt("xenet", "lab", "fdb", _switch(stage))
    physical = [row for row in operate.fdb(stage.run, _switch(stage)) if row.mac == mac]
    stage.show("\n".join(operate.fdb_lines(physical)))
    places = [row.split()[1:3] for row in rows]
    at_home = {name: any(host == name and port.startswith("vif") for host, port in places) for name in (SOURCE, TARGET)}
    return at_home | {"switch": any(row.port == port_name(TARGET, "eth0") for row in physical)}


@contextmanager
def _pinged(stage: Stage, address: str) -> Iterator[list[int]]:
    """Pings from outside and from a VM while the block runs, 1,000 a second; then, how many of each were not answered."""
    lost: list[int] = []
    command = ["ping", "-n", "-q", "-i", str(INTERVAL_S), address]
    pings = [subprocess.Popen(inside(stage.pid(where), command), stdout=subprocess.PIPE, text=True) for where in (OUTSIDE, NEIGHBOUR)]
    try:
        time.sleep(BEFORE_S)
        yield lost
        time.sleep(BEFORE_S)
    finally:
        for ping in pings:
            ping.send_signal(signal.SIGINT)
            found = re.search(r"(\d+) packets transmitted, (\d+) received", ping.communicate()[0])
            lost += [int(found[1]) - int(found[2])] if found else []


def _count(stage: Stage, said: str, unanswered: list[int]) -> None:
    found = COUNTED.search(said)
    stage.check("the migration says what it has cost", found is not None)
    if found:
        lost, total, twice = map(int, found.groups())
        pings = f"of the pings from {OUTSIDE} and {NEIGHBOUR}, 1,000 a second each, {' and '.join(map(str, unanswered))} were not answered"
        stage.check(f"{lost} of {total} frames lost, {twice} duplicated; {pings}", lost < total / 2 and twice == 0)


def _left_behind(stage: Stage) -> bool:
    uuid = stage.guest(MOVER).vm
    return any(f"vm={uuid}" in str(link.get("ifalias", "")) for link in stage.links(SOURCE).values())
