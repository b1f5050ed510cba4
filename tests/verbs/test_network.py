"""network: what create makes and refuses, in XenServer's order; destroy; purposes; locking mode; the MAC tables."""

import pytest

from tests.verbs.world import ABSENT, World
from xenet.model.network import Network
from xenet.model.pool import Pool
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.verbs.call import Question


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0", "eth1")


# --- create --------------------------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_reference(world, host):
    network = world.get(Network, world.call("network.create", {"other_config": {}}))
    assert network.bridge == "xapi0"
    assert network.MTU == 1500
    assert network.managed
    assert network.name_label == ""
    assert network.default_locking_mode == "unlocked"


def test_a_bridge_name_is_never_given_twice(world, host):
    first = world.network()
    assert world.get(Network, first).bridge == "xapi0"
    world.call("network.destroy", first)
    assert world.get(Network, world.network()).bridge == "xapi1"


def test_a_name_in_use_is_skipped(world, host):
    world.start("network.create", {"other_config": {}, "bridge": "xapi0"}, internal=True)
    assert world.get(Network, world.network()).bridge == "xapi1"


@pytest.mark.parametrize(("given", "kept"), [(0, 1500), (-1, 1500), (1, 1), (9000, 9000), (10**9, 10**9)])
def test_the_mtu_has_no_bounds_but_zero(world, host, given, kept):
    mtu = world.get(Network, world.network(MTU=given)).MTU
    assert mtu == kept


@pytest.mark.parametrize("bridge", ["xenbr9", "xapi7", "vif1.0", "tap1.0", "eth7", "x", "a-bridge_15.chr"])
def test_reserved_prefixes(world, host, bridge):
    record = {"other_config": {}, "bridge": bridge}
    if bridge in ("x", "a-bridge_15.chr"):
        assert world.get(Network, world.call("network.create", record)).bridge == bridge
    else:
        assert world.refusal("network.create", record) == ["INVALID_VALUE", "bridge", bridge]


@pytest.mark.parametrize("bridge", ["sixteen-letters!", "a/b", "a b", "a:b", "..", ".", "a\x7f"])
def test_what_is_no_name_of_a_device_is_refused(world, host, bridge):
    assert world.refusal("network.create", {"other_config": {}, "bridge": bridge}) == ["INVALID_VALUE", "bridge", bridge]


def test_a_bridge_name_belongs_to_one_network(world, host):
    world.network(bridge="mine")
    assert world.refusal("network.create", {"other_config": {}, "bridge": "mine"}) == ["BRIDGE_NAME_EXISTS", "mine"]


def test_a_bad_name_is_refused_before_one_in_use(world, host):
    assert world.refusal("network.create", {"other_config": {}, "bridge": "xenbr0"})[0] == "INVALID_VALUE"


def test_a_missing_field_without_default_is_an_internal_error(world, host):
    assert world.refusal("network.create", {}) == ["INTERNAL_ERROR", 'Db_exn.FieldNotFound("other_config")']


def test_read_only_fields_are_ignored(world, host):
    """Terraform's provider sends whole records."""
    network = world.get(Network, world.network(uuid="mine", PIFs=("x",), purpose=("nbd",), current_operations={"a": "attaching"}))
    assert network.uuid != "mine"
    assert network.purpose == ()
    assert network.current_operations == {}


def test_no_network_before_the_first_host_has_brought_the_pool(world):
    assert world.refusal("network.create", {"other_config": {}}) == ["HOST_STILL_BOOTING"]


# --- destroy -------------------------------------------------------------------------------------------------------------


def test_destroy_takes_unattached_vifs_along(world, host):
    network = world.network()
    vif = world.vif(world.vm(), network)
    world.call("network.destroy", network)
    assert world.state.find(VIF, vif) is None
    assert world.state.find(Network, network) is None


def test_attached_vifs_keep_a_network(world, host):
    network = world.network()
    _, vifs = world.running(network, network, on=host)
    code, *refs = world.refusal("network.destroy", network)
    assert code == "NETWORK_CONTAINS_VIF"
    assert sorted(refs) == sorted(vifs)


def test_a_pif_keeps_a_network(world, host):
    network = world.external(0)
    assert world.refusal("network.destroy", network) == ["NETWORK_CONTAINS_PIF", world.pif(host, network)]


