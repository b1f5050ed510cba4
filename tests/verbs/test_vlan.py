"""VLANs: their records, who may have one where, on one host and on all of a pool, and management on them."""

import msgspec
import pytest

from tests.verbs.world import ABSENT, World
from xenet.model.derived import VLAN, Bond, Tunnel
from xenet.model.hidden import HostFacts, Operation
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import NULL, Record, Ref
from xenet.model.vif import VIF
from xenet.plan.compile import compile_switch
from xenet.plan.view import UplinkView, VLANView


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0", "eth1")


@pytest.fixture
def lower(world, host):
    return world.pif(host, world.external(0))


@pytest.fixture
def network(world, host):
    return world.network()


def upper(world: World, vlan: Ref) -> PIF:
    return world.get(PIF, world.get(VLAN, vlan).untagged_PIF)


def change(world: World, record: Record, **fields: object) -> None:
    """Behind the verbs' back: what a state may be like."""
    world.state = world.state.with_record(record.xenapi, record.ref, msgspec.structs.replace(record, **fields))


def put(world: World, record: Record) -> None:
    world.state = world.state.with_record(record.xenapi, record.ref, record)


def test_a_vlan_is_a_pif_above_another(world, lower, network):
    vlan = world.call("VLAN.create", lower, 42, network)
    record, pif, below = world.get(VLAN, vlan), upper(world, vlan), world.get(PIF, lower)
    assert (record.tagged_PIF, record.tag) == (lower, 42)
    assert (pif.device, pif.VLAN, pif.MAC, pif.network, pif.host) == ("eth0", 42, "fe:ff:ff:ff:ff:ff", network, below.host)
    assert (pif.VLAN_master_of, pif.physical, pif.plugged, pif.currently_attached) == (vlan, False, True, True)
    assert (pif.metrics, pif.ip_configuration_mode, pif.ipv6_configuration_mode) == (below.metrics, "None", "None")
    assert world.state.back(lower, PIF.VLAN_slave_of) == [vlan]
    assert world.get(Network, network).bridge == "xapi0"


def test_it_is_reached_by_addresses_of_the_same_kind_as_the_pif_below(world, lower, network):
    change(world, world.get(PIF, lower), primary_address_type="IPv6")
    assert upper(world, world.call("VLAN.create", lower, 42, network)).primary_address_type == "IPv6"


def test_its_switch_has_the_vlans_device_and_the_nics_mac(world, host, lower, network):
    world.call("VLAN.create", lower, 42, network)
    view = compile_switch(world.state, host, "xapi0")
    assert view is not None
    assert view.uplink == UplinkView("eth0.42", 1500, vlan=VLANView("eth0", 42))
    assert view.mac == world.get(PIF, lower).MAC


def test_the_switch_below_stays_while_a_vlan_is_on_it_but_without_the_hosts_address(world, host, lower, network):
    world.call("PIF.reconfigure_ip", lower, "Static", "192.0.2.1", "255.255.255.0", "", "")
    vlan = world.call("VLAN.create", lower, 42, network)
    world.call("PIF.unplug", lower)
    assert world.get(PIF, lower).currently_attached is False
    below = compile_switch(world.state, host, "xenbr0")
    assert below is not None
    assert (below.uplink, below.addresses) == (UplinkView("eth0", 1500, ethtool={"eth0": {"gro": "on"}}), ())
    world.call("PIF.unplug", upper(world, vlan).ref)
    assert compile_switch(world.state, host, "xenbr0") is None
    assert compile_switch(world.state, host, "xapi0") is None


def test_destroy_leaves_the_network(world, lower, network):
    vlan = world.call("VLAN.create", lower, 42, network)
    pif = upper(world, vlan)
    world.call("VLAN.destroy", vlan)
    assert (world.state.find(VLAN, vlan), world.state.find(PIF, pif.ref)) == (None, None)
    assert world.state.find(Network, network) is not None
    assert world.call("VLAN.create", lower, 42, network)


@pytest.mark.parametrize("verb", ["create", "destroy"])
def test_what_fails_on_the_host_has_not_happened(world, host, lower, network, verb):
    vlan = world.call("VLAN.create", lower, 42, network) if verb == "destroy" else NULL
    before = tables(world.state)
    world.start("VLAN.create", lower, 42, network) if verb == "create" else world.start("VLAN.destroy", vlan)
    (ended,) = world.report(host, {network: "this kernel has no VLAN devices"})
    assert ended.failure is not None
    assert tables(world.state) == before
    if verb == "create":
        said = "the VLAN's own PIF is gone, so the one below is named"
        assert ended.failure.description == ["PIF_CONFIGURATION_ERROR", lower, "this kernel has no VLAN devices"], said


