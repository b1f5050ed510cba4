"""The lab's physical switches on a kernel whose bridge has no VLAN filtering: Open vSwitch keeps VLANs apart and speaks LACP in its place."""

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from tests.e2e.world import until
from xenet.client import Client
from xenet.datapath.namespaces import opened_in
from xenet.datapath.openvswitch.control import ask
from xenet.lab import build as wires
from xenet.lab import operate
from xenet.lab.run import Run, find_run
from xenet.lab.topology import Lab, read_lab
from xenet.lab.up import Options, down, making, up

pytestmark = pytest.mark.kernel

FILE = """
hosts:
  host1: {nics: {eth0: {switch: sw1, vlans: [10, 20]}}}
  host2: {nics: {eth0: {switch: sw1, vlans: [10, 30]}, eth1: {switch: sw1, native: 10, vlans: []}, eth2: {switch: sw1, native: 30, vlans: [1]}}}
machines:
  router: {switch: sw1, address: 10.0.0.254/24}
  nas: {switch: sw1, address: 10.10.0.254/24, vlan: 10}
"""
PLACES = ("host2/eth0", "host2/eth1", "host2/eth2", "router/eth0", "nas/eth0")


@pytest.fixture(autouse=True)
def lacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a kernel that lacks it, on any kernel."""
    monkeypatch.setenv("XENET_RUN", str(tmp_path / "labs"))
    monkeypatch.setattr(wires, "_make_bridge", lambda *_: False)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[Run, Lab]]:
    (tmp_path / "lab.yaml").write_text(FILE)
    lab, run = read_lab(tmp_path / "lab.yaml"), find_run("lab")
    with making(run):
        run.save(lab)
        wires.build(run, lab)
        yield run, lab
        down(run)


def inside(run: Run, name: str, function: Callable[[], Any]) -> Any:
    netns = os.open(f"/proc/{run.namespace(name).pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return opened_in(netns, function)
    finally:
        os.close(netns)


@contextmanager
def listening(run: Run, place: str) -> Iterator[set[tuple[int, int]]]:
    """UDP port and tag of the frames that come in, 0 for none: the kernel tells of a tag beside the frame."""
    name, device = place.split("/")
    heard: set[tuple[int, int]] = set()
    with inside(run, name, partial(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))) as sock:
        sock.setsockopt(263, 8, 1)  # PACKET_AUXDATA of linux/if_packet.h
        sock.bind((device, 3))
        sock.setblocking(False)
        yield heard
        with suppress(BlockingIOError):
            while True:
                frame, beside, _, sender = sock.recvmsg(2048, 256)
                status, tci = next((struct.unpack_from("=I12xH", data) for _, _, data in beside), (0, 0))
                if sender[2] != socket.PACKET_OUTGOING and (udp := Ether(frame).getlayer(UDP)):
                    heard.add((udp.dport, tci & 0xFFF if status & 0x10 else 0))


def call_out(device: str, *tags: int) -> None:
    """A broadcast with each tag, 0 for none, to the UDP port of that number and 1000."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((device, 0))
        for tag in tags:
            below = Ether(src="02:00:00:00:01:00", dst="ff:ff:ff:ff:ff:ff")
            below = below / Dot1Q(vlan=tag) if tag else below
            sock.send(bytes(below / IP(src="10.0.0.1", dst="10.255.255.255") / UDP(sport=7, dport=1000 + tag)))


def test_each_port_carries_the_vlans_that_its_file_says(lab: tuple[Run, Lab]) -> None:
    run, _ = lab
    with ExitStack() as ears:
        heard = {place: ears.enter_context(listening(run, place)) for place in PLACES}
        inside(run, "host1", partial(call_out, "eth0", 0, 10, 20, 30))
        time.sleep(0.5)
    assert heard == {
        "host2/eth0": {(1000, 0), (1010, 10)},
        "host2/eth1": {(1010, 0)},
        "host2/eth2": {(1000, 1)},
        "router/eth0": {(1000, 0)},
        "nas/eth0": {(1010, 0)},
    }


