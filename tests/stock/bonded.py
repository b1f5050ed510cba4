"""A host with two NICs on one physical switch for tests of bonds on real devices: the switch, guests, a machine outside, and frames that are
told apart, so that each is counted where it arrives."""

import socket
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from msgspec import structs

from tests.datapath.bridge_host import Host, port
from tests.datapath.switch_host import started
from tests.e2e.world import send, until
from tests.netns import Namespace, cable, namespaces
from xenet.datapath.openvswitch.backend import OpenVSwitchDatapath
from xenet.datapath.openvswitch.daemons import Daemons
from xenet.plan.view import BondView, PortView, SwitchView, UplinkView

ETHERTYPE = 0x88B5
"""IEEE 802's first number for local experiments."""
EVERYBODY = "ff:ff:ff:ff:ff:ff"
OUTSIDE = "02:00:00:00:99:01"
NICS = ("eth0", "eth1")
WIRES = ("wire", "wire1")
"""Their other ends, at the switch."""
GUEST = "eth7"
"""The NIC of each guest, and of the machine outside."""


def bond(mac: str, **said: Any) -> BondView:
    return BondView(**{"slaves": NICS, "mode": "balance-slb", "mac": mac, "primary": "eth0", **said})


def vif(number: int, index: int = 7) -> PortView:
    """Of guest `number`, whose NIC is eth7; its MACs end in numbers one after the other, so that a hash spreads them."""
    return structs.replace(port(number, index), mac=f"02:00:00:00:01:{number:02x}")


class Bonded(Host):
    """`far` is the switch: its ports wire (eth0), wire1 (eth1) and `out`, behind which is the machine outside, the last of `guests`."""

    def __init__(self, host: Namespace, far: Namespace, guests: list[Namespace]) -> None:
        super().__init__(host, far, guests)
        self.outside = guests[-1]
        cable(host, "eth1", far, "wire1")
        cable(self.outside, GUEST, far, "out")
        self.outside.ip("link", "set", GUEST, "address", OUTSIDE)
        far.ip("link", "add", "sw", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        for name in (*WIRES, "out", "sw"):
            far.ip("link", "set", name, *(("master", "sw") if name != "sw" else ()), "up")
        self.own = {nic: self.json("link", "show", nic)[0]["address"] for nic in NICS}

    def on_bond(self, *ports: PortView, vlan: int = 0, mtu: int = 1500, **said: Any) -> SwitchView:
        uplink = UplinkView("bond0", mtu, bond=bond(self.mac, **said))
        return SwitchView("xapi0", "net-a", mac=self.mac, mtu=mtu, uplink=uplink, ports={each.device: each for each in ports})

    def steered(self) -> set[str]:
        """Take in the news and follow them, as the agent's loop does."""
        return self.ns(lambda: (self.datapath.refresh(), self.datapath.steer())[1])

    def links(self) -> Any:
        self.ns(self.datapath.refresh)
        (links,) = self.datapath.bonds()
        return links

    def wait_for_links(self, *up: str) -> None:
        until(lambda: self.links().up == up)

    def cut(self, wire: str) -> None:
        self.far.ip("link", "set", wire, "down")

    def mend(self, wire: str) -> None:
        self.far.ip("link", "set", wire, "up")

    def kind(self, device: str) -> dict[str, Any]:
        return self.json("link", "show", device)[0].get("linkinfo", {}).get("info_data", {})


@contextmanager
def bonded(guests: int = 2) -> Iterator[Bonded]:
    with namespaces(guests + 3) as (host, far, *others):
        made = Bonded(host, far, others)
        try:
            yield made
        finally:
            made.datapath.close()


class SwitchBonded(Bonded):
    """Its datapath is Open vSwitch, one of its own below `folder`."""

    def __init__(self, host: Namespace, far: Namespace, guests: list[Namespace], folder: Path) -> None:
        self.daemons = Daemons(folder)
        super().__init__(host, far, guests)

    def _start(self) -> OpenVSwitchDatapath:
        return started(self, self.daemons)


@contextmanager
def bonded_by_switch(guests: int = 2) -> Iterator[SwitchBonded]:
    with tempfile.TemporaryDirectory() as folder, namespaces(guests + 3) as (host, far, *others):
        made = SwitchBonded(host, far, others, Path(folder, "openvswitch"))
        try:
            yield made
        finally:
            made.datapath.close()
            made.daemons.stop()


def frame(source: str, target: str, number: int, tag: int = 0) -> bytes:
    """One of ours, told from all others by its source and number."""
    head = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in (target, source))
    tagged = struct.pack("!HH", 0x8100, tag) if tag else b""
    return (head + tagged + struct.pack("!HI", ETHERTYPE, number)).ljust(60, b"\0")


class Ear:
    """Counts our frames that come in at a device."""

    def __init__(self, ns: Namespace, device: str) -> None:
        self._socket: socket.socket = ns(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind((device, ETHERTYPE))
        self._socket.setblocking(False)
        self.heard: Counter[tuple[str, int]] = Counter()

    def listen(self) -> Counter[tuple[str, int]]:
        """All that has come by now, by source and number."""
        while True:
            try:
                raw = self._socket.recv(2048)
            except BlockingIOError:
                return self.heard
            self.heard[raw[6:12].hex(":"), struct.unpack_from("!I", raw, 14)[0]] += 1

    def close(self) -> None:
        self._socket.close()


@contextmanager
def ears(*places: Namespace, device: str = GUEST) -> Iterator[list[Ear]]:
    with ExitStack() as stack:
        made = [Ear(place, device) for place in places]
        for ear in made:
            stack.callback(ear.close)
        yield made


def say(ns: Namespace, source: str, target: str, number: int, device: str = GUEST) -> None:
    ns(send, device, frame(source, target, number))


@contextmanager
def dump(ns: Namespace, device: str, *only: str) -> Iterator[list[str]]:
    """Lines of tcpdump(8) on what passes a device while the block runs."""
    lines: list[str] = []
    command = ["tcpdump", "-e", "-n", "-l", "--immediate-mode", "-i", device, *only]
    capture = ns(subprocess.Popen, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "listening on" not in capture.stderr.readline():
        assert capture.poll() is None
    try:
        yield lines
    finally:
        capture.terminate()
        lines += capture.communicate(timeout=30)[0].splitlines()
