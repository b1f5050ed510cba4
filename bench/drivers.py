"""What drivers are told: a plug beside a NIC that has gro: on, as every NIC has, costs what it costs beside one that is told nothing; what a
setting of each VIF's own adds; and what a look at a NIC and a start with it cost.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import msgspec

from bench.agent import host
from bench.datapath import GUESTS, listed, ports, spent
from bench.harness import Row, at_most, median, seconds
from tests.netns import Namespace, cable, namespaces
from tests.plan.pools import network, pif, records, vif
from xenet.model.state import PoolState, state_of

VIFS, ROUNDS, LOOKS = 200, 7, 200


def pool(plugged: bool, gro: str, told: dict[str, str] | None = None, nic: bool = True) -> PoolState:
    """So many VIFs on the network of a NIC."""
    vms = {str(guest): {"domid": guest + 1} for guest in range(GUESTS)}
    uplink = [pif("eth0", "net0", gro=gro)] if nic else []
    vifs = [vif(p.vm, p.index, "net0", mac=p.mac, plugged=plugged, told=told) for p in ports(0, VIFS)]
    named = [msgspec.structs.replace(one, uuid=p.vif) for one, p in zip(vifs, ports(0, VIFS), strict=True)]
    return state_of(1, [*records({"vms": vms}), network("net0"), *uplink, *named])


def plugged(namespace: Namespace, gro: str, told: dict[str, str] | None = None) -> float:
    """The seconds of CPU, the kernel's with them, for all VIFs by one commit: the wall is what others on the machine make of it."""
    with host(namespace, pool(False, gro, told)) as made:
        body = made.news(pool(True, gro, told))
        return spent(lambda: made.take(body)).cpu


def plugs(one: Namespace) -> Iterator[Row]:
    with_gro, with_own = [], []
    for _ in range(ROUNDS):
        bare = plugged(one, "")
        with_gro.append(plugged(one, "on") / bare)
        with_own.append(plugged(one, "on", {"tx": "off"}) / bare)
    note = f"{VIFS} VIFs by one commit, CPU, in turns; rounds: "
    yield at_most("plugs beside a NIC with gro: on against one that is told nothing", median(with_gro), 1.1, note=note + listed(with_gro))
    yield Row("the same with a setting of each VIF's own", median(with_own), "times", note=note + listed(with_own))


def looks(one: Namespace) -> Iterator[Row]:
    """At a NIC that the kernel has just said something of."""
    with host(one, pool(False, "on")) as made:
        kernel = made.datapath._kernel
        link = kernel.table.link("eth0")
        assert link is not None

        def look() -> None:
            kernel.drivers.forget(link.index)
            kernel.drivers.seen(link, {"gro": "on"})

        yield Row("a look at a NIC", median([seconds(look) for _ in range(LOOKS)]) * 1e6, "us", note=f"median of {LOOKS}")


def starts(one: Namespace) -> Iterator[Row]:
    """A NIC that comes to its switch, and is told gro on where it has none."""

    def start(gro: str) -> float:
        one.command("ethtool", "-K", "eth0", "gro", "off")
        with host(one, pool(False, gro, nic=False)) as made:
            body = made.news(pool(False, gro))
            return spent(lambda: made.take(body)).cpu

    ratios = [start("on") / start("") for _ in range(ROUNDS)]
    yield Row("a NIC that is told gro comes to its switch, against one that is not", median(ratios), "times", note="CPU; rounds: " + listed(ratios))


def run() -> Iterator[Row]:
    with ExitStack() as stack:
        one, far = stack.enter_context(namespaces(2))
        cable(one, "eth0", far, "wire")
        yield from plugs(one)
        yield from looks(one)
        yield from starts(one)
