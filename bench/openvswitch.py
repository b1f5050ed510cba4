"""500 VIFs on Open vSwitch: xenet's one batch against `ovs-vsctl` one by one, and against one `ovs-vsctl` with all of them.

Each also makes the pairs of devices: xenet as it does, the others by one `ip -batch`. In network namespaces of its own, each with its own
Open vSwitch, in turns. What xenet adds to one transaction is the marks, MACs, MTUs, filters, the view built of it, and the comparison.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from bench.datapath import GUESTS, ports
from bench.harness import Row, at_least, at_most, median
from tests.datapath.bridge_host import create
from tests.datapath.switch_host import SwitchHost
from tests.netns import namespaces
from xenet.datapath.openvswitch.programs import find_programs
from xenet.plan.steps import CreateSwitch
from xenet.plan.view import SwitchView

COUNT, FEW, ROUNDS = 500, 50, 3


def host(stack: ExitStack) -> SwitchHost:
    """With an empty bridge."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()), "openvswitch")
    ns, far, *guests = stack.enter_context(namespaces(GUESTS + 2))
    made = SwitchHost(ns, far, guests, folder)
    stack.callback(made.daemons.stop)
    stack.callback(made.datapath.close)
    made.ok(CreateSwitch(object="net0", switch=SwitchView("xapi0", "net0")))
    return made


def ours(count: int) -> float:
    """Seconds."""
    with ExitStack() as stack:
        made = host(stack)
        views = ports(0, COUNT)[:count]
        steps = [create(type(view)(view.device, view.vif, f"vm-{int(view.vm) + 1}", view.index, view.mac)) for view in views]
        start = time.perf_counter()
        made.ok(*steps)
        return time.perf_counter() - start


def theirs(count: int, together: bool) -> float:
    """Seconds."""
    with ExitStack() as stack:
        made = host(stack)
        names = [view.device for view in ports(0, COUNT)[:count]]
        pairs = "\n".join(f"link add {name} up type veth peer name p{number}" for number, name in enumerate(names))
        start = time.perf_counter()
        made.ns(subprocess.run, ["ip", "-batch", "-"], input=pairs, text=True, check=True)
        adds = [["add-port", "xapi0", name] for name in names]
        programs = find_programs()
        command = [programs.vsctl, f"--db=unix:{made.daemons.socket}"]
        for words in [[word for add in adds for word in ("--", *add)]] if together else adds:
            subprocess.run([*command, *words], env=programs.environment, check=True)
        return time.perf_counter() - start


def run() -> Iterable[Row]:
    one, big, few, few_ours = [], [], [], []
    for _ in range(ROUNDS):
        one.append(ours(COUNT))
        big.append(theirs(COUNT, together=True))
        few.append(theirs(FEW, together=False))
        few_ours.append(ours(FEW))
    yield Row(f"{COUNT} VIFs in one batch", median(one) * 1000, "ms", note="pairs of devices, marks, limits' room and the read-back included")
    yield Row(f"{COUNT} ports by one ovs-vsctl", median(big) * 1000, "ms", note="with `ip -batch` for the pairs")
    yield at_most(f"{COUNT} VIFs against one ovs-vsctl", median([a / b for a, b in zip(one, big, strict=True)]), 4)
    yield Row(f"{FEW} ports by ovs-vsctl one by one", median(few) * 1000, "ms", note="each waits until ovs-vswitchd has it")
    yield at_least(f"{FEW} VIFs: ovs-vsctl one by one against one batch", median([a / b for a, b in zip(few, few_ours, strict=True)]), 2)
