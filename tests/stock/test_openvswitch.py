"""Open vSwitch with the kernel's datapath on two hosts: networks, a VLAN, a lock, tunnels by GRE and VXLAN, over a NIC and over a VLAN. All on one
pool, since its processes take long to start on an emulated machine."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.test_mtu import passes
from tests.e2e.test_tunnels_openvswitch import IPV4, OVERHEAD, carries, transfers
from tests.e2e.test_tunnels_stacked import Pair, paired
from tests.e2e.world import capture, links, until
from tests.netns import ping
from xenet.datapath.openvswitch.programs import find_programs

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    subprocess.run(["modprobe", "openvswitch"], check=True)
    with paired(tmp_path_factory.mktemp("pool"), "openvswitch") as made:
        yield made


def vsctl(pair: Pair, host: str, *argv: str) -> str:
    programs = find_programs()
    command = [programs.vsctl, f"--db=unix:{pair.pool.folder / host / 'openvswitch' / 'db.sock'}", *argv]
    environment = {**programs.environment, "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_networks_a_vlan_and_a_lock(pair: Pair) -> None:
    lan, tagged = pair.pool.external(), pair.pool.network("tagged")
    pair.api.pool.create_VLAN("eth0", tagged, "42")
    one, two = (pair.pool.vm(name, lan, tagged) for name in ("one", "two"))
    first = pair.pool.start(one, "host1", "10.0.0.1/24", "10.42.0.1/24")
    pair.pool.start(two, "host2", "10.0.0.2/24", "10.42.0.2/24")
    assert ping(first, "10.0.0.2")
    assert ping(first, "10.42.0.2")
    assert "ovs-system" in links(pair.hosts["host1"])
    assert vsctl(pair, "host1", "get", "bridge", "xenbr0", "datapath_type") == "system"
    (vif,) = (vif for vif in pair.api.VM.get_VIFs(one) if pair.api.VIF.get_device(vif) == "0")
    pair.api.VIF.set_ipv4_allowed(vif, ["10.0.0.9"])
    pair.api.VIF.set_locking_mode(vif, "locked")
    assert not ping(first, "10.0.0.2", 1.0)
    assert ping(first, "10.42.0.2"), "its other VIF is not locked"
    pair.api.VIF.add_ipv4_allowed(vif, "10.0.0.1")
    assert ping(first, "10.0.0.2")
    for vm in (one, two):
        pair.api.VM.hard_shutdown(vm)


def test_a_host_changes_to_bridges_and_back(pair: Pair) -> None:
    """The kernel gives VXLAN's UDP port to one of the two only."""
    one, _ = pair.guests(pair.joined([pair.pif(host, "eth0") for host in pair.hosts], "vxlan", 7), 7)
    assert ping(one, "10.1.7.2")
    for backend, there, gone in (("bridge", "tunnel1", "vxlan_sys_4789"), ("openvswitch", "vxlan_sys_4789", "tunnel1")):
        pair.api.host.set_network_backend(pair.pool.host("host2"), backend)
        until(lambda: ping(one, "10.1.7.2", 1.0))
        assert there in links(pair.hosts["host2"])
        assert gone not in links(pair.hosts["host2"])


@pytest.mark.parametrize(("protocol", "subnet"), [("vxlan", 2), ("gre", 3)])
def test_a_tunnel(pair: Pair, protocol: str, subnet: int) -> None:
    network = pair.joined([pair.pif(host, "eth0") for host in pair.hosts], protocol, subnet)
    one, two = pair.guests(network, subnet)
    with capture(pair.hosts["host1"], "eth0") as wire:
        assert ping(one, f"10.1.{subnet}.2")
        assert passes(one, f"10.1.{subnet}.2", 1500 - OVERHEAD[protocol])
    assert not passes(one, f"10.1.{subnet}.2", 1501 - OVERHEAD[protocol])
    assert any(frame[12:14] == IPV4 and carries(protocol, pair.key, frame[14:]) for frame in wire)
    assert transfers(one, two, f"10.1.{subnet}.2", 1_000_000)
    (end,) = vsctl(pair, "host1", "--bare", "--columns=name", "find", "interface", f"type={protocol}", f"options:key={pair.key}").split()
    vsctl(pair, "host1", "del-port", end)
    until(lambda: end in vsctl(pair, "host1", "--bare", "--columns=name", "list", "port"))
    assert ping(one, f"10.1.{subnet}.2")


def test_a_tunnel_over_a_vlan(pair: Pair) -> None:
    on = pair.pool.network("VLAN 5")
    vlans = [pair.api.VLAN.create(pair.pif(host, "eth0"), "5", on) for host in pair.hosts]
    one, _ = pair.guests(pair.joined([pair.api.VLAN.get_untagged_PIF(vlan) for vlan in vlans], "gre", 5), 5)
    assert passes(one, "10.1.5.2", 1500 - OVERHEAD["gre"])
