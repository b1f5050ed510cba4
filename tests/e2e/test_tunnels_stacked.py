"""Tunnels on Open vSwitch whose transport is a VLAN, or a bond: real frames between two hosts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_mtu import passes
from tests.e2e.test_tunnels_openvswitch import IPV4, OVERHEAD, carries, transfers
from tests.e2e.world import Inside, Pool, capture, pool, until
from tests.netns import Namespace, cable, namespaces, ping

pytestmark = pytest.mark.kernel
NICS = ("eth0", "eth1", "eth2")


class Pair:
    """Two hosts on one switch by a NIC, on another one by two."""

    def __init__(self, made: Pool, switch: Namespace, hosts: dict[str, Namespace]) -> None:
        self.pool, self.hosts, self.api = made, hosts, made.api
        self.switch, self.key = switch, 0
        """Of the newest tunnels."""

    def pif(self, host: str, device: str) -> str:
        """Without a tag."""
        where = (self.pool.host(host), device, "-1")
        return next(ref for ref, pif in self.api.PIF.get_all_records().items() if (pif["host"], pif["device"], pif["VLAN"]) == where)

    def joined(self, transports: list[str], protocol: str, subnet: int) -> str:
        """A network that is tunnelled over these, which get addresses."""
        network = self.pool.network(f"over {subnet}")
        for number, transport in enumerate(transports, 1):
            self.api.PIF.reconfigure_ip(transport, "Static", f"192.0.{subnet}.{number}", "255.255.255.0", "", "")
        tunnels = [self.api.tunnel.create(transport, network, protocol) for transport in transports]
        self.key = int(self.api.tunnel.get_status(tunnels[0])["key"])
        return network

    def guests(self, network: str, subnet: int) -> list[Inside]:
        made = []
        for number, host in enumerate(self.hosts, 1):
            vm = self.pool.vm(f"vm{subnet}.{number}", network)
            made.append(self.pool.start(vm, host, f"10.1.{subnet}.{number}/24"))
        return made


@contextmanager
def paired(folder: Path, datapath: str) -> Iterator[Pair]:
    with namespaces(3) as (switch, *hosts), pool(folder) as made:
        named = dict(zip(("host1", "host2"), hosts, strict=True))
        for bridge in ("sw1", "sw2"):
            switch.ip("link", "add", bridge, "up", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        for name, host in named.items():
            for nic in NICS:
                cable(switch, f"{name}{nic}", host, nic)
                switch.ip("link", "set", f"{name}{nic}", "master", "sw1" if nic == "eth0" else "sw2")
            made.start_agent(name, extra=("--datapath", datapath), netns=host, nics=",".join(NICS))
        made.wait_for(*named)
        yield Pair(made, switch, named)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with paired(tmp_path_factory.mktemp("pool"), "openvswitch") as made:
        yield made


@pytest.mark.parametrize(("protocol", "subnet"), [("vxlan", 2), ("gre", 3)])
def test_over_a_vlan(pair: Pair, protocol: str, subnet: int) -> None:
    on = pair.pool.network(f"VLAN {subnet}")
    vlans = [pair.api.VLAN.create(pair.pif(host, "eth0"), str(subnet), on) for host in pair.hosts]
    network = pair.joined([pair.api.VLAN.get_untagged_PIF(vlan) for vlan in vlans], protocol, subnet)
    one, two = pair.guests(network, subnet)
    with capture(pair.hosts["host1"], "eth0") as wire:
        assert ping(one, f"10.1.{subnet}.2")
        assert passes(one, f"10.1.{subnet}.2", 1500 - OVERHEAD[protocol])
    tagged = [frame for frame in wire if frame[12:18] == b"\x81\x00" + subnet.to_bytes(2, "big") + IPV4]
    assert tagged
    assert all(carries(protocol, pair.key, frame[18:]) for frame in tagged)
    assert max(map(len, tagged)) == 1518
    assert transfers(one, two, f"10.1.{subnet}.2")


def test_over_one_of_two_nics_on_a_switch(pair: Pair) -> None:
    """Linux answers for all its addresses on each of its devices, but a tunnel's frames must come to the one that has it."""
    network = pair.joined([pair.pif(host, "eth1") for host in pair.hosts], "vxlan", 6)
    one, _ = pair.guests(network, 6)
    assert ping(one, "10.1.6.2")
    pair.switch.ip("address", "add", "192.0.6.9/24", "dev", "sw2")
    with capture(pair.switch, "sw2") as wire:
        pair.switch.command("arping", "-q", "-b", "-c", "1", "-w", "3", "-I", "sw2", "192.0.6.2")
    answers = {frame[6:12].hex(":") for frame in wire if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2"}
    assert answers == {pair.api.PIF.get_MAC(pair.pif("host2", "eth1"))}
    for guest in (1, 2):
        pair.api.VM.hard_shutdown(pair.api.VM.get_by_name_label(f"vm6.{guest}")[0])
    for tunnel in {pair.api.PIF.get_tunnel_access_PIF_of(pif)[0] for pif in pair.api.network.get_PIFs(network)}:
        pair.api.tunnel.destroy(tunnel)
    for host in pair.hosts:
        pair.api.PIF.reconfigure_ip(pair.pif(host, "eth1"), "None", "", "", "", "")


@pytest.mark.parametrize(("protocol", "subnet"), [("vxlan", 4), ("gre", 5)])
def test_over_a_bond(pair: Pair, protocol: str, subnet: int) -> None:
    if protocol == "vxlan":
        under = pair.pool.network("bonded")
        for host in pair.hosts:
            pair.api.Bond.create(under, [pair.pif(host, nic) for nic in NICS[1:]], "", "active-backup", {})
    network = pair.joined([pair.pif(host, "bond0") for host in pair.hosts], protocol, subnet)
    one, two = pair.guests(network, subnet)
    assert transfers(one, two, f"10.1.{subnet}.2")
    for active, other in (("eth1", "eth2"), ("eth2", "eth1")):
        with capture(pair.hosts["host1"], active) as wire:
            assert ping(one, f"10.1.{subnet}.2", 10.0)
        assert any(frame[12:14] == IPV4 and carries(protocol, pair.key, frame[14:]) for frame in wire)
        pair.switch.ip("link", "set", f"host1{active}", "down")
        pair.switch.ip("link", "set", f"host1{other}", "up")
        until(lambda: ping(one, f"10.1.{subnet}.2", 1.0))
    pair.switch.ip("link", "set", "host1eth1", "up")
