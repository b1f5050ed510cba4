"""network_sriov: every refusal, in XenServer's order, and nothing changes."""

import msgspec
import pytest

from tests.verbs.world import ABSENT, World
from xenet.model.change import Draft
from xenet.model.derived import NetworkSriov
from xenet.model.hidden import HostFacts
from xenet.model.pif import PIF
from xenet.model.types import NULL, Record, Ref


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0", "eth1")


@pytest.fixture
def nic(world, host):
    return world.pif(host, world.external(1))


def able(world: World, host: Ref) -> None:
    nics = world.get(HostFacts, host).nics
    world.report(host, nics=tuple(msgspec.structs.replace(nic, capabilities=("sriov",)) for nic in nics))


def put(world: World, record: Record, **fields: object) -> None:
    draft = Draft(world.state)
    draft.put(record)
    draft.update(record, **fields)
    world.commit(draft.change())


def test_refusals_in_their_order(world, host, nic):
    network, unmanaged = world.network(), world.network(managed=False)
    record = world.get(PIF, nic)
    put(world, record, managed=False)
    assert world.refusal("network_sriov.create", nic, unmanaged) == ["NETWORK_UNMANAGED", unmanaged]
    assert world.refusal("network_sriov.create", nic, network) == ["PIF_UNMANAGED", nic]
    put(world, record, managed=True)
    (vlan,) = world.call("pool.create_VLAN_from_PIF", nic, network, 5)
    assert world.refusal("network_sriov.create", vlan, network) == ["PIF_IS_NOT_PHYSICAL", vlan]
    assert world.refusal("network_sriov.create", nic, network) == ["PIF_IS_NOT_SRIOV_CAPABLE", nic]
    able(world, host)
    assert world.get(PIF, nic).capabilities == ("sriov",)
    assert world.refusal("network_sriov.create", nic, network) == ["NETWORK_ALREADY_CONNECTED", host, vlan]
    world.host("b", "eth7")
    assert world.refusal("network_sriov.create", nic, world.external(7)) == ["NETWORK_INCOMPATIBLE_WITH_SRIOV", world.external(7)]
    code, blamed, text = world.refusal("network_sriov.create", nic, world.network())
    assert (code, blamed, "virtual functions" in text) == ("NETWORK_SRIOV_ENABLE_FAILED", nic, True)
    assert world.call("network_sriov.get_all") == []
    assert world.call("network_sriov.get_all_records") == {}


def test_one_that_somebody_else_made(world, host, nic):
    made = NetworkSriov(uuid="made", physical_PIF=nic, logical_PIF=NULL)
    put(world, made)
    assert world.refusal("network_sriov.create", nic, world.network()) == ["NETWORK_SRIOV_ALREADY_ENABLED", nic]
    assert world.call("network_sriov.get_remaining_capacity", made.ref) == 0
    assert world.refusal("network_sriov.destroy", made.ref)[:2] == ["NETWORK_SRIOV_DISABLE_FAILED", nic]
    upper = world.pif(host, world.external(0))
    put(world, made, logical_PIF=upper)
    world.call("pool.create_VLAN_from_PIF", upper, world.network(), 5)
    assert world.refusal("network_sriov.destroy", made.ref) == ["PIF_VLAN_STILL_EXISTS", upper]


@pytest.mark.parametrize("verb", ["destroy", "get_remaining_capacity"])
def test_one_that_is_not_there(world, verb):
    assert world.refusal(f"network_sriov.{verb}", ABSENT) == ["HANDLE_INVALID", "network_sriov", ABSENT]
