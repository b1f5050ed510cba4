"""What other_config says of an Open vSwitch bridge."""

import pytest
from msgspec import structs

from tests.verbs.world import World
from xenet.model.change import Draft
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.pool import Pool
from xenet.model.types import Ref
from xenet.plan.compile import compile_switch
from xenet.plan.diff import diff_host
from xenet.plan.view import HostView, SwitchView
from xenet.plan.vswitch_commands import vswitch_command
from xenet.verbs.snooping import status_of

A = Ref("OpaqueRef:host-a")
KEY, IN_BAND = "vswitch-controller-fail-mode", "vswitch-disable-in-band"


@pytest.fixture
def world() -> World:
    made = World()
    made.host("a", "eth0")
    return made


def switch(world: World, backend: str, **said: dict[str, str]) -> SwitchView:
    draft = Draft(world.state)
    draft.update(world.get(Host, A), software_version={"network_backend": backend})
    network = world.get(Network, world.external(0))
    records = {"pool": next(world.state.all(Pool)), "network": network, "pif": world.get(PIF, world.pif(A, network.ref))}
    for name, config in said.items():
        draft.update(records[name], other_config=config)
    view = compile_switch(draft.state, A, network.bridge)
    assert view is not None
    return view


def test_the_last_of_pool_network_and_pif_counts(world: World) -> None:
    secure, standalone = {KEY: "secure"}, {KEY: "standalone"}
    assert switch(world, "openvswitch").fail_mode == ""
    assert switch(world, "openvswitch", pool=secure).fail_mode == "secure"
    assert switch(world, "openvswitch", pool=secure, network=standalone).fail_mode == ""
    assert switch(world, "openvswitch", network=standalone, pif=secure).fail_mode == "secure"
    assert switch(world, "openvswitch", pif={IN_BAND: "true"}).disable_in_band == "true"
    assert switch(world, "openvswitch", pif={IN_BAND: "maybe"}).disable_in_band == ""


def test_a_bridge_has_no_such_thing(world: World) -> None:
    plain = switch(world, "bridge", pool={KEY: "secure"}, pif={IN_BAND: "true"})
    assert (plain.fail_mode, plain.disable_in_band) == ("", "")


def test_the_pool_snoops_where_there_is_open_vswitch_and_a_pif(world: World) -> None:
    draft = Draft(world.state)
    draft.update(next(world.state.all(Pool)), igmp_snooping_enabled=True)
    world.state = draft.state
    assert switch(world, "openvswitch").snooping
    assert not switch(world, "bridge").snooping


def test_a_change_is_a_step(world: World) -> None:
    have = switch(world, "openvswitch")
    for field, value in (("fail_mode", "secure"), ("disable_in_band", "false"), ("snooping", True)):
        want = structs.replace(have, **{field: value})
        (step,) = diff_host(HostView({want.bridge: want}), HostView({have.bridge: have}))
        assert type(step).__name__ == "SetSwitch"
        said = vswitch_command(step, userspace=True)
        assert ("mcast_snooping_enable=true other_config:" in said) == (step.reason == "IGMP snooping") == (field == "snooping")
        assert ("fail_mode=secure" in said) == (field == "fail_mode")
        assert ("other_config:disable-in-band=false" in said) == (field == "disable_in_band")


def test_a_tunnelled_network_does_not_snoop(world: World) -> None:
    """What was asked for would go from one tunnel's port to another, and round the mesh."""
    transport = world.pif(A, world.external(0))
    world.call("PIF.reconfigure_ip", transport, "Static", "192.0.2.1", "255.255.255.0", "", "")
    network = world.network()
    world.call("tunnel.create", transport, network, "vxlan")
    draft = Draft(world.state)
    draft.update(next(world.state.all(Pool)), igmp_snooping_enabled=True)
    draft.update(world.get(Host, A), software_version={"network_backend": "openvswitch"})
    assert [compile_switch(draft.state, A, bridge).snooping for bridge in ("xenbr0", world.get(Network, network).bridge)] == [True, False]
    below, above = world.get(PIF, transport), world.get(PIF, world.pif(A, network))
    assert [status_of(draft.state, pif, up=True) for pif in (below, above)] == ["enabled", "disabled"]
