"""The stock kernel has what the harness is for; each part is made in a scratch namespace, and a tag is seen on a wire."""

import contextlib
import socket
import struct

import pytest

from tests.netns import Namespace, cable, namespaces, ping

pytestmark = [pytest.mark.kernel, pytest.mark.stock]

SOL_PACKET = 263
PACKET_AUXDATA = 8
TP_STATUS_VLAN_VALID = 0x10
ETH_P_ALL = 3


def test_a_bridge_filters_vlans():
    with namespaces(1) as [ns]:
        ns.ip("link", "add", "xapi0", "type", "bridge", "vlan_filtering", "1")
        assert "vlan_filtering 1" in ns.ip("-d", "link", "show", "xapi0")


@pytest.mark.parametrize("mode", [("active-backup", "miimon", "100"), ("balance-xor", "xmit_hash_policy", "vlan+srcmac"), ("802.3ad",)])
def test_a_bond_of_each_mode(mode):
    with namespaces(1) as [ns]:
        ns.ip("link", "add", "bond0", "type", "bond", "mode", *mode)
        said = ns.ip("-d", "link", "show", "bond0")
        assert f"mode {mode[0]} " in said
        assert " ".join(mode[1:]) in said


def test_a_datapath_of_open_vswitch():
    """openvswitch.ko answers to its generic netlink family; userspace is not needed to ask."""
    with namespaces(1) as [ns]:
        ns.command("modprobe", "openvswitch")
        assert "ovs_datapath" in ns.command("genl", "ctrl", "list")


def test_netem_delays():
    with namespaces(2) as [a, b]:
        _addressed_cable(a, b)
        a.command("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "1500ms")
        assert "delay 1.5s" in a.command("tc", "qdisc", "show", "dev", "eth0")
        assert not ping(a, "192.0.2.2", wait=1)
        assert ping(a, "192.0.2.2", wait=10)


def _addressed_cable(a: Namespace, b: Namespace) -> None:
    cable(a, "eth0", b, "eth0")
    a.ip("address", "add", "192.0.2.1/24", "dev", "eth0")
    b.ip("address", "add", "192.0.2.2/24", "dev", "eth0")


def _packets() -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    sock.bind(("eth0", 0))
    sock.setblocking(False)
    return sock


def _tags_of_pings(sock: socket.socket) -> set[int]:
    """The VLAN of everything that has come by until nothing does; 0 for untagged."""
    tags = set()
    with contextlib.suppress(BlockingIOError):
        while True:
            _, ancillary, _, _ = sock.recvmsg(2048, 256, socket.MSG_DONTWAIT)
            for _, _, data in ancillary:
                status, tci = struct.unpack_from("=I12xH", data)
                tags.add(tci & 0xFFF if status & TP_STATUS_VLAN_VALID else 0)
    return tags


def test_a_vlan_device_puts_its_tag_on_the_wire():
    with namespaces(2) as [a, b]:
        cable(a, "eth0", b, "eth0")
        for ns, address in ((a, "192.0.2.1/24"), (b, "192.0.2.2/24")):
            ns.ip("link", "add", "link", "eth0", "name", "eth0.42", "type", "vlan", "id", "42")
            ns.ip("address", "add", address, "dev", "eth0.42")
            ns.ip("link", "set", "eth0.42", "up")
        with b(_packets) as sock:
            assert ping(a, "192.0.2.2")
            assert 42 in _tags_of_pings(sock)
