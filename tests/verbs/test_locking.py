"""VIF locking: what may be set, every refusal, and that a running VIF's change waits for its host and is taken back when that cannot."""

import pytest

from tests.verbs.world import ABSENT, World, vif_record
from xenet.model.hidden import Operation
from xenet.model.network import Network
from xenet.model.vif import VIF

FAMILIES = [("ipv4", "10.0.0.1", "10.0.0.0/24"), ("ipv6", "2001:db8::1", "2001:db8::/64")]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0", "eth1")


@pytest.fixture
def halted(world, host):
    """A VIF of a VM that does not run."""
    return world.vif(world.vm(), world.network())


@pytest.fixture
def running(world, host):
    return world.running(world.network(), on=host)[1][0]


@pytest.mark.parametrize("mode", ["locked", "unlocked", "disabled", "network_default"])
def test_a_mode_of_a_halted_vm_needs_no_host(world, host, halted, mode):
    world.leave(host)
    world.call("VIF.set_locking_mode", halted, mode)
    assert world.get(VIF, halted).locking_mode == mode


@pytest.mark.parametrize(("family", "address", "block"), FAMILIES)
def test_lists(world, halted, family, address, block):
    def listed() -> tuple[str, ...]:
        found: tuple[str, ...] = getattr(world.get(VIF, halted), f"{family}_allowed")
        return found

    world.call(f"VIF.set_{family}_allowed", halted, [address, block, address])
    assert listed() == (address, block)
    world.call(f"VIF.add_{family}_allowed", halted, block)
    assert listed() == (address, block), "one that is there is not added again"
    world.call(f"VIF.remove_{family}_allowed", halted, block)
    world.call(f"VIF.remove_{family}_allowed", halted, "nothing that is there")
    assert listed() == (address,)
    world.call(f"VIF.set_{family}_allowed", halted, [])
    assert listed() == ()


WRONG = ["", "x", "10.0.0", "10.0.0.256", "10.0.0.1/33", "10.0.0.1/", "10.0.0.0/255.0.0.0", "10.0.0.1/-1", "10.0.0.1/²", "10.0.0.1/24/8", " 10.0.0.1"]
WRONG_V6 = ["2001:db8::1/129", "fe80::1%eth0", "2001:db8::/x", "::1/64%eth0", "2001:db8:::1"]


@pytest.mark.parametrize(
    ("family", "entry"), [*(("ipv4", e) for e in [*WRONG, "2001:db8::1"]), *(("ipv6", e) for e in [*WRONG, *WRONG_V6, "10.0.0.1"])]
)
def test_what_is_no_address(world, halted, family, entry):
    refused = ["INVALID_IP_ADDRESS_SPECIFIED", f"{family}_allowed"]
    assert world.refusal(f"VIF.add_{family}_allowed", halted, entry) == refused
    assert world.refusal(f"VIF.set_{family}_allowed", halted, [entry]) == refused
    vif = world.get(VIF, halted)
    assert world.refusal("VIF.create", vif_record(vif.VM, vif.network, "1", **{f"{family}_allowed": [entry]})) == refused


def test_a_vif_is_made_locked(world, host):
    lists = {"ipv4_allowed": ["10.0.0.1", "10.0.0.1"], "ipv6_allowed": ["2001:db8::/64"]}
    made = world.get(VIF, world.vif(world.vm(), world.network(), locking_mode="locked", **lists))
    assert (made.locking_mode, made.ipv4_allowed, made.ipv6_allowed) == ("locked", ("10.0.0.1",), ("2001:db8::/64",))


@pytest.mark.parametrize(
    ("message", "value"), [("set_locking_mode", "locked"), ("set_ipv4_allowed", []), ("add_ipv6_allowed", "::1"), ("remove_ipv4_allowed", "x")]
)
def test_no_such_vif(world, host, message, value):
    assert world.refusal(f"VIF.{message}", ABSENT, value) == ["HANDLE_INVALID", "VIF", ABSENT]


def test_a_running_vif_is_locked_when_its_host_has_done_it(world, host, running):
    outcome = world.start("VIF.set_locking_mode", running, "locked")
    assert outcome.operation is not None
    assert world.get(VIF, running).allowed_operations == ()
    assert world.refusal("VIF.unplug", running)[0] == "OTHER_OPERATION_IN_PROGRESS"
    assert world.refusal("VIF.set_locking_mode", running, "disabled")[0] == "OTHER_OPERATION_IN_PROGRESS"
    world.report(host)
    vif = world.get(VIF, running)
    assert (vif.locking_mode, vif.currently_attached, vif.current_operations) == ("locked", True, {})


def test_a_host_that_cannot(world, host, running):
    world.start("VIF.set_locking_mode", running, "locked")
    (ended,) = world.report(host, {running: "no nft"})
    assert ended.failure is not None
    assert ended.failure.description == ["INTERNAL_ERROR", "no nft"]
    vif = world.get(VIF, running)
    assert (vif.locking_mode, vif.currently_attached) == ("network_default", True)


def test_lists_of_a_running_vif_wait_for_the_host_only_where_they_count(world, host, running):
    assert world.start("VIF.add_ipv4_allowed", running, "10.0.0.1").operation is None
    world.call("VIF.set_locking_mode", running, "locked")
    assert world.start("VIF.add_ipv4_allowed", running, "10.0.0.1").operation is None, "it changes nothing"
    assert world.start("VIF.add_ipv4_allowed", running, "10.0.0.2").operation is not None
    world.report(host)
    assert not world.state.count(Operation)
    assert world.get(VIF, running).ipv4_allowed == ("10.0.0.1", "10.0.0.2")


def test_a_host_that_is_away(world, host, running):
    world.leave(host)
    assert world.refusal("VIF.set_locking_mode", running, "locked") == ["HOST_OFFLINE", host]
    world.call("VIF.set_ipv4_allowed", running, ["10.0.0.1"])


def test_the_default_of_a_network_changes_while_nobody_is_attached(world, host, running):
    network = world.get(VIF, running).network
    assert world.refusal("network.set_default_locking_mode", network, "disabled") == ["VIF_IN_USE", network, running]
    world.call("VIF.unplug", running)
    world.call("network.set_default_locking_mode", network, "disabled")
    assert world.get(Network, network).default_locking_mode == "disabled"
