"""VXLAN on the Linux bridge over a VLAN and over a bond, between two hosts: what a slim kernel has not."""

from collections.abc import Iterator

import pytest

from tests.e2e.test_mtu import passes
from tests.e2e.test_tunnels_openvswitch import IPV4, carries
from tests.e2e.test_tunnels_stacked import NICS, Pair, paired
from tests.e2e.world import capture, until
from tests.netns import ping

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with paired(tmp_path_factory.mktemp("pool"), "bridge") as made:
        yield made


def test_over_a_vlan(pair: Pair) -> None:
    on = pair.pool.network("tagged")
    vlans = [pair.api.VLAN.create(pair.pif(host, "eth0"), "42", on) for host in pair.hosts]
    one, _ = pair.guests(pair.joined([pair.api.VLAN.get_untagged_PIF(vlan) for vlan in vlans], "vxlan", 2), 2)
    with capture(pair.hosts["host1"], "eth0.42") as wire:
        assert passes(one, "10.1.2.2", 1450)
    assert any(frame[12:14] == IPV4 and carries("vxlan", pair.key, frame[14:]) for frame in wire)


def test_over_a_bond(pair: Pair) -> None:
    under = pair.pool.network("bonded")
    for host in pair.hosts:
        pair.api.Bond.create(under, [pair.pif(host, nic) for nic in NICS[1:]], "", "active-backup", {})
    one, _ = pair.guests(pair.joined([pair.pif(host, "bond0") for host in pair.hosts], "vxlan", 3), 3)
    assert ping(one, "10.1.3.2")
    assert passes(one, "10.1.3.2", 1450)
    pair.switch.ip("link", "set", "host1eth1", "down")
    until(lambda: ping(one, "10.1.3.2", 1.0))
