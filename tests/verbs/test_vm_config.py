"""What clients set of a VM besides its networks, and what they tell its guest of addresses."""

import pytest

from tests.verbs.world import World
from xenet.model.change import Draft
from xenet.model.types import NULL
from xenet.model.vif import VIF
from xenet.model.vm import VM, VMGuestMetrics

ORDER = "Memory limits must satisfy: static_min <= dynamic_min <= dynamic_max <= static_max"


@pytest.fixture
def world():
    world = World()
    world.host("host1", "eth0")
    return world


@pytest.fixture
def vm(world):
    return world.vm()


def test_memory_limits_are_in_order_or_refused(world, vm):
    world.call("VM.set_memory_limits", vm, 1, 40, 10, 20)
    record = world.state.get(VM, vm)
    assert (record.memory_static_min, record.memory_dynamic_min, record.memory_dynamic_max, record.memory_static_max) == (1, 10, 20, 40)
    for message, *values in (
        ("VM.set_memory_static_max", 19),
        ("VM.set_memory_static_min", 11),
        ("VM.set_memory_static_min", -1),
        ("VM.set_memory_dynamic_range", 30, 20),
        ("VM.set_memory_limits", 2, 40, 1, 20),
    ):
        assert world.refusal(message, vm, *values) == ["MEMORY_CONSTRAINT_VIOLATION", ORDER]
    world.call("VM.set_memory", vm, 30)
    assert world.state.get(VM, vm).memory_static_max == world.state.get(VM, vm).memory_dynamic_min == 30


def test_processors(world, vm):
    assert world.refusal("VM.set_VCPUs_at_startup", vm, 2) == ["INVALID_VALUE", "VCPUs_at_startup", "2"]
    world.call("VM.set_VCPUs_max", vm, 4)
    world.call("VM.set_VCPUs_at_startup", vm, 3)
    assert world.refusal("VM.set_VCPUs_max", vm, 2) == ["INVALID_VALUE", "VCPUs_max", "2"]


def test_a_running_vm_keeps_its_hardware(world, vm):
    world.call("VM.start", vm, False, False)
    refused = ["VM_BAD_POWER_STATE", vm, "halted", "running"]
    assert world.refusal("VM.set_VCPUs_max", vm, 2) == refused
    assert world.refusal("VM.set_memory_static_max", vm, 2) == refused
    world.call("VM.set_actions_after_crash", vm, "preserve")


def test_whether_an_operation_could_begin(world, vm):
    world.call("VM.assert_operation_valid", vm, "start")
    assert world.refusal("VM.assert_operation_valid", vm, "hard_shutdown") == ["VM_BAD_POWER_STATE", vm, "running", "halted"]
    assert world.refusal("VM.assert_operation_valid", vm, "snapshot")[0] == "OPERATION_NOT_ALLOWED"
    assert world.refusal("VM.set_ha_restart_priority", vm, "soon") == ["INVALID_VALUE", "ha_restart_priority", "soon"]


def test_a_guest_is_told_addresses_if_it_listens(world, vm):
    vif = world.vif(vm, world.network())
    assert world.refusal("VIF.configure_ipv4", vif, "None") == ["VM_LACKS_FEATURE", vm]
    metrics = world.state.get(VMGuestMetrics, world.state.get(VM, vm).guest_metrics)
    draft = Draft(world.state)
    draft.update(metrics, other={"feature-static-ip-setting": "1"})
    world.commit(draft.change())
    world.call("VIF.configure_ipv4", vif, "Static", "192.0.2.7/24", "192.0.2.1")
    record = world.state.get(VIF, vif)
    assert (record.ipv4_configuration_mode, record.ipv4_addresses, record.ipv4_gateway) == ("Static", ("192.0.2.7/24",), "192.0.2.1")
    world.call("VIF.configure_ipv6", vif, "Static", "2001:db8::7/64", "")
    world.call("VIF.configure_ipv4", vif, "None")
    assert world.state.get(VIF, vif).ipv4_addresses == ()


def test_wrong_and_forbidden_addresses(world, vm):
    vif = world.vif(vm, world.network())
    for address in ("192.0.2.7", "2001:db8::7/64", "", "192.0.2.7/33"):
        assert world.refusal("VIF.configure_ipv4", vif, "Static", address) == ["INVALID_CIDR_ADDRESS_SPECIFIED", "address"]
    assert world.refusal("VIF.configure_ipv4", vif, "Static", "192.0.2.7/24", "router") == ["INVALID_IP_ADDRESS_SPECIFIED", "gateway"]
    world.call("VIF.set_locking_mode", vif, "locked")
    world.call("VIF.set_ipv4_allowed", vif, ("192.0.2.0/29",))
    assert world.refusal("VIF.configure_ipv4", vif, "Static", "192.0.2.9/24") == ["ADDRESS_VIOLATES_LOCKING_CONSTRAINT", "192.0.2.9"]
    assert world.refusal("VIF.configure_ipv4", vif, "Static", "192.0.2.6/24") == ["VM_LACKS_FEATURE", vm]


def test_setters_that_only_xe_and_xen_orchestra_know(world, vm):
    world.call("VM.set_start_delay", vm, 5)
    world.call("VM.add_to_bios_strings", vm, "bios-vendor", "xenet")
    record = world.state.get(VM, vm)
    assert (record.start_delay, dict(record.bios_strings), record.appliance) == (5, {"bios-vendor": "xenet"}, NULL)
