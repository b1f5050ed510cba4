"""Migration: who may go where, what each phase commits, and how it ends when a host fails, dies or takes too long in any of them."""

import msgspec
import pytest

from tests.verbs.world import ABSENT, World
from xenet.model.errors import Failure
from xenet.model.hidden import HostFacts, Operation
from xenet.model.invariants import violations
from xenet.model.pif import PIF
from xenet.model.task import Task
from xenet.model.types import NULL, PREFIX, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.call import Outcome
from xenet.verbs.migrate import receiving_address

OPTIONS = {"live": "true"}


@pytest.fixture
def world():
    return World()


@pytest.fixture
def hosts(world):
    return [world.host(name, "eth0", guests="namespace") for name in ("a", "b")]


@pytest.fixture
def running(world, hosts):
    """A VM on the first host, with a VIF on the network that both are on."""
    return world.running(world.external(0), on=hosts[0])


@pytest.fixture
def vm(running):
    return running[0]


def begin(world: World, vm: Ref, host: Ref, **frame: bool) -> Outcome:
    return world.start("VM.pool_migrate", vm, host, OPTIONS, **frame)


def operation(world: World) -> Operation:
    (only,) = world.state.all(Operation)
    return only


def is_settled(world: World, vm: Ref, host: Ref) -> bool:
    """Nothing is under way, and the VM is on this host as if it had never been on another."""
    record = world.get(VM, vm)
    vifs = world.state.where(VIF, "VM", vm)
    places = (record.running_on, record.resident_on, record.peer, record.handing_over, record.scheduled_to_be_resident_on)
    return (
        violations(world.state) == []
        and world.state.count(Operation) == 0
        and places == (host, host, NULL, False, NULL)
        and record.power_state == "Running"
        and all(vif.plugged and vif.currently_attached and not vif.current_operations for vif in vifs)
    )


def test_the_phases_of_a_migration(world, hosts, running):
    (a, b), (vm, (vif,)) = hosts, running
    domid = world.get(VM, vm).domid
    begin(world, vm, b)
    record = world.get(VM, vm)
    assert (record.running_on, record.domid, record.peer, record.handing_over) == (a, domid, b, True)
    assert record.scheduled_to_be_resident_on == b
    assert record.peer_domid > domid
    assert set(record.current_operations.values()) == {"pool_migrate"}
    assert set(world.get(VIF, vif).current_operations.values()) == {"attach"}

    assert world.report(b) == []
    assert world.get(VM, vm).running_on == a, "the destination alone does not make the switch-over"
    assert world.report(a) == []
    record = world.get(VM, vm)
    assert (record.running_on, record.peer, record.peer_domid, record.handing_over, record.resident_on) == (b, a, domid, False, a)
    assert record.domid > domid

    assert world.report(a) == []
    assert world.get(VM, vm).peer == a, "the source lets go after the destination has the guest"
    assert world.report(b) == []
    record = world.get(VM, vm)
    assert (record.peer, record.resident_on) == (NULL, b)

    assert world.report(b) == []
    (end,) = world.report(a)
    assert end.failure is None
    assert is_settled(world, vm, b)
    assert world.get(VM, vm).born == domid


def test_its_task_says_how_far_it_is(world, hosts, running):
    (a, b), (vm, _) = hosts, running
    begin(world, vm, b)
    seen = []
    for host in (b, a, b, a, b):
        seen.append(round(world.get(Task, operation(world).task).progress, 2))
        world.report(host)
    assert seen == [0.0, 0.0, 0.33, 0.67, 0.67]
    assert is_settled(world, vm, b)


def test_its_own_host_is_no_journey(world, hosts, vm):
    assert world.call("VM.pool_migrate", vm, hosts[0], OPTIONS) == ""
    assert is_settled(world, vm, hosts[0])


def test_to_and_fro_it_stays_the_same_guest(world, hosts, vm):
    born = world.get(VM, vm).domid
    for host in (hosts[1], hosts[0], hosts[1]):
        world.call("VM.pool_migrate", vm, host, OPTIONS)
        assert is_settled(world, vm, host)
        assert world.get(VM, vm).born == born
    world.call("VM.hard_reboot", vm)
    assert world.get(VM, vm).born == -1
    assert is_settled(world, vm, hosts[1])


