"""A guest with VLAN devices of its own on a VIF with trunks, on Open vSwitch in the kernel and in userspace; a slim kernel has neither module."""

import subprocess
from collections.abc import Iterator

import pytest
from msgspec import structs

from tests.datapath.bridge_host import external, port
from tests.datapath.switch_host import SwitchHost, switch_hosts
from tests.datapath.test_openvswitch_trunks import trunk, vlan
from tests.e2e.world import until
from tests.netns import Namespace, ping
from xenet.datapath.openvswitch.userspace import kernel_has_module
from xenet.plan.view import LockView

pytestmark = pytest.mark.stock


@pytest.fixture(params=["userspace", "module"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SwitchHost]:
    subprocess.run(["modprobe", "-a", "8021q", "openvswitch", "tun"], check=True)
    assert kernel_has_module()
    monkeypatch.setattr("tests.datapath.switch_host.kernel_has_module", lambda: request.param == "module")
    with switch_hosts(3) as made:
        yield made


def on_vlan(ns: Namespace, device: str, tag: int, address: str) -> None:
    ns.ip("link", "add", "link", device, "name", f"v{tag}", "type", "vlan", "id", str(tag))
    ns.ip("link", "set", f"v{tag}", "up")
    ns.ip("address", "add", f"{address}/24", "dev", f"v{tag}")


def test_a_router_in_a_vm_has_its_vlans(host: SwitchHost) -> None:
    """With the offloads that a NIC of a guest has: a tag is beside the frame then, and a checksum is left out."""
    router, member, _ = host.guests
    host.reach(external(host, trunk(port(1), 0, 10, 20)), vlan(port(2)))
    router.ip("address", "add", "10.0.0.1/24", "dev", "eth0")
    member.ip("address", "add", "10.0.10.2/24", "dev", "eth0")
    host.far.ip("address", "add", "10.0.0.4/24", "dev", "wire")
    for tag in (10, 20, 30):
        on_vlan(router, "eth0", tag, f"10.0.{tag}.1")
        on_vlan(host.far, "wire", tag, f"10.0.{tag}.4")
    until(lambda: ping(router, "10.0.10.2"))
    assert ping(router, "10.0.0.4") and ping(router, "10.0.10.4") and ping(router, "10.0.20.4")
    assert not ping(router, "10.0.30.4", 0.5)
    assert moves_tcp(router, member, "10.0.10.2") and moves_tcp(member, router, "10.0.10.1")
    lock = LockView(("10.0.10.1",), tags=(10, 20))
    host.reach(external(host, structs.replace(trunk(port(1), 0, 10, 20), lock=lock)), vlan(port(2)))
    assert ping(router, "10.0.10.2") and ping(router, "10.0.10.4")
    assert not ping(router, "10.0.20.4", 0.5) and not ping(router, "10.0.0.4", 0.5), "addresses that the lock does not name"
    limited = structs.replace(trunk(port(1), 0, 10, 20), rate=12_500_000)
    host.reach(external(host, limited), vlan(port(2)))
    until(lambda: ping(router, "10.0.20.4"))
    assert moves_tcp(router, member, "10.0.10.2") and moves_tcp(member, router, "10.0.10.1")


def moves_tcp(one: Namespace, two: Namespace, address: str) -> bool:
    """A megabyte from one to the other, whole."""
    server = two(subprocess.Popen, ["iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
    try:
        until(lambda: ":5201" in two.command("ss", "-ltn"))
        return bool(one(subprocess.run, ["iperf3", "-c", address, "-n", "1M"], stdout=subprocess.DEVNULL, timeout=60).returncode == 0)
    finally:
        server.kill()
        server.wait()