def tables(state: PoolState) -> dict[str, object]:
    return {cls: dict(state.tables.get(cls, {})) for cls in ("VLAN", "PIF", "network")}


def test_the_order_of_refusals(world, host, lower, network):
    """Each reason is taken away when it has been seen, so the next one shows."""
    create = ("VLAN.create", lower, 4095, network)
    other = world.pif(host, world.external(1))
    record = world.get(Network, network)
    facts = world.get(HostFacts, host)
    put(world, Bond(uuid="bond"))
    put(world, VLAN(uuid="vlan", tag=7))
    put(world, Tunnel(uuid="tunnel", access_PIF=lower))
    change(world, facts, nics=tuple(msgspec.structs.replace(nic, vlans=(4000,)) for nic in facts.nics))
    change(world, world.get(PIF, lower), managed=False, bond_slave_of=Ref("OpaqueRef:bond"), VLAN_master_of=Ref("OpaqueRef:vlan"))
    change(world, world.get(PIF, other), network=network)
    change(world, record, managed=False)
    assert world.refusal(*create) == ["NETWORK_UNMANAGED", network]
    change(world, record, managed=True)
    assert world.refusal(*create) == ["NETWORK_ALREADY_CONNECTED", host, other]
    elsewhere = world.host("bb", "eth0")
    change(world, world.get(PIF, other), host=elsewhere)
    assert world.refusal(*create) == ["PIF_UNMANAGED", lower]
    change(world, world.get(PIF, lower), managed=True)
    assert world.refusal(*create) == ["CANNOT_ADD_VLAN_TO_BOND_SLAVE", lower]
    change(world, world.get(PIF, lower), bond_slave_of=NULL)
    assert world.refusal(*create) == ["PIF_IS_VLAN", lower]
    change(world, world.get(PIF, lower), VLAN_master_of=NULL)
    assert world.refusal(*create) == ["IS_TUNNEL_ACCESS_PIF", lower]
    change(world, world.get(Tunnel, Ref("OpaqueRef:tunnel")), access_PIF=NULL)
    assert world.refusal(*create) == ["NETWORK_INCOMPATIBLE_WITH_VLAN_ON_BRIDGE", network]
    change(world, world.get(PIF, other), network=ABSENT)
    assert world.refusal(*create) == ["VLAN_TAG_INVALID", "4095"]
    change(world, world.get(VLAN, Ref("OpaqueRef:vlan")), tagged_PIF=lower)
    assert world.refusal("VLAN.create", lower, 7, network) == ["PIF_VLAN_EXISTS", "eth0"]
    assert world.refusal("VLAN.create", lower, 4000, network) == ["VLAN_IN_USE", "eth0", "4000"]
    vif = world.vif(world.vm(), network)
    change(world, world.get(VIF, vif), trunks=(1,))
    assert world.refusal("VLAN.create", lower, 8, network) == ["NETWORK_INCOMPATIBLE_WITH_TRUNKS", network]
    change(world, world.get(VIF, vif), trunks=())
    change(world, world.get(Network, network), MTU=9000)
    assert world.refusal("VLAN.create", lower, 8, network)[:2] == ["PIF_CONFIGURATION_ERROR", lower]


@pytest.mark.parametrize("tag", [0, 1, 4094])
def test_tags_that_are(world, lower, network, tag):
    assert tag == upper(world, world.call("VLAN.create", lower, tag, network)).VLAN


@pytest.mark.parametrize("tag", [-1, 4095, 1 << 40])
def test_tags_that_are_not(world, lower, network, tag):
    assert world.refusal("VLAN.create", lower, tag, network) == ["VLAN_TAG_INVALID", str(tag)]
    assert world.refusal("pool.create_VLAN", "eth0", network, tag) == ["VLAN_TAG_INVALID", str(tag)]


def test_a_vlan_in_use_stays(world, host, lower, network):
    vlan = world.call("VLAN.create", lower, 42, network)
    _, (vif,) = world.running(network, on=host)
    assert world.refusal("VLAN.destroy", vlan) == ["VIF_IN_USE", network, vif]
    assert world.refusal("PIF.forget", upper(world, vlan).ref) == ["PIF_VLAN_STILL_EXISTS", upper(world, vlan).ref]
    assert world.refusal("PIF.forget", lower) == ["PIF_VLAN_STILL_EXISTS", lower]
    world.call("VIF.unplug", vif)
    world.call("PIF.set_disallow_unplug", upper(world, vlan).ref, True)
    assert world.refusal("VLAN.destroy", vlan) == ["PIF_DOES_NOT_ALLOW_UNPLUG", upper(world, vlan).ref]