def test_the_destinations_pif_is_brought_up(world, hosts, vm):
    pif = world.pif(hosts[1], world.external(0))
    world.call("PIF.unplug", pif)
    begin(world, vm, hosts[1])
    assert world.get(PIF, pif).plugged
    assert world.refusal("PIF.unplug", pif)[0] == "VIF_IN_USE"


# --- refusals ------------------------------------------------------------------------------------------


def test_a_destination_that_passes_less_than_the_vm_sends(world, hosts):
    """Its larger frames would be lost there without a word."""
    network = world.external(0)
    world.call("network.set_MTU", network, 9000)
    world.call("PIF.plug", world.pif(hosts[0], network))
    vm, (vif,) = world.running(network, on=hosts[0])
    assert world.get(VIF, vif).MTU == 9000
    code, text = world.refusal("VM.pool_migrate", vm, hosts[1], OPTIONS)
    assert (code, "is more than the 1500 that eth0 passes on b" in text) == ("OPERATION_NOT_ALLOWED", True)
    world.call("PIF.plug", world.pif(hosts[1], network))
    begin(world, vm, hosts[1])


def test_a_vm_that_does_not_run(world, hosts, vm):
    world.call("VM.hard_shutdown", vm)
    assert world.refusal("VM.pool_migrate", vm, hosts[1], OPTIONS) == ["VM_BAD_POWER_STATE", vm, "running", "halted"]


def test_a_host_that_does_not_see_the_network(world, hosts):
    world.host("c", "eth0", "eth1")
    third = world.external(1)
    vm, _ = world.running(third, on=Ref(f"{PREFIX}host-c"))
    assert world.refusal("VM.pool_migrate", vm, hosts[0], OPTIONS) == ["VM_REQUIRES_NETWORK", vm, third]


def test_internal_networks_tie_vms_together(world, hosts):
    network = world.network()
    vm, _ = world.running(network, on=hosts[0])
    world.running(network, on=hosts[0])
    assert world.refusal("VM.pool_migrate", vm, hosts[1], OPTIONS) == ["VM_REQUIRES_NETWORK", vm, network]


def test_a_bonds_slave_carries_no_vif(world, hosts, vm):
    pif = world.pif(hosts[1], world.external(0))
    world.state = world.state.with_record("PIF", pif, replaced(world.get(PIF, pif), bond_slave_of=Ref(f"{PREFIX}bond")))
    assert world.refusal("VM.pool_migrate", vm, hosts[1], OPTIONS) == ["HOST_CANNOT_ATTACH_NETWORK", hosts[1], world.external(0)]


def replaced(record, **fields):
    return msgspec.structs.replace(record, **fields)


@pytest.mark.parametrize("which", [0, 1])
def test_both_hosts_must_be_there(world, hosts, vm, which):
    world.leave(hosts[which])
    assert world.refusal("VM.pool_migrate", vm, hosts[1], OPTIONS) == ["HOST_OFFLINE", hosts[which]]


def test_a_disabled_host(world, hosts, vm):
    world.call("host.disable", hosts[1])
    assert world.refusal("VM.pool_migrate", vm, hosts[1], OPTIONS) == ["HOST_DISABLED", hosts[1]]


def test_a_vm_on_its_way(world, hosts, vm):
    begin(world, vm, hosts[1])
    assert world.refusal("VM.pool_migrate", vm, hosts[1], OPTIONS)[0] == "OTHER_OPERATION_IN_PROGRESS"
    assert world.refusal("VM.hard_shutdown", vm)[0] == "OTHER_OPERATION_IN_PROGRESS"


def test_taps_are_not_ours_to_move(world, hosts):
    vm = world.vm(other_config={"xenet-guest": "tap"})
    world.call("VM.start_on", vm, hosts[0], False, False)
    assert "pool_migrate" not in world.get(VM, vm).allowed_operations
    assert world.refusal("VM.pool_migrate", vm, hosts[1], OPTIONS)[0] == "OPERATION_NOT_ALLOWED"


def test_a_namespace_does_not_leave_its_machine(world, hosts, vm):
    facts = world.get(HostFacts, hosts[1])
    world.state = world.state.with_record("host_facts", facts.ref, replaced(facts, place="another /srv/guests"))
    assert world.refusal("VM.pool_migrate", vm, hosts[1], OPTIONS)[0] == "OPERATION_NOT_ALLOWED"


