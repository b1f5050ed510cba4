"""VLANs and bonds on Open vSwitch, between two hosts: fake bridges whose frames are tagged on the cable alone, and several cables as one."""

import itertools
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from msgspec import structs

from tests.datapath.bridge_host import port
from tests.datapath.switch_host import SwitchHost, switch_hosts
from tests.e2e.world import until
from tests.netns import Namespace, cable, ping
from tests.stock.test_vlan import seen
from xenet.model.hidden import BondLinks
from xenet.plan.view import BondView, LockView, PortView, SwitchView, UplinkView, VLANView

pytestmark = pytest.mark.kernel


@pytest.fixture
def pair() -> Iterator[tuple[SwitchHost, SwitchHost]]:
    """Two hosts with three cables between them, eth1 to eth3; two guests each."""
    with switch_hosts() as one, switch_hosts() as two:
        for number in (1, 2, 3):
            cable(one.ns, f"eth{number}", two.ns, f"eth{number}")
        yield one, two


def mac(host: SwitchHost, nic: str) -> str:
    return str(host.json("link", "show", nic)[0]["address"])


def carrier(host: SwitchHost, *ports: PortView, nic: str = "eth1", **fields) -> SwitchView:
    return SwitchView("xenbr1", "net-1", mac=mac(host, nic), uplink=UplinkView(nic), ports={each.device: each for each in ports}, **fields)


def vlan(host: SwitchHost, tag: int, *ports: PortView, parent: str = "eth1", **fields) -> SwitchView:
    uplink = UplinkView(f"{parent}.{tag}", fields.get("mtu", 1500), vlan=VLANView(parent, tag))
    own = mac(host, "eth1")
    return SwitchView(f"xapi{tag}", f"net-{tag}", mac=own, uplink=uplink, ports={each.device: each for each in ports}, **fields)


def there(number: int) -> PortView:
    """A VIF of a guest of the second host, whose MACs are others."""
    return structs.replace(port(number), mac=f"02:00:00:0{number}:00:ff")


def address(ns: Namespace, text: str, device: str = "eth0") -> None:
    ns.ip("address", "add", text, "dev", device)


# --- VLANs -----------------------------------------------------------------------------------------


def test_tags_are_on_the_cable_alone_and_keep_networks_apart(pair):
    one, two = pair
    one.reach(carrier(one), vlan(one, 42, port(1), addresses=("10.0.0.11/24",)), vlan(one, 43, port(2)))
    two.reach(carrier(two), vlan(two, 42, there(1)), vlan(two, 43, there(2)))
    for host, number in ((one, 1), (two, 2)):
        address(host.guests[0], f"10.0.0.{number}/24")
        address(host.guests[1], f"10.0.0.{number + 4}/24")
    with seen(two.ns, "eth1") as wire, seen(two.guests[0], "eth0") as inside:
        assert ping(one.guests[0], "10.0.0.2")
        assert ping(two.guests[0], "10.0.0.11"), "the host's own address on the VLAN"
    tagged = [line for line in wire if line]
    assert tagged and all("vlan 42" in line for line in tagged)
    assert any(inside) and not any("vlan" in line for line in inside)
    assert ping(one.guests[1], "10.0.0.6")
    assert not ping(one.guests[0], "10.0.0.6", wait=0.5)
    assert not ping(one.guests[1], "10.0.0.2", wait=0.5)
    assert one.vsctl("br-to-parent", "xapi42") == "xenbr1" and one.vsctl("br-to-vlan", "xapi42") == "42"
    assert one.vsctl("br-get-external-id", "xapi42", "xs-network-uuids") == "net-42;net-1"
    links = {link["ifname"]: link for link in one.json("link")}
    assert links["xapi42"]["address"] == links["eth1"]["address"]
    table = {entry.device for entry in one.datapath.fdb("xapi42")}
    assert {"vif1.0", "eth1"} <= table and "vif2.0" not in table


