"""VM: create to destroy, where it may start, what halting and rebooting change, and every refusal."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.verbs.world import ABSENT, VM_RECORD, World
from xenet.model.change import Draft
from xenet.model.types import NULL, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM, VMGuestMetrics, VMMetrics


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0", "eth1")


@pytest.fixture
def other(world, host):
    return world.host("other", "eth0")


def vm(world: World, ref: Ref) -> VM:
    return world.get(VM, ref)


START: dict[str, Callable[[Ref], tuple[Any, ...]]] = {"start": lambda host: (False, False), "start_on": lambda host: (host, False, False)}
STOP = ("clean_shutdown", "hard_shutdown", "shutdown")
REBOOT = ("clean_reboot", "hard_reboot")

# --- create and destroy --------------------------------------------------------------------------------------------------


def test_a_new_vm_is_halted_and_has_a_seed_for_macs(world, host):
    made = vm(world, world.vm())
    assert (made.power_state, made.domid, made.resident_on) == ("Halted", -1, NULL)
    assert len(made.other_config["mac_seed"]) == 36
    assert world.get(VMMetrics, made.metrics).install_time == world.now
    assert world.get(VMGuestMetrics, made.guest_metrics).networks == {}
    assert made.allowed_operations == ("start", "start_on", "destroy", "migrate_send")


def test_a_seed_that_was_given_is_kept(world, host):
    assert vm(world, world.vm(other_config={"mac_seed": "mine", "k": "v"})).other_config == {"mac_seed": "mine", "k": "v"}


def test_two_vms_have_two_seeds(world, host):
    assert vm(world, world.vm()).other_config != vm(world, world.vm()).other_config


@pytest.mark.parametrize("field", sorted(set(VM_RECORD) - {"name_label"}))
def test_a_field_without_default_must_be_given(world, host, field):
    record = {k: v for k, v in VM_RECORD.items() if k != field}
    assert world.refusal("VM.create", record) == ["INTERNAL_ERROR", f'Db_exn.FieldNotFound("{field}")']


def test_destroy_takes_vifs_and_metrics_along(world, host):
    ref = world.vm()
    vif, made = world.vif(ref, world.network()), vm(world, ref)
    world.call("VM.destroy", ref)
    assert [world.state.find(cls, r) for cls, r in ((VM, ref), (VIF, vif), (VMMetrics, made.metrics))] == [None] * 3
    assert world.state.find(VMGuestMetrics, made.guest_metrics) is None


def test_a_running_vm_is_not_destroyed(world, host):
    ref, _ = world.running(on=host)
    assert world.refusal("VM.destroy", ref) == ["VM_BAD_POWER_STATE", ref, "halted", "running"]


# --- starting ------------------------------------------------------------------------------------------------------------


def test_a_start_becomes_true_with_the_hosts_report(world, host):
    ref = world.vm()
    vif = world.vif(ref, world.network())
    world.start("VM.start", ref, False, False)
    assert vm(world, ref).power_state == "Halted"
    assert vm(world, ref).scheduled_to_be_resident_on == host
    assert list(vm(world, ref).current_operations.values()) == ["start"]
    assert vm(world, ref).allowed_operations == ()
    assert list(world.get(VIF, vif).current_operations.values()) == ["attach"]
    world.later(3)
    world.report(host)
    made = vm(world, ref)
    assert (made.power_state, made.resident_on, made.scheduled_to_be_resident_on, made.domid) == ("Running", host, NULL, 1)
    assert world.get(VIF, vif).currently_attached
    assert made.allowed_operations == ("clean_shutdown", "clean_reboot", "hard_shutdown", "hard_reboot", "shutdown")


def test_a_start_that_fails_leaves_nothing_but_a_used_number(world, host):
    ref = world.vm()
    vif = world.vif(ref, world.network())
    before = vm(world, ref), world.get(VIF, vif)
    world.start("VM.start", ref, False, False)
    world.report(host, {vif: "no"})
    assert (vm(world, ref), world.get(VIF, vif)) == before
    world.call("VM.start", ref, False, False)
    assert vm(world, ref).domid == 2


def test_start_goes_where_the_affinity_is_else_where_the_fewest_run(world, host, other):
    wish = world.vm(affinity=other)
    world.call("VM.start", wish, False, False)
    assert vm(world, wish).resident_on == other
    world.running(on=host)
    world.running(on=host)
    free = world.vm()
    world.call("VM.start", free, False, False)
    assert vm(world, free).resident_on == other


def test_start_goes_only_where_all_networks_are(world, host, other):
    ref = world.vm(affinity=other)
    world.vif(ref, world.external(0), "0")
    world.vif(ref, world.external(1), "1")
    assert world.decide("VM.get_possible_hosts", ref) == [host]
    world.call("VM.start", ref, False, False)
    assert vm(world, ref).resident_on == host


def test_start_where_no_host_is(world, host, other):
    ref = world.vm()
    world.vif(ref, world.external(1))
    world.call("host.disable", host, True)
    assert world.refusal("VM.start", ref, False, False) == ["NO_HOSTS_AVAILABLE"]
    assert world.decide("VM.get_possible_hosts", ref) == []
    world.call("host.enable", host)
    world.leave(host)
    assert world.refusal("VM.start", ref, False, False) == ["NO_HOSTS_AVAILABLE"]


def test_start_on_says_why_not(world, host, other):
    ref, network = world.vm(), world.external(1)
    world.vif(ref, network)
    assert world.refusal("VM.start_on", ref, other, False, False) == ["VM_REQUIRES_NETWORK", ref, network]
    world.call("host.disable", other, True)
    assert world.refusal("VM.start_on", ref, other, False, False) == ["HOST_DISABLED", other]
    world.leave(other)
    assert world.refusal("VM.start_on", ref, other, False, False) == ["HOST_OFFLINE", other]
    assert world.refusal("VM.start_on", ref, ABSENT, False, False) == ["HANDLE_INVALID", "host", ABSENT]


def test_assert_can_boot_here_says_why_not(world, host, other):
    ref, network = world.vm(), world.external(1)
    world.vif(ref, network)
    assert world.decide("VM.assert_can_boot_here", ref, host) is None
    assert world.refusal("VM.assert_can_boot_here", ref, other) == ["VM_REQUIRES_NETWORK", ref, network]
    world.call("host.disable", other, True)
    assert world.refusal("VM.assert_can_boot_here", ref, other) == ["HOST_DISABLED", other]
    world.leave(other)
    assert world.refusal("VM.assert_can_boot_here", ref, other) == ["HOST_NOT_LIVE"]


def test_vms_of_one_internal_network_run_on_one_host(world, host, other):
    network = world.network()
    first, second = world.vm(), world.vm()
    for ref in (first, second):
        world.vif(ref, network)
    world.start("VM.start_on", first, other, False, False)  # under way already counts
    assert world.refusal("VM.start_on", second, host, False, False) == ["VM_REQUIRES_NETWORK", second, network]
    world.call("VM.start", second, False, False)
    assert vm(world, second).resident_on == other


@pytest.mark.parametrize("verb", START)
def test_a_template_does_not_start(world, host, verb):
    ref = world.vm(is_a_template=True)
    assert world.refusal(f"VM.{verb}", ref, *START[verb](host)) == ["VM_IS_TEMPLATE", ref]
    assert vm(world, ref).allowed_operations == ("destroy",)


@pytest.mark.parametrize("verb", START)
def test_a_running_vm_does_not_start(world, host, verb):
    ref, _ = world.running(on=host)
    assert world.refusal(f"VM.{verb}", ref, *START[verb](host)) == ["VM_BAD_POWER_STATE", ref, "halted", "running"]


@pytest.mark.parametrize("verb", START)
def test_a_vm_does_not_start_paused(world, host, verb):
    ref = world.vm()
    args = (True, False) if verb == "start" else (host, True, False)
    assert world.refusal(f"VM.{verb}", ref, *args)[0] == "OPERATION_NOT_ALLOWED"


def test_a_blocked_operation(world, host):
    ref = world.vm(blocked_operations={"start": "because"})
    assert world.refusal("VM.start", ref, False, False) == ["OPERATION_BLOCKED", ref, "because"]
    assert "start" not in vm(world, ref).allowed_operations
    world.call("VM.remove_from_blocked_operations", ref, "start")
    assert "start" in vm(world, ref).allowed_operations
    world.call("VM.start", ref, False, False)


# --- halting and rebooting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", (*STOP, *REBOOT))
def test_a_halted_vm(world, host, verb):
    ref = world.vm()
    assert world.refusal(f"VM.{verb}", ref) == ["VM_BAD_POWER_STATE", ref, "running", "halted"]


@pytest.mark.parametrize("verb", (*STOP, *REBOOT))
def test_no_second_operation_on_a_vm(world, host, verb):
    ref, _ = world.running(on=host)
    world.start("VM.clean_reboot", ref)
    (task,) = vm(world, ref).current_operations
    assert world.refusal(f"VM.{verb}", ref) == ["OTHER_OPERATION_IN_PROGRESS", "VM", ref, "{clean_reboot}", f"{{{task}}}"]


@pytest.mark.parametrize("verb", (*STOP, *REBOOT))
def test_nor_while_one_of_its_vifs_is_busy(world, host, verb):
    ref, (vif,) = world.running(world.network(), on=host)
    world.start("VIF.unplug", vif)
    code, *params = world.refusal(f"VM.{verb}", ref)
    assert (code, params[:3]) == ("OTHER_OPERATION_IN_PROGRESS", ["VIF", vif, "{unplug}"])


@pytest.mark.parametrize("verb", (*STOP, *REBOOT))
def test_a_host_that_is_away(world, host, verb):
    ref, _ = world.running(on=host)
    world.leave(host)
    assert world.refusal(f"VM.{verb}", ref) == ["HOST_OFFLINE", host]


@pytest.mark.parametrize("verb", STOP)
def test_a_vm_that_halted_holds_nothing(world, host, verb):
    ref, (vif,) = world.running(world.network(), on=host)
    world.call(f"VM.{verb}", ref)
    made = vm(world, ref)
    assert (made.power_state, made.resident_on, made.running_on, made.domid) == ("Halted", NULL, NULL, -1)
    assert not world.get(VIF, vif).currently_attached
    assert not world.get(VIF, vif).plugged


@pytest.mark.parametrize("verb", REBOOT)
def test_a_reboot_is_a_new_domain_and_plugs_every_vif(world, host, verb):
    network = world.network()
    ref, (vif,) = world.running(network, on=host)
    world.call("VIF.unplug", vif)
    old = vm(world, ref).domid
    world.start(f"VM.{verb}", ref)
    assert vm(world, ref).scheduled_to_be_resident_on == NULL
    world.report(host)
    made = vm(world, ref)
    assert (made.power_state, made.resident_on) == ("Running", host)
    assert made.domid > old
    assert world.get(VIF, vif).currently_attached


@pytest.mark.parametrize("verb", REBOOT)
def test_a_reboot_does_not_plug_into_a_network_that_lives_elsewhere(world, host, other, verb):
    network = world.network()
    ref, (vif,) = world.running(network, on=host)
    world.call("VIF.unplug", vif)
    world.running(network, on=other)
    assert world.refusal(f"VM.{verb}", ref) == ["HOST_CANNOT_ATTACH_NETWORK", host, network]


@pytest.mark.parametrize("verb", (*STOP, *REBOOT))
def test_what_fails_is_taken_back(world, host, verb):
    ref, (vif,) = world.running(world.network(), on=host)
    before = vm(world, ref), world.get(VIF, vif)
    world.start(f"VM.{verb}", ref)
    (ended,) = world.report(host, {ref: "no"})
    assert ended.failure is not None
    assert ended.failure.description == ["INTERNAL_ERROR", "no"]
    assert (vm(world, ref), world.get(VIF, vif)) == before


NO_FILE = "not there on the VM's host, or not to be read"


@pytest.mark.parametrize(
    ("lacks", "failure"),
    [
        ("kernel", ["VALUE_NOT_SUPPORTED", "PV_kernel", "/nofile", NO_FILE]),
        ("disk", ["VALUE_NOT_SUPPORTED", "other_config:xenet-disk", "/nodisk", NO_FILE]),
        ("", ["INTERNAL_ERROR", "in the host's words"]),
    ],
)
def test_a_file_that_is_not_on_the_host_is_the_callers_affair(world, host, lacks, failure):
    ref = world.vm(PV_kernel="/nofile", other_config={"xenet-guest": "qemu", "xenet-disk": "/nodisk"}, memory_static_max=96 << 20)
    world.start("VM.start_on", ref, host, False, False)
    (ended,) = world.report(host, {ref: "in the host's words"}, lacking={ref: lacks} if lacks else {})
    assert ended.failure is not None
    assert ended.failure.description == failure
    assert vm(world, ref).power_state == "Halted"


# --- a host that is gone for good ----------------------------------------------------------------------------------------


def test_a_vm_whose_host_is_gone_is_reset_and_starts_elsewhere(world, host, other):
    ref, (vif,) = world.running(world.network(), on=host)
    world.leave(host)
    assert world.refusal("VM.start_on", ref, other, False, False)[0] == "VM_BAD_POWER_STATE"
    world.call("VM.power_state_reset", ref)
    made = vm(world, ref)
    assert (made.power_state, made.resident_on, made.running_on, made.domid, made.born) == ("Halted", NULL, NULL, -1, -1)
    assert not world.get(VIF, vif).currently_attached
    assert not world.get(VIF, vif).plugged
    world.call("VM.start_on", ref, other, False, False)
    assert (vm(world, ref).resident_on, world.get(VIF, vif).currently_attached) == (other, True)
    world.host("a", "eth0", "eth1")
    assert vm(world, ref).running_on == other, "the host that comes back is to end what it still has"


def test_a_vm_whose_host_answers_is_not_reset(world, host):
    ref, _ = world.running(on=host)
    assert world.refusal("VM.power_state_reset", ref) == ["DOMAIN_EXISTS", ref, str(vm(world, ref).domid)]
    world.start("VM.hard_shutdown", ref)
    assert world.refusal("VM.power_state_reset", ref)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "VM", ref]


def test_a_halted_vm_is_reset_to_what_it_is_and_a_control_domain_is_not(world, host):
    ref = world.vm()
    before = vm(world, ref)
    world.call("VM.power_state_reset", ref)
    assert vm(world, ref) == before
    draft = Draft(world.state)
    draft.update(before, is_control_domain=True)
    world.commit(draft.change())
    assert world.refusal("VM.power_state_reset", ref) == ["CANNOT_RESET_CONTROL_DOMAIN", ref]


# --- the rest ------------------------------------------------------------------------------------------------------------


def test_the_devices_that_are_free(world, host):
    ref, network = world.vm(), world.network()
    world.vif(ref, network, "1")
    world.vif(ref, network, "20")
    assert world.decide("VM.get_allowed_VIF_devices", ref) == ["0", *map(str, range(2, 16))]


@pytest.mark.parametrize("verb", ["start", "start_on", *STOP, *REBOOT, "destroy", "get_possible_hosts", "get_allowed_VIF_devices"])
def test_a_vm_that_is_none(world, host, verb):
    args = START[verb](host) if verb in START else ()
    assert world.refusal(f"VM.{verb}", ABSENT, *args) == ["HANDLE_INVALID", "VM", ABSENT]


def test_residents_of_a_host(world, host):
    ref, _ = world.running(on=host)
    assert world.decide("host.get_resident_VMs", host) == [ref]
