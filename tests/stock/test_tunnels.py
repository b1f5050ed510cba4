"""Tunnels on the Linux bridge over a VLAN and over a bond, between two hosts, and by GRE with a third on Open vSwitch: what a slim kernel has not."""

from collections.abc import Iterator

import pytest

from tests.e2e.test_mtu import passes
from tests.e2e.test_tunnels_openvswitch import IPV4, OVERHEAD, carries, transfers
from tests.e2e.test_tunnels_stacked import NICS, Pair, paired
from tests.e2e.world import capture, until
from tests.netns import ping

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with paired(tmp_path_factory.mktemp("pool"), "bridge") as made:
        yield made


@pytest.mark.parametrize(("protocol", "tag"), [("vxlan", 42), ("gre", 43)])
def test_over_a_vlan(pair: Pair, protocol: str, tag: int) -> None:
    on, room = pair.pool.network("tagged"), 1500 - OVERHEAD[protocol]
    vlans = [pair.api.VLAN.create(pair.pif(host, "eth0"), str(tag), on) for host in pair.hosts]
    one, two = pair.guests(pair.joined([pair.api.VLAN.get_untagged_PIF(vlan) for vlan in vlans], protocol, tag), tag)
    with capture(pair.hosts["host1"], f"eth0.{tag}") as wire:
        assert passes(one, f"10.1.{tag}.2", room)
    assert any(frame[12:14] == IPV4 and carries(protocol, pair.key, frame[14:]) for frame in wire)
    assert not passes(one, f"10.1.{tag}.2", room + 1)
    assert transfers(one, two, f"10.1.{tag}.2", 1_000_000)


@pytest.mark.parametrize(("protocol", "subnet"), [("vxlan", 3), ("gre", 4)])
def test_over_a_bond(pair: Pair, protocol: str, subnet: int) -> None:
    if protocol == "vxlan":
        under = pair.pool.network("bonded")
        for host in pair.hosts:
            pair.api.Bond.create(under, [pair.pif(host, nic) for nic in NICS[1:]], "", "active-backup", {})
    one, _ = pair.guests(pair.joined([pair.pif(host, "bond0") for host in pair.hosts], protocol, subnet), subnet)
    assert ping(one, f"10.1.{subnet}.2")
    assert passes(one, f"10.1.{subnet}.2", 1500 - OVERHEAD[protocol])
    for cut, back in (("host1eth1", "host1eth2"), ("host1eth2", "host1eth1")):
        pair.switch.ip("link", "set", back, "up")
        pair.switch.ip("link", "set", cut, "down")
        until(lambda: ping(one, f"10.1.{subnet}.2", 1.0))
    pair.switch.ip("link", "set", "host1eth2", "up")
