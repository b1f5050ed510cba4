"""The messages made from the declarations: look-ups, getters, setters, the rules of add_to and remove_from, query expressions."""

import pytest

from tests.verbs.world import ABSENT, World
from xenet.model.classes import PUBLIC
from xenet.model.declare import public_fields
from xenet.model.network import Network
from xenet.model.types import NULL


@pytest.fixture
def world():
    world = World()
    world.host("a", "eth0")
    return world


@pytest.fixture
def network(world):
    return world.network(name_label="mine", tags=("t",), other_config={"k": "v"})


@pytest.mark.parametrize("cls", [cls.xenapi for cls in PUBLIC])
def test_look_ups_of_nothing(world, cls):
    assert world.refusal(f"{cls}.get_record", ABSENT) == ["HANDLE_INVALID", cls, ABSENT]
    assert world.refusal(f"{cls}.get_uuid", ABSENT) == ["HANDLE_INVALID", cls, ABSENT]
    assert world.refusal(f"{cls}.get_by_uuid", "absent") == ["UUID_INVALID", cls, "absent"]


def test_a_network_is_not_a_vm(world, network):
    assert world.refusal("VM.get_record", network) == ["HANDLE_INVALID", "VM", network]


def test_a_record_has_every_field_and_no_hidden_one(world, network):
    vm, _ = world.running(network, on=world.decide("host.get_all")[0])
    for cls in PUBLIC:
        for ref, record in world.decide(f"{cls.xenapi}.get_all_records").items():
            assert list(record) == list(public_fields(cls))
            assert record == world.decide(f"{cls.xenapi}.get_record", ref)
            assert record == {name: world.decide(f"{cls.xenapi}.get_{name}", ref) for name in record}
    assert "running_on" not in world.decide("VM.get_record", vm)


def test_look_ups_find(world, network):
    uuid = world.get(Network, network).uuid
    assert world.decide("network.get_by_uuid", uuid) == network
    assert world.decide("network.get_by_name_label", "mine") == [network]
    assert world.decide("network.get_by_name_label", "other") == []
    assert network in world.decide("network.get_all")


def test_back_references_follow(world, network):
    vm = world.vm()
    vif = world.vif(vm, network)
    assert world.decide("network.get_VIFs", network) == [vif]
    assert world.decide("VM.get_VIFs", vm) == [vif]
    world.call("VIF.destroy", vif)
    assert world.decide("network.get_VIFs", network) == []


def test_setters(world, network):
    world.call("network.set_name_label", network, "other")
    assert world.decide("network.get_by_name_label", "other") == [network]
    assert world.decide("network.get_by_name_label", "mine") == []
    assert world.refusal("network.set_name_label", ABSENT, "x") == ["HANDLE_INVALID", "network", ABSENT]


def test_maps(world, network):
    assert world.refusal("network.add_to_other_config", network, "k", "w") == ["MAP_DUPLICATE_KEY", "network", "other_config", network, "k"]
    world.call("network.remove_from_other_config", network, "k")
    world.call("network.remove_from_other_config", network, "k")
    world.call("network.add_to_other_config", network, "k", "w")
    assert world.decide("network.get_other_config", network) == {"k": "w"}


def test_sets(world, network):
    world.call("network.add_tags", network, "t")
    world.call("network.add_tags", network, "u")
    assert world.decide("network.get_tags", network) == ("t", "u")
    world.call("network.remove_tags", network, "t")
    world.call("network.remove_tags", network, "t")
    assert world.decide("network.get_tags", network) == ("u",)


# --- query expressions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expr",
    [
        "true",
        'field "name__label" = "mine"',
        '  field   "name__label"="mine"  ',
        'not field "name__label" = "other"',
        'field "managed" = "true" and field "MTU" = "1500" and field "name__label" = "mine"',
        '(field "name__label" = "other" or field "name__label" = "mine") and true',
        'not (false or not true) and field "name__label" = "mine"',
        'field "tags" = "(\'t\')"',
        "field \"other__config\" = \"(('k' 'v'))\"",
        'field "blobs" = "()"',
        'field "VIFs" = "()"',
    ],
)
def test_expressions_that_mean_this_network(world, network, expr):
    assert network in world.decide("network.get_all_records_where", expr)
    assert network in world.decide("network.get_all_where", expr)


@pytest.mark.parametrize("expr", ["false", "not true", 'field "name__label" = "Mine"', 'field "no__such" = "x"', 'field "MTU" = "01500"'])
def test_expressions_that_do_not(world, network, expr):
    assert network not in world.decide("network.get_all_records_where", expr)


def test_quotes_in_a_value(world):
    network = world.network(name_label='a "b" \\')
    assert list(world.decide("network.get_all_records_where", 'field "name__label" = "a \\"b\\" \\\\"')) == [network]


def test_a_reference_in_an_expression(world, network):
    vm = world.vm()
    vif = world.vif(vm, network)
    assert world.decide("VIF.get_all_where", f'field "VM" = "{vm}"') == [vif]
    assert world.decide("VM.get_all_where", f'field "resident__on" = "{NULL}"') == [vm]


NOTHING = [
    "",
    "x",
    "true false",
    "(true",
    "true)",
    "field",
    'field "a"',
    'field "a" =',
    'field a = "b"',
    'field "a" = "b',
    "and",
    "not",
    "true and",
    "()",
]
TOO_DEEP = ["(" * 10**4 + "true" + ")" * 10**4, "not " * 10**4 + "true"]


@pytest.mark.parametrize("expr", [*NOTHING, *TOO_DEEP], ids=lambda expr: repr(expr[:12]))
def test_expressions_that_mean_nothing(world, expr):
    assert world.refusal("network.get_all_records_where", expr) == ["INVALID_VALUE", "expr", expr]


@pytest.mark.parametrize(
    "expr", ["(" * 50 + "true" + ")" * 50, "not " * 50 + "true", " and ".join(["(true or not false)"] * 10**4)], ids=["( ", "not", "and"]
)
def test_expressions_may_be_long(world, network, expr):
    assert network in world.decide("network.get_all_where", expr)