# --- failures ------------------------------------------------------------------------------------------


def phases(world: World, hosts: list[Ref], number: int) -> None:
    """All reports up to this phase."""
    for reports in ((hosts[0], hosts[1]), (hosts[1],))[:number]:
        for host in reports:
            world.report(host)


@pytest.mark.parametrize("which", [0, 1])
def test_a_failure_while_getting_ready_changes_nothing(world, hosts, running, which):
    vm, (vif,) = running
    begin(world, vm, hosts[1])
    (end,) = world.report(hosts[which], {vif: "no room"})
    assert end.failure.description == ["INTERNAL_ERROR", "no room"]
    assert is_settled(world, vm, hosts[0])


def test_a_failed_switch_over_goes_back_by_the_source(world, hosts, running):
    (a, b), (vm, (vif,)) = hosts, running
    domid = world.get(VM, vm).domid
    begin(world, vm, b)
    phases(world, hosts, 1)
    assert world.report(b, {vif: "the guest is gone"}) == []
    record = world.get(VM, vm)
    assert (record.running_on, record.domid, record.peer) == (a, domid, b), "the source takes the guest back while the destination still holds it"
    assert world.report(b) == []
    assert world.get(VM, vm).peer == b
    assert world.report(a) == []
    assert world.get(VM, vm).peer == NULL
    (end,) = world.report(b)
    assert end.failure.description == ["INTERNAL_ERROR", "the guest is gone"]
    assert is_settled(world, vm, a)
    assert world.get(VM, vm).domid == domid


@pytest.mark.parametrize("phase", [0, 1, 2])
@pytest.mark.parametrize("victim", ["source", "destination", "both"])
def test_hosts_that_die(world, hosts, vm, victim, phase):
    a, b = hosts
    begin(world, vm, b)
    phases(world, hosts, phase)
    dead = {"source": [a], "destination": [b], "both": [a, b]}[victim]
    for host in dead:
        world.leave(host)
    living = [host for host in hosts if host not in dead]
    for _ in range(4):
        for host in living:
            world.report(host)
    assert violations(world.state) == []
    if world.state.count(Operation):  # who is waited for has its time
        assert (victim, phase) == ("both", 1)
        world.give_up(operation(world).ref, Failure("CANNOT_CONTACT_HOST", a))
    gone = phase == 2 or (phase == 1 and victim == "source")
    assert is_settled(world, vm, b if gone else a)


def test_a_source_that_dies_on_the_way_back_is_waited_for(world, hosts, running):
    (a, b), (vm, (vif,)) = hosts, running
    begin(world, vm, b)
    phases(world, hosts, 1)
    world.report(b, {vif: "no"})
    world.leave(a)
    assert world.get(VM, vm).peer == b, "the destination let go of a guest that nobody else has"
    world.host("a", "eth0", guests="namespace")
    world.report(b)
    assert is_settled(world, vm, a)


@pytest.mark.parametrize(("phase", "there"), [(0, False), (1, False), (2, True)])
def test_a_migration_that_takes_too_long(world, hosts, vm, phase, there):
    begin(world, vm, hosts[1])
    phases(world, hosts, phase)
    for _ in range(3):
        if world.state.count(Operation):
            world.give_up(operation(world).ref, Failure("CANNOT_CONTACT_HOST", hosts[1]))
    assert is_settled(world, vm, hosts[there])


# --- tasks ---------------------------------------------------------------------------------------------


def test_it_can_be_cancelled_before_the_switch_over(world, hosts, vm):
    begin(world, vm, hosts[1], asynchronous=True)
    task = operation(world).task
    assert "cancel" in world.get(Task, task).allowed_operations
    outcome = world.start("task.cancel", task)
    assert [end.failure.code for end in outcome.ended] == ["TASK_CANCELLED"]
    assert world.get(Task, task).status == "cancelled"
    assert world.get(Task, task).error_info == ("TASK_CANCELLED", task)
    assert is_settled(world, vm, hosts[0])