def test_a_vlan_comes_and_goes_under_running_guests(pair):
    """An internal network becomes a VLAN, moves to another tag and another carrier, and is internal again; a guest keeps its NIC."""
    one, two = pair
    two.reach(carrier(two), carrier2(two), vlan(two, 7, there(1)), vlan(two, 8, there(2), parent="eth2"))
    address(two.guests[0], "10.0.0.7/24")
    address(two.guests[1], "10.0.0.8/24")
    internal = structs.replace(vlan(one, 7, port(1), port(2)), uplink=None, mac="")
    one.reach(internal)
    for number, ns in enumerate(one.guests, 1):
        address(ns, f"10.0.0.{number}/24")
    before = {link["ifname"]: link["ifindex"] for link in one.json("link") if link["ifname"].startswith("vif")}
    tagged = vlan(one, 7, port(1), port(2), addresses=("10.0.0.11/24",))
    for wanted, reached, lost in (
        ((internal,), (), ("10.0.0.7", "10.0.0.8")),
        ((carrier(one), tagged), ("10.0.0.7", "10.0.0.11"), ("10.0.0.8",)),
        ((carrier(one), carrier2(one), moved(tagged)), ("10.0.0.8", "10.0.0.11"), ("10.0.0.7",)),
        ((carrier(one), tagged), ("10.0.0.7", "10.0.0.11"), ("10.0.0.8",)),
        ((internal,), (), ("10.0.0.7", "10.0.0.8")),
    ):
        one.reach(*wanted)
        assert one.datapath.switches() == one.truth()
        for target in ("10.0.0.2", *reached):
            assert ping(one.guests[0], target), (wanted, target)
        for target in lost:
            assert not ping(one.guests[0], target, wait=0.3), (wanted, target)
    assert {link["ifname"]: link["ifindex"] for link in one.json("link") if link["ifname"].startswith("vif")} == before


def carrier2(host: SwitchHost) -> SwitchView:
    return SwitchView("xenbr2", "net-2", mac=mac(host, "eth2"), uplink=UplinkView("eth2"))


def moved(switch: SwitchView) -> SwitchView:
    return structs.replace(switch, uplink=UplinkView("eth2.8", vlan=VLANView("eth2", 8)))


def test_vifs_on_a_vlan_are_locked_and_limited_as_elsewhere(pair):
    one, two = pair
    lock = LockView(("10.0.0.1",))
    one.reach(carrier(one), vlan(one, 42, structs.replace(port(1), lock=lock, rate=102400)))
    two.reach(carrier(two), vlan(two, 42, there(1)))
    address(one.guests[0], "10.0.0.1/24")
    address(one.guests[0], "10.0.0.9/24")
    address(two.guests[0], "10.0.0.2/24")
    assert ping(one.guests[0], "10.0.0.2")
    said = one.ns.command("tc", "qdisc", "show", "dev", "leg1.0")
    assert "tbf" in said
    forged = subprocess.run
    done = one.guests[0](forged, ["ping", "-c1", "-W1", "-I", "10.0.0.9", "10.0.0.2"], capture_output=True)
    assert done.returncode == 1


# --- bonds -----------------------------------------------------------------------------------------


def bond(host: SwitchHost, *ports: PortView, slaves: tuple[str, ...] = ("eth1", "eth2"), **settings) -> SwitchView:
    view = BondView(slaves, settings.pop("mode", "active-backup"), mac(host, "eth1"), updelay=0, downdelay=0, **settings)
    uplink = UplinkView("bond0", bond=view)
    return SwitchView("xenbr1", "net-1", mac=view.mac, uplink=uplink, ports={each.device: each for each in ports})


@contextmanager
def pinging(source: Namespace, target: str) -> Iterator[list[float]]:
    """The longest time in seconds without an answer while the block runs, by a ping every 5 ms."""
    command = ["ping", "-n", "-D", "-i", "0.005", target]
    process = source(subprocess.Popen, command, stdout=subprocess.PIPE, text=True)
    gaps: list[float] = []
    time.sleep(0.3)
    try:
        yield gaps
        time.sleep(0.3)
    finally:
        process.terminate()
        lines = process.communicate(timeout=30)[0].splitlines()
        times = [float(line[1 : line.index("]")]) for line in lines if line.startswith("[")]
        gaps.append(max((after - before for before, after in itertools.pairwise(times)), default=99.0))


