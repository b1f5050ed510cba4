"""From the published XenAPI client to real frames on real bridges."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import XenAPI
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import Ether

from tests.e2e.world import Pool, capture, links, pool, ports, send, until
from tests.netns import Namespace, cable, namespaces, ping

pytestmark = pytest.mark.kernel


class Site:
    """Two hosts with two NICs each, on two wires; a router on both wires."""

    def __init__(self, made: Pool, spaces: list[Namespace]) -> None:
        self.pool = made
        self.one, self.two, self.switch, self.router = spaces
        for host, namespace in (("host1", self.one), ("host2", self.two)):
            for nic in (0, 1):
                cable(namespace, f"eth{nic}", self.switch, f"{host}e{nic}")
        for nic in (0, 1):
            self.switch.ip("link", "add", f"wire{nic}", "up", "type", "bridge", "mcast_snooping", "0")
            cable(self.router, f"r{nic}", self.switch, f"r{nic}x")
            for device in (f"host1e{nic}", f"host2e{nic}", f"r{nic}x"):
                self.switch.ip("link", "set", device, "master", f"wire{nic}")
            self.router.ip("address", "add", f"10.{nic}.0.254/16", "dev", f"r{nic}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("pool")
    with namespaces(4) as spaces, pool(folder) as made:
        site = Site(made, spaces)
        made.start_agent("host1", netns=site.one, nics="eth0,eth1")
        made.start_agent("host2", netns=site.two, nics="eth0,eth1")
        made.wait_for("host1", "host2")
        yield site


def failure(function: object, *args: object) -> list[str]:
    with pytest.raises(XenAPI.Failure) as caught:
        function(*args)  # type: ignore[operator]
    details: list[str] = caught.value.details
    return details


def test_external_networks_appear_by_themselves(site: Site) -> None:
    api = site.pool.api
    found = {record["bridge"]: record for record in api.network.get_all_records().values() if record["bridge"].startswith("xenbr")}
    assert {bridge: record["name_label"] for bridge, record in found.items()} == {
        "xenbr0": "Pool-wide network associated with eth0",
        "xenbr1": "Pool-wide network associated with eth1",
    }
    assert all(len(record["PIFs"]) == 2 for record in found.values())
    for namespace in (site.one, site.two):
        devices = links(namespace)
        for number in (0, 1):
            nic, bridge = devices[f"eth{number}"], devices[f"xenbr{number}"]
            assert nic["master"] == f"xenbr{number}"
            assert nic["address"] == bridge["address"]
            assert nic["promiscuity"] >= 1
            assert "UP" in bridge["flags"]
            assert bridge["linkinfo"]["info_data"]["forward_delay"] == 0
            assert bridge["linkinfo"]["info_data"]["mcast_snooping"] == 0


def test_switch_and_nic_have_no_address(site: Site) -> None:
    for namespace in (site.one, site.two):
        for device in ("eth0", "eth1", "xenbr0", "xenbr1"):
            assert namespace.ip("-o", "address", "show", "dev", device) == ""


def test_idle_network_carries_no_frame_of_the_host(site: Site) -> None:
    macs = {bytes.fromhex(links(ns)[f"eth{n}"]["address"].replace(":", "")) for ns in (site.one, site.two) for n in (0, 1)}

    def heard(seconds: float) -> list[bytes]:
        with capture(site.switch, "host1e0") as frames, capture(site.switch, "host2e1") as others:
            time.sleep(seconds)
        return [frame for frame in frames + others if frame[6:12] in macs]

    # A NIC that was up before it was adopted takes leave of its own multicast groups first (RFC 3810: twice within seconds).
    until(lambda: not heard(2.0), 30)
    assert not heard(4.0)


def test_router_advertisement_gives_a_switch_no_address(site: Site) -> None:
    told = IPv6(src="fe80::1", dst="ff02::1") / ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="2001:db8::", prefixlen=64)
    frame = bytes(Ether(src="02:00:00:00:00:fe", dst="33:33:00:00:00:01") / told)
    guest = site.pool.vm("advertised", site.pool.external())
    inside = site.pool.start(guest, "host1")

    def heard_of() -> bool:
        site.router(send, "r0", frame)
        return "2001:db8:" in inside.command("ip", "-6", "address", "show", "dev", "eth0")

    until(heard_of)  # The guest, which does listen, has one: the advertisement was a good one.
    for namespace in (site.one, site.two):
        assert namespace.ip("-o", "address", "show", "dev", "xenbr0") == ""
    site.pool.api.VM.hard_shutdown(guest)


def test_vms_on_an_external_network_talk_across_hosts_and_to_the_router(site: Site) -> None:
    world, network = site.pool, site.pool.external()
    one, two = world.vm("e1", network), world.vm("e2", network)
    first, second = world.start(one, "host1", "10.0.0.1/16"), world.start(two, "host2", "10.0.0.2/16")
    for target in ("10.0.0.2", "10.0.0.254"):
        assert ping(first, target)
    assert ping(second, "10.0.0.1")
    vif = world.api.VM.get_VIFs(one)[0]
    table = world.api.network.get_fdb(network)
    mac, seen = world.api.VIF.get_MAC(vif), {(row["host"], row["mac"]): row for row in table}
    assert seen["host1", mac]["owner"] == f"VIF {world.api.VIF.get_uuid(vif)}"
    assert seen["host2", mac]["owner"].startswith("PIF ")
    assert float(seen["host1", mac]["age"]) < 60
    for vm in (one, two):
        world.api.VM.hard_shutdown(vm)


def test_two_external_networks_are_joined_only_by_the_cable(site: Site) -> None:
    world = site.pool
    one, two = world.vm("x1", world.external("xenbr0")), world.vm("x2", world.external("xenbr1"))
    first = world.start(one, "host1", "10.9.0.1/16")
    world.start(two, "host1", "10.9.0.2/16")
    assert not ping(first, "10.9.0.2", 1.0)
    cable(site.switch, "joint0", site.switch, "joint1")
    site.switch.ip("link", "set", "joint0", "master", "wire0")
    site.switch.ip("link", "set", "joint1", "master", "wire1")
    assert ping(first, "10.9.0.2")
    site.switch.ip("link", "del", "joint0")
    for vm in (one, two):
        world.api.VM.hard_shutdown(vm)


def test_internal_network_lives_from_first_vif_to_last(site: Site) -> None:
    world = site.pool
    network = world.network("inside")
    bridge = world.api.network.get_bridge(network)
    one, two = world.vm("i1", network), world.vm("i2", network)
    assert bridge not in links(site.one)
    first = world.start(one, "host1", "10.1.0.1/24")
    assert bridge in links(site.one)
    with capture(site.one, "xenbr0") as outside, capture(site.switch, "host1e0") as wire:
        world.start(two, "host1", "10.1.0.2/24")
        assert ping(first, "10.1.0.2")
    macs = {bytes.fromhex(world.api.VIF.get_MAC(vif).replace(":", "")) for vm in (one, two) for vif in world.api.VM.get_VIFs(vm)}
    assert not [frame for frame in outside + wire if frame[6:12] in macs]
    world.api.VM.hard_shutdown(one)
    assert bridge in links(site.one)
    world.api.VM.hard_shutdown(two)
    assert bridge not in links(site.one)
    world.api.network.destroy(network)
    assert bridge not in [record["bridge"] for record in world.api.network.get_all_records().values()]


def test_network_without_pifs_stays_on_one_host(site: Site) -> None:
    world = site.pool
    network, other = world.network("tied"), world.network("free")
    one, two = world.vm("t1", network), world.vm("t2", network)
    world.start(one, "host1")
    host2 = world.host("host2")
    assert failure(world.api.VM.start_on, two, host2, False, False) == ["VM_REQUIRES_NETWORK", two, network]
    third = world.vm("t3", other)
    world.start(third, "host2")
    vif = world.api.VM.get_VIFs(third)[0]
    before = world.api.VIF.get_record(vif)
    assert failure(world.api.VIF.move, vif, network) == ["HOST_CANNOT_ATTACH_NETWORK", host2, network]
    late = world.vif(third, network, "1")
    assert failure(world.api.VIF.plug, late) == ["HOST_CANNOT_ATTACH_NETWORK", host2, network]
    assert world.api.VIF.get_record(vif) == before
    for vm in (one, third):
        world.api.VM.hard_shutdown(vm)


def test_vm_with_two_vifs_routes_between_two_internal_networks(site: Site) -> None:
    world = site.pool
    left, right = world.network("left"), world.network("right")
    a, b, way = world.vm("a", left), world.vm("b", right), world.vm("way", left, right)
    first, second = world.start(a, "host1", "10.2.0.1/24"), world.start(b, "host1", "10.3.0.1/24")
    first.command("ip", "route", "add", "default", "via", "10.2.0.254")
    second.command("ip", "route", "add", "default", "via", "10.3.0.254")
    assert not ping(first, "10.3.0.1", 1.0)
    middle = world.start(way, "host1", "10.2.0.254/24", "10.3.0.254/24")
    middle.command("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    assert ping(first, "10.3.0.1")
    for vm in (a, b, way):
        world.api.VM.hard_shutdown(vm)


def test_move_without_the_guests_help(site: Site) -> None:
    world = site.pool
    here, there = world.network("here"), world.network("there")
    mover, left, right = world.vm("mover", here), world.vm("stays", here), world.vm("waits", there)
    guest = world.start(mover, "host1", "10.4.0.1/24")
    world.start(left, "host1", "10.4.0.2/24")
    world.start(right, "host1", "10.4.0.3/24")
    assert ping(guest, "10.4.0.2")
    vif = world.api.VM.get_VIFs(mover)[0]
    inside = guest.command("ip", "-j", "link", "show", "eth0")
    world.api.VIF.move(vif, there)
    assert world.device(vif) in ports(site.one, world.api.network.get_bridge(there))
    assert ping(guest, "10.4.0.3")
    guest.command("ip", "neigh", "flush", "dev", "eth0")
    assert not ping(guest, "10.4.0.2", 1.0)
    assert guest.command("ip", "-j", "link", "show", "eth0") == inside
    for vm in (mover, left, right):
        world.api.VM.hard_shutdown(vm)


def test_device_of_a_vif(site: Site) -> None:
    world = site.pool
    vm = world.vm("d", world.external())
    world.start(vm, "host1")
    device = world.device(world.api.VM.get_VIFs(vm)[0])
    assert links(site.one)[device]["address"] == "fe:ff:ff:ff:ff:ff"
    assert site.one.ip("-o", "address", "show", "dev", device) == ""
    old = device
    world.api.VM.hard_reboot(vm)
    device = world.device(world.api.VM.get_VIFs(vm)[0])
    assert device != old
    assert device in ports(site.one, "xenbr0")
    assert old not in ports(site.one, "xenbr0")
    world.api.VM.clean_shutdown(vm)
    assert device not in ports(site.one, "xenbr0")
    until(lambda: device not in links(site.one))


def test_unplug_and_plug_a_hundred_times_in_a_row(site: Site) -> None:
    world = site.pool
    vm = world.vm("again", world.network("again"))
    guest = world.start(vm, "host1")
    vif = world.api.VM.get_VIFs(vm)[0]
    for _ in range(100):
        world.api.VIF.unplug(vif)
        world.api.VIF.plug(vif)
    assert world.device(vif) in ports(site.one, world.api.network.get_bridge(world.api.VIF.get_network(vif)))
    assert "eth0" in guest.command("ip", "link")
    world.api.VM.hard_shutdown(vm)


def test_destroy_and_create_the_same_device(site: Site) -> None:
    world = site.pool
    network = world.network("same device")
    vm, peer = world.vm("same", network), world.vm("peer", network)
    guest = world.start(vm, "host1", "10.5.0.1/24")
    world.start(peer, "host1", "10.5.0.2/24")
    for _ in range(10):
        vif = world.api.VM.get_VIFs(vm)[0]
        world.api.VIF.unplug(vif)
        world.api.VIF.destroy(vif)
        world.api.VIF.plug(world.vif(vm, network))
    guest.command("ip", "address", "add", "10.5.0.1/24", "dev", "eth0")
    assert ping(guest, "10.5.0.2")
    for one in (vm, peer):
        world.api.VM.hard_shutdown(one)


def test_tap_guest(site: Site) -> None:
    world = site.pool
    network = world.network("taps")
    vm = world.vm("tap", network, **{"xenet-guest": "tap"})
    world.api.VM.start_on(vm, world.host("host1"), False, False)
    device = f"tap{world.api.VM.get_domid(vm)}.0"
    link = links(site.one)[device]
    assert link["linkinfo"]["info_kind"] == "tun"
    assert link["address"] == "fe:ff:ff:ff:ff:ff"
    assert device in ports(site.one, world.api.network.get_bridge(network))
    world.api.VM.hard_shutdown(vm)
    until(lambda: device not in links(site.one))


def test_drift_is_healed(site: Site) -> None:
    world = site.pool
    network = world.network("drift")
    one, two = world.vm("w1", network), world.vm("w2", network)
    first = world.start(one, "host1", "10.6.0.1/24")
    world.start(two, "host1", "10.6.0.2/24")
    device, bridge = world.device(world.api.VM.get_VIFs(one)[0]), world.api.network.get_bridge(network)
    site.one.ip("link", "set", device, "nomaster")
    until(lambda: device in ports(site.one, bridge))
    assert ping(first, "10.6.0.2")
    site.one.ip("link", "set", "eth1", "nomaster")
    until(lambda: "eth1" in ports(site.one, "xenbr1"))
    for vm in (one, two):
        world.api.VM.hard_shutdown(vm)
