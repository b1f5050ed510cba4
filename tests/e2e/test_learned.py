"""Addresses of guests that the host cannot look into: what such a guest says on its tap is seen by clients, outlives the agent, and is what the
host says for it."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.datapath.bridge_host import needs_tap
from tests.datapath.spoken import held_open
from tests.e2e.world import Pool, pool, until
from tests.netns import Namespace, cable, namespaces
from xenet.agent.loop import LEARNED_AFTER

pytestmark = [pytest.mark.kernel, needs_tap]
ALL, ALL6 = "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"


class Site:
    """A host with a VM on a tap, which the test holds open as its hypervisor would."""

    def __init__(self, made: Pool, host: Namespace, datapath: str) -> None:
        self.pool, self.host, self.datapath = made, host, datapath
        self.vm = made.vm("tapped", made.external(), **{"xenet-guest": "tap"})
        made.api.VM.start_on(self.vm, made.host("host1"), False, False)
        self.vif = made.api.VM.get_VIFs(self.vm)[0]
        self.mac = str(made.api.VIF.get_MAC(self.vif))
        self.device = f"tap{made.api.VM.get_domid(self.vm)}.0"

    def networks(self) -> dict[str, str]:
        return dict(self.pool.api.VM_guest_metrics.get_networks(self.pool.api.VM.get_guest_metrics(self.vm)))

    def arp(self, address: str, mac: str = "") -> bytes:
        return bytes(Ether(src=self.mac, dst=ALL) / ARP(hwsrc=mac or self.mac, psrc=address, pdst=address))

    def advertised(self, address: str) -> bytes:
        packet = Ether(src=self.mac, dst=ALL6) / IPv6(src=address, dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt=address, R=0)
        return bytes(packet / ICMPv6NDOptDstLLAddr(lladdr=self.mac))

    def doubted(self, address: str) -> bytes:
        return bytes(Ether(src=self.mac, dst=ALL6) / IPv6(src="::", dst="ff02::1", hlim=255) / ICMPv6ND_NS(tgt=address))


@pytest.fixture(params=["bridge", "openvswitch"])
def site(request: pytest.FixtureRequest, tmp_path) -> Iterator[Site]:
    with namespaces(2) as (host, wire), pool(tmp_path) as made:
        cable(host, "eth0", wire, "eth0")
        made.start_agent("host1", netns=host, extra=("--datapath", request.param))
        made.wait_for("host1")
        yield Site(made, host, request.param)


def test_what_a_guest_claims_is_seen_and_outlives_the_agent(site: Site) -> None:
    api = site.pool.api
    with held_open(site.host, site.device) as guest:
        for frame in (site.arp("0.0.0.0"), site.doubted("2001:db8::9"), site.arp("10.0.0.66", mac="02:00:00:00:00:66"), site.arp("10.0.0.1")):
            os.write(guest, frame)
        until(lambda: site.networks() == {"0/ip": "10.0.0.1", "0/ipv4/0": "10.0.0.1"})
        site.pool.kill("host1")
        site.pool.start_agent("host1", extra=("--datapath", site.datapath))
        site.pool.wait_for("host1")
        expected = {"0/ip": "10.0.0.1", "0/ipv4/0": "10.0.0.1", "0/ipv6/0": "2001:db8::1"}
        until(lambda: (os.write(guest, site.advertised("2001:db8::1")), site.networks() == expected)[1])
        env = {**os.environ, "XENET_SOCKET": site.pool.socket}
        words = [sys.executable, "-m", "xenet.cli.xe", "vm-list", "name-label=tapped", "params=networks"]
        said = subprocess.run(words, capture_output=True, text=True, env=env, check=True).stdout
        assert "0/ip: 10.0.0.1" in said
        assert "0/ipv6/0: 2001:db8::1" in said
        api.VIF.set_locking_mode(site.vif, "locked")
        api.VIF.set_ipv4_allowed(site.vif, ["10.0.0.1", "10.0.0.3"])
        for address in ("10.0.0.2", "10.0.0.3"):
            os.write(guest, site.arp(address))
        until(lambda: "10.0.0.3" in site.networks().values())
        assert "10.0.0.2" not in site.networks().values()
    api.VM.hard_shutdown(site.vm)
    assert site.networks() == {}


def test_who_says_the_same_for_ever_is_no_event_for_anybody(site: Site) -> None:
    api = site.pool.api
    with held_open(site.host, site.device) as guest:
        until(lambda: (os.write(guest, site.arp("10.0.0.1")), site.networks())[1])
        token = api.event_from(["*"], "", 5.0)["token"]
        for _ in range(20):
            os.write(guest, site.arp("10.0.0.1"))
        heard = api.event_from(["vm_guest_metrics", "vif", "vm"], token, 3 * LEARNED_AFTER)
        assert not heard["events"]