SETTINGS = [
    {"mode": "active-backup", "primary": "eth2"},
    {"mode": "balance-slb", "rebalance": 5000},
    {"mode": "lacp", "lacp_time": "fast", "hashing": "tcpudp_ports", "lacp_key": 7},
    {"mode": "lacp", "lacp_time": "fast", "hashing": "src_mac", "lacp_fallback": False},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: f"{settings['mode']}-{settings.get('hashing', '')}")
def test_a_bond_of_each_mode_survives_each_of_its_cables(pair, settings):
    one, two = pair
    one.reach(bond(one, port(1), port(2), **settings))
    if settings["mode"] == "balance-slb":
        switch_of_both_cables(two)
    else:
        two.reach(bond(two, there(1), **settings))
    assert one.datapath.switches() == one.truth()
    address(one.guests[0], "10.0.0.1/24")
    address(two.guests[0], "10.0.0.2/24")
    until(lambda: all_up(one) and all_up(two))
    assert ping(one.guests[0], "10.0.0.2", wait=20)
    for nic in ("eth1", "eth2"):
        with pinging(one.guests[0], "10.0.0.2") as gaps:
            two.ns.ip("link", "set", nic, "down")
            until(partial(is_gone, one, nic))
        assert gaps[0] < 3, nic
        two.ns.ip("link", "set", nic, "up")
        until(lambda: all_up(one) and all_up(two))
        assert ping(one.guests[0], "10.0.0.2", wait=20)


def switch_of_both_cables(host: SwitchHost) -> None:
    """balance-slb is for switches that know nothing of bonds: two such bonds face to face would each drop what comes by the other's choice."""
    host.reach(carrier(host, there(1)))
    host.vsctl("add-port", "xenbr1", "eth2")
    host.ns.ip("link", "set", "eth2", "up")


def all_up(host: SwitchHost) -> bool:
    return all(links.up == ("eth1", "eth2") for links in bonds_of(host))


def bonds_of(host: SwitchHost) -> list[BondLinks]:
    host.ns(host.datapath.refresh)
    return host.datapath.bonds()


def is_gone(host: SwitchHost, nic: str) -> bool:
    return nic not in links(host)


def links(host: SwitchHost) -> tuple[str, ...]:
    """The slaves that may carry frames."""
    (found,) = bonds_of(host)
    return found.up


def test_a_bond_of_one_nic_has_a_link_while_that_has_a_cable(pair):
    """ovs-vswitchd has a plain port for it, and no word of a bond."""
    one, two = pair
    two.reach(carrier(two, there(1)))
    one.reach(bond(one, port(1), slaves=("eth1",)))
    address(one.guests[0], "10.0.0.1/24")
    address(two.guests[0], "10.0.0.2/24")
    assert ping(one.guests[0], "10.0.0.2", wait=20)
    until(lambda: links(one) == ("eth1",))
    (found,) = bonds_of(one)
    assert found.active == ("eth1",)
    two.ns.ip("link", "set", "eth1", "down")
    until(lambda: links(one) == ())
    two.ns.ip("link", "set", "eth1", "up")
    until(lambda: links(one) == ("eth1",))


def test_a_bond_changes_in_place_and_gives_its_nics_back(pair):
    one, two = pair
    two.reach(carrier(two, there(1)), carrier2(two))
    address(two.guests[0], "10.0.0.2/24")
    one.reach(carrier(one, port(1)))
    address(one.guests[0], "10.0.0.1/24")
    assert ping(one.guests[0], "10.0.0.2")
    one.reach(bond(one, port(1), primary="eth1"), structs.replace(vlan(one, 9, port(2)), uplink=UplinkView("bond0.9", vlan=VLANView("bond0", 9))))
    assert ping(one.guests[0], "10.0.0.2", wait=20)
    one.reach(bond(one, port(1), slaves=("eth1", "eth2", "eth3"), mode="balance-slb"))
    until(lambda: links(one) == ("eth1", "eth2", "eth3"))
    one.reach(bond(one, port(1), slaves=("eth1", "eth3"), mode="lacp"))
    one.reach(carrier(one, port(1)))
    assert ping(one.guests[0], "10.0.0.2", wait=20)
    one.reach()
    assert one.vsctl("list-br") == ""
    for nic in ("eth1", "eth2", "eth3"):
        assert one.ns.command("tc", "qdisc", "show", "dev", nic).split()[1] == "noqueue"
