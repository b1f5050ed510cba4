"""VIF.trunks: which tags, on which networks and hosts, and that a refusal changes nothing."""

from typing import Any

import pytest

from tests.verbs.world import World
from xenet.model.change import Draft
from xenet.model.derived import VLAN
from xenet.model.errors import Failure
from xenet.model.hidden import Operation
from xenet.model.host import Host
from xenet.model.invariants import violations
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.plan.compile import affected_bridges, compile_switch
from xenet.plan.diff import diff_host
from xenet.plan.view import HostView, LockView, PortView
from xenet.plan.vswitch_commands import vswitch_command

A, B = Ref("OpaqueRef:host-a"), Ref("OpaqueRef:host-b")
SET, ADD, REMOVE = "VIF.set_trunks", "VIF.add_trunks", "VIF.remove_trunks"


@pytest.fixture
def world() -> World:
    made = World()
    for name in ("a", "b"):
        made.host(name, "eth0", guests="namespace", boot="b")
    backend(made, "openvswitch", A, B)
    return made


def backend(world: World, name: str, *hosts: Ref) -> None:
    draft = Draft(world.state)
    for host in hosts:
        draft.update(world.get(Host, host), software_version={"network_backend": name})
    world.state = draft.state


def running(world: World, **record: Any) -> tuple[Ref, Ref]:
    vm = world.vm()
    vif = world.vif(vm, world.external(0), **record)
    world.call("VM.start_on", vm, A, False, False)
    return vm, vif


def tags(world: World, vif: Ref) -> tuple[int, ...]:
    return world.get(VIF, vif).trunks


def port(world: World, vif: Ref, host: Ref = A) -> PortView | None:
    switch = compile_switch(world.state, host, world.get(Network, world.get(VIF, vif).network).bridge)
    return next((view for view in switch.ports.values() if view.vif == world.get(VIF, vif).uuid), None) if switch else None


def vlan(world: World, tag: int = 42) -> Ref:
    """The network of a VLAN on both hosts."""
    network = world.network()
    world.call("pool.create_VLAN_from_PIF", world.pif(A, world.external(0)), network, tag)
    return network


def refused(world: World, message: str, *args: object) -> list[str]:
    """A refusal, which changes nothing."""
    before = world.state
    said = world.refusal(message, *args)
    assert world.state is before
    return said


# --- what it may say -------------------------------------------------------------------------------


def test_a_set_is_set_added_to_and_taken_from(world: World) -> None:
    vif = world.vif(world.vm(), world.external(0), trunks=[20, 10, 20])
    assert tags(world, vif) == (20, 10)
    world.call(ADD, vif, 4094)
    world.call(ADD, vif, 10)
    assert tags(world, vif) == (20, 10, 4094)
    world.call(REMOVE, vif, 10)
    world.call(REMOVE, vif, 11)
    assert tags(world, vif) == (20, 4094)
    world.call(SET, vif, (0, 7, 7))
    assert tags(world, vif) == (0, 7)
    world.call(SET, vif, ())
    assert tags(world, vif) == ()


@pytest.mark.parametrize("tag", [-1, 4095, 1 << 40])
def test_no_other_number_is_a_tag(world: World, tag: int) -> None:
    network = vlan(world)
    for on in (world.external(0), network):
        vm = world.vm()
        vif = world.vif(vm, on)
        for message, value in ((SET, (10, tag)), (ADD, tag), (REMOVE, tag)):
            assert refused(world, message, vif, value) == ["VLAN_TAG_INVALID", str(tag)]
        assert refused(world, "VIF.create", {**record(world, vm, on), "trunks": [10, tag]}) == ["VLAN_TAG_INVALID", str(tag)]


def record(world: World, vm: Ref, network: Ref, device: str = "1") -> dict[str, object]:
    base = {"device": device, "network": network, "VM": vm, "MAC": "", "MTU": 1500, "other_config": {}}
    return {**base, "qos_algorithm_type": "", "qos_algorithm_params": {}}


