"""Mirrors and multicast on Open vSwitch's datapath in the kernel, which a slim kernel lacks."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.datapath.bridge_host import external
from tests.datapath.switch_host import SwitchHost, switch_hosts
from tests.datapath.test_mirrors_kernel import (
    ALL,
    EVERYBODY,
    FAR,
    MACS,
    MONITOR,
    PORTS,
    VIF,
    Heard,
    frame,
    learn,
)
from tests.datapath.test_snooping_kernel import heard, member
from tests.e2e.world import until
from xenet.datapath.openvswitch.userspace import kernel_has_module

pytestmark = pytest.mark.stock


@pytest.fixture
def host() -> Iterator[SwitchHost]:
    subprocess.run(["modprobe", "openvswitch"], check=True)
    assert kernel_has_module()
    with switch_hosts(3) as made:
        yield made


def test_mirrors(host: SwitchHost) -> None:
    one, two, three = host.guests
    host.reach(external(host, *PORTS))
    learn(host)
    assert Heard(host).of((one, "eth0", frame(1, MACS[1], MACS[0]))) == [[1, 1, 0, 0, 0]]
    host.reach(external(host, *PORTS, mirrors=(VIF,)))
    said = [(one, "eth0", frame(2, MACS[1], MACS[0])), (host.far, "wire", frame(3, MACS[0], FAR)), (two, "eth0", frame(4, FAR, MACS[1]))]
    learn(host)
    assert [places[:4] for places in Heard(host).of(*said)] == [[1, 1, 1, 0], [1, 0, 1, 1], [0, 1, 0, 1]]
    host.reach(external(host, *PORTS, mirrors=(ALL,)))
    learn(host)
    assert [places[:4] for places in Heard(host).of(*said, (three, "eth0", frame(5, EVERYBODY, MACS[2])))] == [
        [1, 1, 1, 0],
        [1, 0, 1, 1],
        [0, 1, 1, 1],
        [0, 0, 1, 0],
    ]
    host.vsctl("clear", "Bridge", "xapi0", "mirrors")
    host.ns(host.datapath.refresh)
    assert host.datapath.switches()["xapi0"].mirrors == ()
    assert MONITOR in host.datapath.switches()["xapi0"].ports


def test_multicast(host: SwitchHost) -> None:
    host.reach(external(host, *PORTS, snooping=True))
    for number, ns in enumerate((*host.guests, host.far), 1):
        ns.ip("address", "add", f"10.0.0.{number}/24", "dev", "eth0" if ns is not host.far else "wire")
    with member(host.guests[1]):
        until(lambda: heard(host, host.guests[0]) == [True, True, False, True])
