"""500 VIFs on Open vSwitch: xenet's one batch against `ovs-vsctl` one by one, and against one `ovs-vsctl` with all of them.

An administrator with the same devices does what a batch does with `ip -batch` (pairs, MACs, marks, guests' ends up), `tc -batch` (no host's
stack hears a VIF a second time), and ovs-vsctl, which says of each port what XenServer's names say of it. That and the batch are compared as
wholes, and the database's part of both alone: from the transaction's begin until ovs-vswitchd has done it. A batch also looks at what it has
made, and has guests' NICs cut large datagrams, which would take 500 runs of ethtool and is left out.

In network namespaces of its own, each with its own Open vSwitch, in turns. One by one takes a minute, so that is one round; what its first
and its last ports took says how it grows.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from msgspec import structs

from bench.datapath import GUESTS, ports
from bench.harness import Row, at_least, at_most, median, seconds
from tests.datapath.bridge_host import create
from tests.datapath.switch_host import SwitchHost
from tests.netns import Namespace, namespaces
from xenet.datapath.mark import HOST_MAC, LIVE, port_alias
from xenet.datapath.openvswitch.batch import Batch
from xenet.datapath.openvswitch.programs import find_programs
from xenet.plan.steps import CreateSwitch
from xenet.plan.view import PortView, SwitchView

COUNT, FEW, ROUNDS = 500, 50, 3
VIEWS = [structs.replace(view, vm=f"vm-{int(view.vm) + 1}") for view in ports(0, COUNT)]


class Took(NamedTuple):
    """Seconds."""

    whole: float
    database: float


def host(stack: ExitStack) -> SwitchHost:
    """With an empty bridge."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()), "openvswitch")
    ns, far, *guests = stack.enter_context(namespaces(GUESTS + 2))
    made = SwitchHost(ns, far, guests, folder)
    stack.callback(made.daemons.stop)
    stack.callback(made.datapath.close)
    made.ok(CreateSwitch(object="net0", switch=SwitchView("xapi0", "net0")))
    return made


def ours() -> Took:
    with ExitStack() as stack:
        made = host(stack)
        written, write = [0.0], Batch.write

        def timed(*args: Any) -> set[str]:
            start = time.perf_counter()
            touched = write(*args)
            written.append(time.perf_counter() - start)
            return touched

        stack.enter_context(patch.object(Batch, "write", timed))
        whole = seconds(lambda: made.ok(*map(create, VIEWS)))
        return Took(whole, sum(written))


def together() -> Took:
    with ExitStack() as stack:
        made = host(stack)
        devices = seconds(lambda: by_batches(made, VIEWS))
        database = seconds(lambda: vsctl(made, [word for view in VIEWS for word in added(view)]))
        return Took(devices + database, database)


def one_by_one() -> list[float]:
    """The seconds of each port, its devices left out."""
    with ExitStack() as stack:
        made = host(stack)
        by_batches(made, VIEWS)
        return [seconds(lambda view=view: vsctl(made, added(view))) for view in VIEWS]  # type: ignore[misc]


# --- an administrator's commands --------------------------------------------------------------------------------------


def by_batches(made: SwitchHost, views: Sequence[PortView]) -> None:
    """All devices, as they are after a batch."""
    batch(made.ns, "ip", [pair(made, view) for view in views])
    for number, guest in enumerate(made.guests, 1):
        batch(guest, "ip", [f"link set eth{view.index} up" for view in views if view.vm == f"vm-{number}"])
    batch(made.ns, "ip", [f'link set {view.device} alias "{port_alias(view)}" addrgenmode none up' for view in views])
    batch(made.ns, "tc", [f"qdisc add dev {view.device} clsact" for view in views])
    batch(made.ns, "tc", [f'filter add dev {view.device} ingress protocol all bpf da bytecode "1,6 0 0 2"' for view in views])


def pair(made: SwitchHost, view: PortView) -> str:
    guest = made.guests[int(view.vm.removeprefix("vm-")) - 1]
    near = f"link add {view.device} address {HOST_MAC} mtu {view.mtu} group {LIVE} type veth"
    return f"{near} peer name eth{view.index} address {view.mac} mtu {view.mtu} netns /proc/{os.getpid()}/fd/{guest.fd}"


def batch(ns: Namespace, program: str, lines: Sequence[str]) -> None:
    ns(subprocess.run, [program, "-batch", "-"], input="\n".join(lines), text=True, check=True)


def added(view: PortView) -> list[str]:
    """What a port is told, in ovs-vsctl's words."""
    said = {"attached-mac": f'"{view.mac}"', "iface-id": view.vif, "iface-status": "active", "vm-id": view.vm, "xs-vif-uuid": view.vif}
    told = [f"external_ids:{key}={value}" for key, value in {**said, "xs-vm-uuid": view.vm, "xs-network-uuid": "net0"}.items()]
    return ["--", "add-port", "xapi0", view.device, f"external_ids:xenet-vif={view.vif}", "--", "set", "Interface", view.device, *told]


def vsctl(made: SwitchHost, words: Sequence[str]) -> None:
    """It waits until ovs-vswitchd has it."""
    programs = find_programs()
    subprocess.run([programs.vsctl, f"--db=unix:{made.daemons.socket}", *words], env=programs.environment, check=True)


def run() -> Iterable[Row]:
    batches, bigs = [], []
    for _ in range(ROUNDS):
        batches.append(ours())
        bigs.append(together())
    for name, took in ((f"{COUNT} VIFs in one batch", batches), (f"{COUNT} by ip, tc and one ovs-vsctl", bigs)):
        yield Row(name, median([each.whole for each in took]) * 1000, "ms", note="rounds: " + listed([each.whole * 1000 for each in took]))
        yield Row(f"{name}: the database's part", median([each.database for each in took]) * 1000, "ms")
    yield at_most(f"{COUNT} VIFs against one ovs-vsctl", median([a.whole / b.whole for a, b in zip(batches, bigs, strict=True)]), 2)
    yield Row("the database's part alone, against it", median([a.database / b.database for a, b in zip(batches, bigs, strict=True)]), "times")
    single = one_by_one()
    note = f"each waits until ovs-vswitchd has it; each of the first {FEW}: {grown(single[:FEW])} ms, of the last: {grown(single[-FEW:])} ms"
    yield Row(f"{COUNT} ports by ovs-vsctl one by one", sum(single) * 1000, "ms", note=note)
    yield at_least(
        f"{COUNT} VIFs: ovs-vsctl one by one, without devices, against one batch", sum(single) / median([each.whole for each in batches]), 2
    )


def grown(each: Sequence[float]) -> str:
    return f"{median(each) * 1000:.1f}"


def listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values)
