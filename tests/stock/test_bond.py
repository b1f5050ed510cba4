"""Bonds by the published client on real devices: management, a VM and a VLAN on them, cables that are cut, LACP, an agent that is killed."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.world import Inside, links, pool, ports, until
from tests.netns import namespaces, ping
from tests.stock.bonded import NICS, dump
from tests.stock.site import Site

pytestmark = [pytest.mark.kernel, pytest.mark.stock]
WAIT = 60.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with namespaces(3) as (host, switch, other), pool(tmp_path_factory.mktemp("pool")) as made:
        yield Site(made, host, switch, other)


@pytest.fixture(scope="module")
def guest(site: Site) -> Inside:
    return site.guest()


def test_all_that_stood_on_a_nic_is_on_the_bond(site: Site, guest: Inside) -> None:
    api = site.api
    own = {nic: links(site.host)[nic]["address"] for nic in NICS}
    assert ping(guest, "10.0.0.254")
    network = site.pool.network("both")
    api.Bond.create(network, [site.pif(nic) for nic in NICS], "", "balance-slb", {})
    assert ping(guest, "10.0.0.254", WAIT), "the VM runs on"
    assert ping(site.switch, "10.0.0.1", WAIT), "management answers"
    bridge = api.network.get_bridge(network)
    assert {"bond0", "vif1.0"} <= ports(site.host, bridge)
    assert {nic: links(site.host)[nic]["master"] for nic in NICS} == dict.fromkeys(NICS, "bond0")
    assert links(site.host)["bond0"]["address"] == own["eth0"]
    assert {api.PIF.get_device(pif): api.PIF.get_MAC(pif) for pif in api.Bond.get_slaves(site.bond())} == own
    assert not {"xenbr0", "xenbr1"} & links(site.host).keys()
    until(lambda: site.up() == "2", WAIT)
    api.PIF.add_to_other_config(site.master(), "bond-updelay", "200")


@pytest.mark.parametrize("mode", ["balance-slb", "active-backup"])
def test_a_cable_is_pulled(site: Site, guest: Inside, mode: str) -> None:
    """The VM goes on at once: switches are told where it is before it has said anything itself."""
    api = site.api
    api.Bond.set_mode(site.bond(), mode)
    until(lambda: site.up() == "2", WAIT)
    assert ping(guest, "10.0.0.254", WAIT)
    mac = api.VIF.get_MAC(api.VIF.get_all()[0])
    with dump(site.switch, "p1", "rarp or arp") as second:
        site.cut(0)
        assert ping(guest, "10.0.0.254")
        assert ping(site.switch, "10.0.0.1")
        until(lambda: site.up() == "1", WAIT)
        carried = {nic: seen["state"] for nic, seen in site.slaves().items() if seen["mii_status"] == "UP"}
        assert carried in ({"eth1": "ACTIVE"}, {"eth0": "BACKUP", "eth1": "ACTIVE"})
    told = [line for line in second if mac in line and "Reverse Request" in line]
    assert told, f"{mac} is announced on the cable that is left: {second}"
    assert any("10.0.0.1 " in line and "Request who-has 10.0.0.1" in line for line in second), second
    site.cut(0, False)
    until(lambda: site.up() == "2", WAIT)
    assert ping(guest, "10.0.0.254")
    bodies = [record["body"] for record in api.message.get_all_records().values() if record["name"] == "BOND_STATUS_CHANGED"]
    assert any("1/2 up (was 2/2)" in body for body in bodies), bodies


def test_a_vlan_on_the_bond_an_agent_that_is_killed_and_what_others_do(site: Site, guest: Inside) -> None:
    api = site.api
    network = site.pool.network("vlan 42")
    (vlan,) = api.pool.create_VLAN("bond0", network, "42")
    api.PIF.reconfigure_ip(vlan, "Static", "10.42.0.1", "255.255.255.0", "", "")
    with dump(site.other, "eth0", "vlan and icmp") as seen:
        assert ping(site.host, "10.42.0.254", WAIT)
    assert any("vlan 42" in line for line in seen)
    site.pool.kill("host1")
    assert ping(guest, "10.0.0.254")
    site.host.ip("link", "set", "eth1", "nomaster")
    site.pool.start_agent("host1")
    until(lambda: links(site.host)["eth1"].get("master") == "bond0", WAIT)
    site.host.ip("link", "delete", "bond0")
    until(lambda: ping(guest, "10.0.0.254", 1.0) and ping(site.host, "10.42.0.254", 1.0), WAIT)
    api.VLAN.destroy(api.PIF.get_VLAN_master_of(vlan))


def test_lacp_with_a_switch_that_speaks_it(site: Site, guest: Inside) -> None:
    api, switch = site.api, site.switch
    site.aggregate()
    api.Bond.set_mode(site.bond(), "lacp")
    api.Bond.set_property(site.bond(), "lacp-time", "fast")
    ad = lambda: links(site.host)["bond0"]["linkinfo"]["info_data"].get("ad_info", {})  # noqa: E731
    until(lambda: ad().get("num_ports") == 2, WAIT)
    assert ad()["partner_mac"] == links(switch)["lag1"]["address"]
    assert links(site.host)["bond0"]["linkinfo"]["info_data"]["ad_lacp_rate"] == "fast"
    assert ping(guest, "10.0.0.254", WAIT)
    until(lambda: site.up() == "2", WAIT)
    mac = api.VIF.get_MAC(api.VIF.get_all()[0])
    with dump(switch, "lag1", "rarp") as seen:
        site.cut(1)
        assert ping(guest, "10.0.0.254", WAIT)
        until(lambda: site.up() == "1", WAIT)
        time.sleep(0.5)
    assert any(mac in line for line in seen)
    site.cut(1, False)
    site.separate()
    assert ping(guest, "10.0.0.254", WAIT), "without a partner one slave carries all"


def test_each_nic_is_its_own_again(site: Site, guest: Inside) -> None:
    api = site.api
    macs = {api.PIF.get_device(pif): api.PIF.get_MAC(pif) for pif in api.Bond.get_slaves(site.bond())}
    api.Bond.destroy(site.bond())
    assert ping(guest, "10.0.0.254", WAIT)
    assert ping(site.switch, "10.0.0.1", WAIT)
    assert {nic: links(site.host)[nic]["address"] for nic in NICS} == macs
    assert [links(site.host)[nic]["master"] for nic in NICS] == ["xenbr0", "xenbr1"]
    until(lambda: "bond0" not in links(site.host), WAIT)
    until(lambda: site.host.command("nft", "list", "tables") == "", WAIT)