def test_what_it_has_learned_is_told_by_vlan_and_a_pulled_cable_is_pulled(lab: tuple[Run, Lab]) -> None:
    run, _ = lab
    router = run.namespace("router")
    assert operate.ping(router, "10.0.0.1")
    inside(run, "host1", partial(call_out, "eth0", 10))
    until(lambda: operate.Learned("02:00:00:00:01:00", "host1-eth0", 10) in operate.fdb(run, "sw1"))
    assert operate.Learned("02:00:00:00:01:00", "host1-eth0", 1) in operate.fdb(run, "sw1")
    operate.set_cable(run, "host1/eth0", plugged=False)
    assert not operate.ping(router, "10.0.0.1")
    operate.set_cable(run, "host1/eth0", plugged=True)
    until(lambda: operate.ping(router, "10.0.0.1"))


def test_it_ends_with_its_lab(lab: tuple[Run, Lab]) -> None:
    run, _ = lab
    there = run.namespace("sw1").processes()
    assert any("ovs-vswitchd" in Path(f"/proc/{pid}/cmdline").read_text() for pid in there)
    down(run)
    assert not run.directory.exists()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in there))


LACP = """
hosts:
  host1: {nics: {eth0: sw1, eth1: {switch: sw1, lag: lag1}, eth2: {switch: sw1, lag: lag1}}}
  host2: {nics: {eth0: sw1, eth1: {switch: sw1, lag: lag2}}}
"""


def test_an_aggregated_link_is_a_bonds_partner_and_outlives_a_cable(tmp_path: Path) -> None:
    """The one of a single cable carries frames although nobody speaks LACP at its other end, as one of the kernel's does."""
    (tmp_path / "lab.yaml").write_text(LACP)
    lab, run = read_lab(tmp_path / "lab.yaml"), find_run("lab")
    with making(run):
        up(run, lab, Options(datapath="openvswitch"), lambda _: None)
        with Client.connect(str(run.socket)) as client:
            client.login()
            addressed(client, bonded(client), "10.7.0.1")
            addressed(client, pif(client, "host2", "eth1"), "10.7.0.2")
        host, control = run.namespace("host1"), run.directory / "sw1" / "openvswitch" / "vswitchd.ctl"
        both = lambda: ask(control, "lacp/show", "lag1").count(": current attached") == 2  # noqa: E731
        until(both)
        assert operate.ping(host, "10.7.0.2")
        for nic in ("eth1", "eth2"):
            operate.set_cable(run, f"host1/{nic}", plugged=False)
            until(lambda: operate.ping(host, "10.7.0.2", count=3))
            operate.set_cable(run, f"host1/{nic}", plugged=True)
            until(both)
        assert {row.port for row in operate.fdb(run, "sw1")} >= {"lag1", "lag2"}
        down(run)


def pif(client: Client, host: str, device: str) -> str:
    records = client.call("PIF.get_all_records")
    (name,) = client.call("host.get_by_name_label", host)
    return next(ref for ref, record in records.items() if (record["host"], record["device"]) == (name, device))


def bonded(client: Client) -> str:
    """The master of a bond of host1's eth1 and eth2, which is well at once when a cable is plugged."""
    network = client.call("network.create", {"name_label": "both", "other_config": {}})
    bond = client.call("Bond.create", network, [pif(client, "host1", nic) for nic in ("eth1", "eth2")], "", "lacp", {"lacp-time": "fast"})
    master: str = client.call("Bond.get_master", bond)
    client.call("PIF.add_to_other_config", master, "bond-updelay", "0")
    return master


def addressed(client: Client, of: str, address: str) -> None:
    client.call("PIF.reconfigure_ip", of, "Static", address, "255.255.255.0", "", "")
