"""A host in network namespaces for tests of the bridge datapath: its NIC with a cable, guests, networks, and the views to ask for."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import pytest
from msgspec import structs

from tests.netns import Namespace, cable, namespaces
from xenet.datapath.base import Datapath
from xenet.datapath.bridge import BridgeDatapath
from xenet.plan.diff import diff_host
from xenet.plan.ethtool import asked_of
from xenet.plan.steps import CreatePort, RemovePort, Step, as_text
from xenet.plan.view import HostView, PortView, Settings, SwitchView, UplinkView

needs_tap = pytest.mark.skipif(not os.access("/dev/net/tun", os.R_OK | os.W_OK), reason="needs /dev/net/tun, readable and writable")
KERNELS_OWN = {"ovs-netdev", "gre0", "gretap0", "erspan0"}
"""What ovs-vswitchd makes for itself, and a kernel in each namespace once it has loaded ip_gre."""
NETWORKS = ("net-a", "net-b", "net-c")


def port(vm: int, index: int = 0, mtu: int = 1500, vif: str = "") -> PortView:
    """A VIF of the guest with this domain number, whose namespace is the test's guests[vm - 1]."""
    return PortView(f"vif{vm}.{index}", vif or f"vif-{vm}-{index}", f"vm-{vm}", index, f"02:00:00:{vm:02x}:{index >> 8:02x}:{index & 255:02x}", mtu)


def tap(vm: int, index: int = 0) -> PortView:
    return structs.replace(port(vm, index), device=f"tap{vm}.{index}", kind="tap")


def switch(number: int = 0, *ports: PortView, **fields) -> SwitchView:
    return SwitchView(f"xapi{number}", NETWORKS[number], ports={each.device: each for each in ports}, **fields)


class Host:
    """A host's namespace, its guests', one at the far end of its NIC's cable, and a datapath."""

    def __init__(self, host: Namespace, far: Namespace, guests: list[Namespace]) -> None:
        self.ns, self.far, self.guests = host, far, guests
        cable(host, "eth0", far, "wire")
        self.mac = self.json("link", "show", "eth0")[0]["address"]
        self.datapath = self._start()
        self.asked: dict[str, Mapping[str, Settings]] = {}
        """What the last plan asked of drivers, by bridge and device."""

    def _start(self) -> Datapath:
        return self.ns(BridgeDatapath, self._netns)

    def restart(self) -> None:
        self.datapath.close()
        self.datapath = self._start()

    def truth(self) -> dict[str, SwitchView]:
        """What a datapath sees that starts now and knows only what the kernel says."""
        with closing(self._start()) as fresh:
            for bridge, asked in self.asked.items():
                fresh.heed(bridge, asked)
            return fresh.switches()

    def _netns(self, vm: str) -> int | None:
        number = int(vm.removeprefix("vm-"))
        return self.guests[number - 1].dup() if number <= len(self.guests) else None

    def do(self, *steps: Step):
        return self.ns(self.datapath.do, steps)

    def ok(self, *steps: Step) -> None:
        failures = [f"{failure.step.text}: {failure.text}" for failure in self.do(*steps)]
        assert not failures, failures

    def reach(self, *wanted: SwitchView) -> None:
        """Plan and do what is missing for these switches; nothing else may be left to do."""
        view = HostView({each.bridge: each for each in wanted})
        self.asked = {**{bridge: {} for bridge in self.asked}, **{each.bridge: asked_of(each) for each in wanted}}
        for bridge, asked in self.asked.items():
            self.datapath.heed(bridge, asked)
        self.ok(*diff_host(view, HostView(self.datapath.switches())))
        left = diff_host(view, HostView(self.datapath.switches()))
        assert not left, as_text(left)

    def json(self, *argv: str):
        return json.loads(self.ns.ip("-j", "-d", *argv))

    def names(self) -> set[str]:
        return {link["ifname"] for link in self.json("link")} - KERNELS_OWN


@contextmanager
def hosts(guests: int = 2) -> Iterator[Host]:
    with namespaces(guests + 2) as (host, far, *others):
        made = Host(host, far, others)
        try:
            yield made
        finally:
            made.datapath.close()


def create(view: PortView, bridge: str = "xapi0") -> CreatePort:
    return CreatePort(object=view.vif, bridge=bridge, port=view)


def remove(view: PortView, bridge: str = "xapi0") -> RemovePort:
    return RemovePort(object=view.vif, bridge=bridge, port=view)


def external(host: Host, *ports: PortView, **fields) -> SwitchView:
    return switch(0, *ports, mac=host.mac, uplink=UplinkView("eth0"), **fields)