def test_vifs_are_named_before_pifs(world, host):
    network = world.external(0)
    _, vifs = world.running(network, on=host)
    assert world.refusal("network.destroy", network) == ["NETWORK_CONTAINS_VIF", *vifs]


def test_the_host_internal_management_network_stays(world, host):
    network = world.network(other_config={"is_host_internal_management_network": "true"})
    assert world.refusal("network.destroy", network) == ["CANNOT_DESTROY_SYSTEM_NETWORK", network]


def test_a_vif_on_its_way_keeps_both_networks(world, host):
    """Its move may fail, and then it is back on the old one."""
    old, new = world.network(), world.network()
    _, (vif,) = world.running(old, on=host)
    moving = world.start("VIF.move", vif, new)
    for network in (old, new):
        assert world.refusal("network.destroy", network) == ["NETWORK_CONTAINS_VIF", vif]
    world.report(host, {vif: "no"})
    assert world.get(VIF, vif).network == old
    assert moving.operation is not None
    world.call("network.destroy", new)


def test_destroy_of_nothing(world, host):
    assert world.refusal("network.destroy", ABSENT) == ["HANDLE_INVALID", "network", ABSENT]


# --- the rest ------------------------------------------------------------------------------------------------------------


def test_the_locking_mode_waits_for_the_last_vif(world, host):
    network = world.network()
    vm, (vif,) = world.running(network, on=host)
    assert world.refusal("network.set_default_locking_mode", network, "disabled") == ["VIF_IN_USE", network, vif]
    world.call("VM.hard_shutdown", vm)
    world.call("network.set_default_locking_mode", network, "disabled")
    assert world.get(Network, network).default_locking_mode == "disabled"


def test_purposes_exclude_each_other_pool_wide(world, host):
    one, two = world.network(), world.network()
    world.call("network.add_purpose", one, "nbd")
    world.call("network.add_purpose", one, "nbd")
    assert world.get(Network, one).purpose == ("nbd",)
    assert world.refusal("network.add_purpose", two, "insecure_nbd") == ["NETWORK_INCOMPATIBLE_PURPOSES", "insecure_nbd", "nbd"]
    world.call("network.remove_purpose", one, "nbd")
    world.call("network.remove_purpose", one, "nbd")
    world.call("network.add_purpose", two, "insecure_nbd")
    assert world.get(Network, two).purpose == ("insecure_nbd",)


@pytest.mark.parametrize("verb", ["add_purpose", "remove_purpose"])
def test_an_unmanaged_network_has_no_purpose(world, host, verb):
    network = world.network(managed=False, bridge="foreign")
    assert world.refusal(f"network.{verb}", network, "nbd") == ["NETWORK_UNMANAGED", network]


def test_the_mac_table_is_asked_of_live_hosts_that_have_the_network(world, host):
    other = world.host("other", "eth0")
    assert asked(world, world.external(0)) == {host, other}
    assert asked(world, world.external(1)) == {host}
    internal = world.network()
    assert asked(world, internal) == set()
    world.running(internal, on=other)
    assert asked(world, internal) == {other}
    assert world.decide("network.get_silent_hosts", internal) == []
    world.leave(other)
    assert asked(world, internal) == set()
    assert world.decide("network.get_silent_hosts", internal) == [other]


def asked(world: World, network: Ref) -> set[Ref]:
    question = world.decide("network.get_fdb", network)
    assert isinstance(question, Question)
    assert (question.topic, question.subject) == ("fdb", world.get(Network, network).bridge)
    return set(question.hosts)


def test_the_mac_table_names_the_owner_of_each_port(world, host):
    network = world.external(0)
    _, (vif,) = world.running(network, on=host)
    lines = [{"mac": "m", "port": port, "age": "0", "local": "false"} for port in ("tap1.0", "eth0", "other")]
    rows = world.decide("network.get_fdb", network).answer({host: lines})
    pif = world.pif(host, network)
    assert [row["owner"] for row in rows] == [f"VIF {uuid_of(vif)}", f"PIF {uuid_of(pif)}", ""]
    assert {row["host"] for row in rows} == {"a"}


def uuid_of(ref: Ref) -> str:
    return ref.removeprefix("OpaqueRef:")


def test_the_pool_counts_on(world, host):
    world.network()
    world.network()
    assert next(world.state.all(Pool)).next_xapi == 2