def test_a_network_of_a_vlan_has_none(world: World) -> None:
    network = vlan(world)
    vm = world.vm()
    vif = world.vif(vm, network)
    wrong = ["NETWORK_INCOMPATIBLE_WITH_TRUNKS", network]
    for message, value in ((SET, (42,)), (ADD, 42), (REMOVE, 42)):
        assert refused(world, message, vif, value) == wrong
    world.call(SET, vif, ())
    assert refused(world, "VIF.create", {**record(world, vm, network), "trunks": [42]}) == wrong
    assert refused(world, "VIF.create", {**record(world, vm, network), "trunks": [42], "MAC": "x"}) == ["MAC_INVALID", "x"], "asked before"
    assert refused(world, "VIF.create", {**record(world, vm, network, "0"), "trunks": [42]}) == wrong, "before DEVICE_ALREADY_EXISTS"


def test_no_vif_with_trunks_moves_onto_a_vlan_s_network(world: World) -> None:
    network = vlan(world)
    _, attached = running(world, trunks=[42])
    idle = world.vif(world.vm(), world.external(0), trunks=[42])
    for vif in (attached, idle):
        assert refused(world, "VIF.move", vif, network) == ["NETWORK_INCOMPATIBLE_WITH_TRUNKS", network]
        world.call(SET, vif, ())
        world.call("VIF.move", vif, network)
        assert world.get(VIF, vif).network == network
    other = world.network()
    _, third = running(world, trunks=[42])
    world.call("VIF.move", third, other)
    view = port(world, third)
    assert view is not None and view.trunks == (0, 42), "on an internal network it is a trunk as well"


def test_no_vlan_comes_to_a_network_with_trunks(world: World) -> None:
    network = world.network()
    vif = world.vif(world.vm(), network, trunks=[5])
    lower = world.pif(A, world.external(0))
    assert refused(world, "VLAN.create", lower, 8, network) == ["NETWORK_INCOMPATIBLE_WITH_TRUNKS", network]
    world.call(REMOVE, vif, 5)
    assert world.get(VLAN, world.call("VLAN.create", lower, 8, network)).tag == 8


# --- on which hosts --------------------------------------------------------------------------------


def test_where_all_hosts_have_bridges_there_are_none(world: World) -> None:
    backend(world, "bridge", A, B)
    vm = world.vm()
    vif = world.vif(vm, world.external(0))
    for message, value in ((SET, (10,)), (ADD, 10)):
        assert refused(world, message, vif, value) == ["OPENVSWITCH_NOT_ACTIVE"]
    assert refused(world, "VIF.create", {**record(world, vm, world.external(0)), "trunks": [10]}) == ["OPENVSWITCH_NOT_ACTIVE"]
    backend(world, "openvswitch", B)
    world.call(SET, vif, (10,))
    backend(world, "bridge", B)
    world.call(REMOVE, vif, 10)
    assert tags(world, vif) == ()


def test_a_host_with_bridges_gets_no_vif_with_trunks(world: World) -> None:
    backend(world, "bridge", A)
    vm = world.vm()
    vif = world.vif(vm, world.external(0), trunks=[10])
    assert refused(world, "VM.start_on", vm, A, False, False) == ["OPENVSWITCH_NOT_ACTIVE"]
    assert refused(world, "VM.assert_can_boot_here", vm, A) == ["OPENVSWITCH_NOT_ACTIVE"]
    assert world.call("VM.get_possible_hosts", vm) == [B]
    world.call("VM.start", vm, False, False)
    assert world.get(VM, vm).resident_on == B
    assert refused(world, "VM.pool_migrate", vm, A, {}) == ["OPENVSWITCH_NOT_ACTIVE"]
    world.call(SET, vif, ())
    world.call("VM.pool_migrate", vm, A, {})
    for message, value in ((SET, (10,)), (ADD, 10)):
        assert refused(world, message, vif, value) == ["OPENVSWITCH_NOT_ACTIVE"]
    world.call("VIF.unplug", vif)
    world.call(SET, vif, (10,))
    assert refused(world, "VIF.plug", vif) == ["OPENVSWITCH_NOT_ACTIVE"]
    assert refused(world, "VM.clean_reboot", vm) == ["OPENVSWITCH_NOT_ACTIVE"], "which would plug it"


def test_no_host_gets_bridges_under_a_vif_with_trunks(world: World) -> None:
    _, vif = running(world, trunks=[10, 20])
    code, text = refused(world, "host.set_network_backend", A, "bridge")
    assert (code, world.get(VIF, vif).uuid in text, "10, 20" in text, "param-name=trunks" in text) == ("OPERATION_NOT_ALLOWED", True, True, True)
    world.call("host.set_network_backend", B, "bridge")
    world.call("VIF.unplug", vif)
    world.call("host.set_network_backend", A, "bridge")
    assert world.get(Host, A).software_version["network_backend"] == "bridge"