def test_it_cannot_be_cancelled_afterwards(world, hosts, vm):
    begin(world, vm, hosts[1], asynchronous=True)
    task = operation(world).task
    phases(world, hosts, 1)
    assert world.refusal("task.cancel", task)[0] == "OPERATION_NOT_ALLOWED"
    world.settle(operation(world).ref)
    assert world.get(Task, task).status == "success"


# --- as clients of XenServer do it -----------------------------------------------------------------------


def send(world: World, vm: Ref, host: Ref, vif_map: dict[Ref, Ref] | None = None) -> tuple[object, ...]:
    return (vm, {"host": host}, True, {}, vif_map or {}, {}, {})


def test_migrate_send_within_the_pool(world, hosts, running):
    vm, (vif,) = running
    assert world.call("VM.assert_can_migrate", *send(world, vm, hosts[1])) is None
    said = ["OPERATION_NOT_ALLOWED", "VIF mapping is not allowed for intra-pool migration -all VIFs must be on the same network"]
    assert world.refusal("VM.assert_can_migrate", *send(world, vm, hosts[1], {vif: world.external(0)})) == said
    assert world.call("VM.migrate_send", *send(world, vm, hosts[1])) == vm
    assert is_settled(world, vm, hosts[1])
    assert world.call("VM.migrate_send", *send(world, vm, hosts[1])) == vm


def test_migrate_send_to_another_pool(world, hosts, running):
    vm, (vif,) = running
    assert world.refusal("VM.migrate_send", *send(world, vm, ABSENT)) == ["VIF_NOT_IN_MAP", vif]
    assert world.refusal("VM.migrate_send", *send(world, vm, ABSENT, {vif: ABSENT}))[0] == "OPERATION_NOT_ALLOWED"


def test_an_evacuated_host(world, hosts):
    """Its VMs are spread over the others, by how many each has."""
    world.host("c", "eth0")
    vms = [world.running(world.external(0), on=hosts[0])[0] for _ in range(4)]
    halted = world.vm()
    assert world.call("host.assert_can_evacuate", hosts[0]) is None
    world.call("host.evacuate", hosts[0])
    homes = [world.get(VM, vm).resident_on for vm in vms]
    assert sorted(homes) == sorted([hosts[1], Ref(f"{PREFIX}host-c")] * 2)
    assert all(is_settled(world, vm, home) for vm, home in zip(vms, homes, strict=True))
    assert world.get(VM, halted).resident_on == NULL
    assert world.call("host.evacuate", hosts[0]) == ""


def test_a_host_with_a_vm_that_cannot_leave(world, hosts, running):
    network = world.network()
    tied, _ = world.running(network, on=hosts[0])
    refusal = ["CANNOT_EVACUATE_HOST", f"VM_REQUIRES_NETWORK,{tied},{network}"]
    assert world.refusal("host.assert_can_evacuate", hosts[0]) == refusal
    assert world.refusal("host.evacuate", hosts[0]) == refusal


def test_an_evacuation_that_fails_leaves_all_where_they_were(world, hosts):
    (a, b) = hosts
    pairs = [world.running(world.external(0), on=a) for _ in range(2)]
    world.start("host.evacuate", a)
    phases(world, hosts, 1)
    world.report(b, {pairs[1][1][0]: "no"})
    for host in (a, b):
        world.report(host)
    assert all(is_settled(world, vm, a) for vm, _ in pairs)


def test_where_a_host_takes_vms(world, hosts):
    network = world.external(0)
    pif = world.pif(hosts[0], network)
    assert failure_of(world, hosts[0], world.network()) == ["HOST_CANNOT_ATTACH_NETWORK", hosts[0]]
    assert failure_of(world, hosts[0], network) == ["PIF_HAS_NO_NETWORK_CONFIGURATION", pif]
    world.call("PIF.reconfigure_ip", pif, "DHCP", "", "", "", "")
    assert failure_of(world, hosts[0], network) == ["INTERFACE_HAS_NO_IP", pif]
    world.call("PIF.reconfigure_ip", pif, "Static", "192.0.2.1", "255.255.255.0", "", "")
    assert receiving_address(world.state, hosts[0], network) == "192.0.2.1"


def failure_of(world: World, host: Ref, network: Ref) -> list[str]:
    with pytest.raises(Failure) as caught:
        receiving_address(world.state, host, network)
    return caught.value.description[:2]