def test_a_vif_brings_its_vlan_up(world, host, lower, network):
    vlan = world.call("VLAN.create", lower, 42, network)
    world.call("PIF.unplug", upper(world, vlan).ref)
    assert not upper(world, vlan).currently_attached
    world.running(network, on=host)
    assert upper(world, vlan).currently_attached


def test_a_vlan_is_no_larger_than_what_is_below(world, lower, network):
    vlan = world.call("VLAN.create", lower, 42, network)
    pif = upper(world, vlan)
    world.call("network.set_MTU", network, 9000)
    code, blamed, text = world.refusal("PIF.plug", pif.ref)
    assert (code, blamed) == ("PIF_CONFIGURATION_ERROR", pif.ref)
    assert "MTU 9000 of VLAN 42 is more than the 1500 of eth0 below it" in text
    world.call("network.set_MTU", world.external(0), 9000)
    world.call("PIF.plug", lower)
    world.call("PIF.plug", pif.ref)
    assert upper(world, vlan).MTU == 9000
    world.call("network.set_MTU", world.external(0), 1500)
    code, blamed, text = world.refusal("PIF.plug", lower)
    assert (code, blamed, text) == ("PIF_CONFIGURATION_ERROR", lower, "MTU 1500 is less than the 9000 of VLAN 42 on eth0")


def test_no_vm_starts_where_its_vlans_frames_would_not_fit(world, host, lower, network):
    """Its network grew while the VLAN was down; the PIF's own other_config:mtu is a way out."""
    vlan = world.call("VLAN.create", lower, 42, network)
    pif = upper(world, vlan).ref
    world.call("PIF.unplug", pif)
    world.call("network.set_MTU", network, 9000)
    vm = world.vm()
    world.vif(vm, network)
    before = tables(world.state)
    assert world.refusal("VM.start_on", vm, host, False, False)[:2] == ["PIF_CONFIGURATION_ERROR", pif]
    assert tables(world.state) == before
    world.call("PIF.add_to_other_config", pif, "mtu", "1400")
    world.call("VM.start_on", vm, host, False, False)
    assert (upper(world, vlan).MTU, upper(world, vlan).currently_attached) == (1400, True)


def test_the_older_forms(world, host, lower, network):
    pif = world.call("PIF.create_VLAN", "eth0", network, host, 42)
    assert world.get(PIF, pif).VLAN == 42
    assert world.refusal("PIF.create_VLAN", "eth9", network, host, 42) == ["INVALID_VALUE", "device", "eth9"]
    assert world.refusal("PIF.destroy", lower) == ["PIF_IS_PHYSICAL"]
    world.call("PIF.destroy", pif)
    assert world.state.find(PIF, pif) is None
    assert list(world.state.all(VLAN)) == []


# --- a pool ------------------------------------------------------------------------------------------


@pytest.fixture
def two(world, host):
    return host, world.host("bb", "eth0")


@pytest.mark.parametrize("verb", ["create_VLAN", "create_VLAN_from_PIF"])
def test_a_vlan_on_every_host(world, two, lower, network, verb):
    made = world.call(f"pool.{verb}", "eth0" if verb == "create_VLAN" else lower, network, 42)
    assert [world.get(PIF, pif).host for pif in made] == list(two)
    assert all(world.get(PIF, pif).currently_attached for pif in made)
    assert len({world.get(PIF, pif).network for pif in made}) == 1


def test_a_host_that_is_away_gets_none(world, two, lower, network):
    world.leave(two[1])
    assert [world.get(PIF, pif).host for pif in world.call("pool.create_VLAN", "eth0", network, 42)] == [two[0]]


def test_on_every_host_or_on_none(world, two, lower, network):
    before = tables(world.state)
    outcome = world.start("pool.create_VLAN", "eth0", network, 42)
    assert len(world.get(Operation, outcome.operation).waiting) == 2
    assert world.report(two[0]) == []
    (ended,) = world.report(two[1], {network: "no"})
    assert ended.failure is not None
    assert tables(world.state) == before


def test_nobody_has_such_a_nic(world, two, network):
    assert world.call("pool.create_VLAN", "eth7", network, 42) == ()