# --- what is running -------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [SET, ADD])
def test_a_plugged_one_is_done_when_its_host_has_done_it_and_undone_when_it_could_not(world: World, message: str) -> None:
    _, vif = running(world)
    value = (10,) if message == SET else 10
    world.start(message, vif, value)
    assert world.refusal(SET, vif, (20,))[0] == "OTHER_OPERATION_IN_PROGRESS"
    view = port(world, vif)
    assert view is not None and view.trunks == (0, 10)
    (ended,) = world.report(A, {vif: "ovs-vswitchd does not answer"})
    assert isinstance(ended.failure, Failure)
    assert tags(world, vif) == () and not list(world.state.all(Operation))
    world.call(message, vif, value)
    assert tags(world, vif) == (10,)
    same = world.decide(message, vif, value)
    assert same.operation is None, "there is nothing to do"


def test_a_host_that_is_silent_is_not_waited_for(world: World) -> None:
    _, vif = running(world)
    world.leave(A)
    assert refused(world, SET, vif, (10,)) == ["HOST_OFFLINE", A]


def test_a_host_s_port_has_the_network_s_frames_and_the_vlans(world: World) -> None:
    vm, vif = running(world, trunks=[20, 10], locking_mode="locked", ipv4_allowed=["10.0.0.1"])
    view = port(world, vif)
    assert view is not None
    assert (view.trunks, view.lock) == ((0, 10, 20), LockView(("10.0.0.1",), tags=(10, 20)))
    world.call(SET, vif, (0,))
    view = port(world, vif)
    assert view is not None and (view.trunks, view.lock) == ((0,), LockView(("10.0.0.1",)))
    world.call(SET, vif, (30,))
    world.call("VM.pool_migrate", vm, B, {})
    assert port(world, vif) is None
    view = port(world, vif, B)
    assert view is not None and view.trunks == (0, 30), "it has them wherever it is"
    backend(world, "bridge", B)
    view = port(world, vif, B)
    assert view is not None and (view.trunks, view.lock) == ((), LockView(("10.0.0.1",))), "a bridge knows of none"


def test_a_change_is_one_step_of_one_port(world: World) -> None:
    _, vif = running(world)
    bridge = "xenbr0"
    before, have = world.state, compile_switch(world.state, A, bridge)
    outcome = world.start(SET, vif, (10,))
    assert {name for edit in outcome.change.edits for name in affected_bridges(before, world.state, edit)} == {bridge}
    want = compile_switch(world.state, A, bridge)
    assert have and want
    (step,) = diff_host(HostView({bridge: want}), HostView({bridge: have}))
    assert step.reason == "the VLANs that its VIF has"
    assert "trunks=0,10" in vswitch_command(step, userspace=True)
    assert "trunks=" not in step.text, "a bridge's command"


def test_a_bond_takes_them_along_and_back(world: World) -> None:
    world.host("c", "eth0", "eth1")
    host = Ref("OpaqueRef:host-c")
    backend(world, "openvswitch", host)
    vm = world.vm()
    vif = world.vif(vm, world.external(1), trunks=[10])
    world.call("VM.start_on", vm, host, False, False)
    network = world.network()
    members = [world.pif(host, world.external(number)) for number in (0, 1)]
    bond = world.call("Bond.create", network, tuple(members), "", "active-backup", {})
    assert world.get(VIF, vif).network == network
    view = port(world, vif, host)
    assert view is not None and view.trunks == (0, 10)
    world.call("Bond.destroy", bond)
    view = port(world, vif, host)
    assert view is not None and view.trunks == (0, 10)
    assert world.get(PIF, members[0]).currently_attached


def test_invariants_know_of_it(world: World) -> None:
    network = vlan(world)
    vif = world.vif(world.vm(), network)
    draft = Draft(world.state)
    draft.update(world.get(VIF, vif), trunks=(5,))
    assert [text for text in violations(draft.state) if "trunks" in text] == [f"VIF {world.get(VIF, vif).uuid}: has trunks, on the network of a VLAN"]