def test_a_host_that_comes_later_gets_the_coordinators_vlans(world, host, lower, network):
    world.call("VLAN.create", lower, 42, network)
    late = world.host("late", "eth0")
    pif = world.get(PIF, world.pif(late, network))
    assert (pif.device, pif.VLAN, pif.plugged) == ("eth0", 42, False)
    world.running(network, on=late)
    assert world.get(PIF, pif.ref).currently_attached
    world.host("late", "eth0")
    assert len(list(world.state.all(VLAN))) == 2, "once"


def test_a_host_may_want_none(world, host, lower, network):
    late = world.host("late", "eth0")
    change(world, world.get(Host, late), other_config={"sync_vlans": "nosync"})
    world.call("VLAN.create", lower, 42, network)
    world.host("late", "eth0")
    assert len(list(world.state.all(VLAN))) == 1


# --- a host starts ---


def test_after_a_hosts_start_vlans_are_up_that_have_an_address_or_a_vm(world):
    """As on a XenServer: `idle` waits for a VM; the NIC comes back although it was unplugged, the unmanaged one stays its owner's."""
    host = world.host("a", "eth0", "eth1", "eth2", boot="one")
    nics = [world.pif(host, world.external(n)) for n in range(3)]
    networks = [world.network() for _ in range(3)]
    idle, storage, used = (upper(world, world.call("VLAN.create", nics[0], tag, network)).ref for tag, network in enumerate(networks, 1))
    world.call("PIF.reconfigure_ip", storage, "Static", "192.0.2.1", "255.255.255.0", "", "")
    world.running(networks[2], on=host)
    world.call("PIF.unplug", nics[0])
    world.call("PIF.unplug", storage)
    world.call("PIF.forget", nics[2])
    unmanaged = world.call("PIF.introduce", host, "", "eth2", False)

    def up() -> set[Ref]:
        return {pif.ref for pif in world.state.all(PIF) if pif.plugged and pif.currently_attached}

    before = up()
    world.leave(host)
    world.host("a", "eth0", "eth1", "eth2", boot="one")
    assert up() == before == {nics[1], idle, used}, "an agent's restart is no start of its host"
    world.leave(host)
    world.host("a", "eth0", "eth1", "eth2", boot="two")
    assert up() == {nics[0], nics[1], storage, used}
    assert not world.get(PIF, unmanaged).plugged
    world.running(networks[0], on=host)
    assert idle in up()


def test_a_pif_that_cannot_be_plugged_at_a_hosts_start_stays_down(world):
    host = world.host("a", "eth0", boot="one")
    lower, network = world.pif(host, world.external(0)), world.network()
    pif = upper(world, world.call("VLAN.create", lower, 7, network)).ref
    world.call("PIF.reconfigure_ip", pif, "Static", "192.0.2.1", "255.255.255.0", "", "")
    world.call("PIF.unplug", pif)
    world.call("network.set_MTU", network, 9000)
    world.leave(host)
    world.host("a", "eth0", boot="two")
    assert not world.get(PIF, pif).plugged
    assert world.get(PIF, lower).currently_attached


# --- management --------------------------------------------------------------------------------------


def test_management_on_a_vlan_is_refused_until_the_pool_allows_it(world, host, lower, network):
    pif = upper(world, world.call("VLAN.create", lower, 42, network)).ref
    world.call("PIF.reconfigure_ip", pif, "Static", "192.0.2.1", "255.255.255.0", "", "")
    code, blamed, text = world.refusal("host.management_reconfigure", pif)
    assert (code, blamed) == ("PIF_CONFIGURATION_ERROR", pif)
    assert "native VLAN" in text
    assert "other-config:management-on-vlan=true" in text
    assert world.refusal("pool.management_reconfigure", network)[0] == "PIF_CONFIGURATION_ERROR"
    pool = next(iter(world.state.tables["pool"]))
    world.call("pool.add_to_other_config", pool, "management-on-vlan", "true")
    world.call("host.management_reconfigure", pif)
    assert world.get(PIF, pif).management
    assert world.get(Host, host).address == "192.0.2.1"
    assert world.refusal("VLAN.destroy", world.get(PIF, pif).VLAN_master_of) == ["PIF_IS_MANAGEMENT_INTERFACE", pif]


@pytest.mark.parametrize("message", ["PIF.forget", "PIF.db_forget"])
def test_a_pif_that_carries_a_vlan_is_not_forgotten_nor_the_vlans_own(world, lower, network, message):
    vlan = world.call("VLAN.create", lower, 42, network)
    above = upper(world, vlan)
    world.call("PIF.unplug", above.ref)
    world.call("PIF.unplug", lower)
    for pif in (lower, above.ref):
        assert world.refusal(message, pif) == ["PIF_VLAN_STILL_EXISTS", pif]
    assert tables(world.state)["VLAN"]
