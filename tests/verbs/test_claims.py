"""What is learned of guests' addresses: who sees it, where it goes, when it is forgotten."""

from typing import Any

from tests.verbs.world import World
from xenet.model.hidden import Claim, GuestAddresses
from xenet.model.invariants import violations
from xenet.model.types import PREFIX, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM, VMGuestMetrics
from xenet.verbs.report import News, take_report


class Site:
    """Two hosts, and VMs on their network."""

    def __init__(self) -> None:
        self.world = World()
        self.hosts = [self.world.host(name, "eth0", guests="namespace") for name in ("a", "bb")]
        self.network = self.world.external(0)

    def vm(self, host: int, *networks: Ref) -> Ref:
        return self.world.running(*(networks or (self.network,)), on=self.hosts[host])[0]

    def vif(self, vm: Ref, device: int = 0) -> Ref:
        return next(vif.ref for vif in self.world.state.where(VIF, "VM", vm) if vif.device == str(device))

    def heard(self, host: int, vif: Ref, *addresses: str, at: int = 1) -> None:
        claims = tuple(Claim(address, at) for address in addresses)
        news = News(self.world.state.revision, claims={vif.removeprefix(PREFIX): claims})
        change, _ = take_report(self.world.frame("report"), self.hosts[host], news)
        self.world.commit(change)
        assert not violations(self.world.state)

    def shown(self, vm: Ref) -> dict[str, str]:
        return dict(self.metrics(vm).networks)

    def metrics(self, vm: Ref) -> VMGuestMetrics:
        return self.world.state.get(VMGuestMetrics, self.world.state.get(VM, vm).guest_metrics)

    def known(self, vif: Ref) -> list[str]:
        record = self.world.state.find(GuestAddresses, vif)
        return [claim.address for claim in record.claims] if record else []

    def call(self, *words: Any) -> None:
        self.world.call(*words)
        assert not violations(self.world.state)


def test_clients_see_them_as_a_guest_agent_would_say_them() -> None:
    site = Site()
    vm = site.vm(0, site.network, site.world.network())
    site.heard(0, site.vif(vm), "10.0.0.1", "fe80::1", "10.0.0.2")
    site.heard(0, site.vif(vm, 1), "2001:db8::1")
    assert site.shown(vm) == {
        "0/ip": "10.0.0.1", "0/ipv4/0": "10.0.0.1", "0/ipv4/1": "10.0.0.2", "0/ipv6/0": "fe80::1", "1/ipv6/0": "2001:db8::1",
    }  # fmt: skip
    assert site.metrics(vm).last_updated == site.world.now


def test_what_is_known_already_is_no_event_for_anybody() -> None:
    site = Site()
    vm = site.vm(0)
    site.heard(0, site.vif(vm), "10.0.0.1")
    before = site.metrics(vm)
    site.heard(0, site.vif(vm), "10.0.0.1", at=700)
    assert site.metrics(vm) is before
    assert site.known(site.vif(vm)) == ["10.0.0.1"]


def test_an_address_goes_to_who_claimed_it_last() -> None:
    site = Site()
    one, two = site.vm(0), site.vm(1)
    site.heard(0, site.vif(one), "10.0.0.1", "10.0.0.2")
    site.heard(1, site.vif(two), "10.0.0.1")
    assert site.shown(one) == {"0/ip": "10.0.0.2", "0/ipv4/0": "10.0.0.2"}
    assert site.shown(two) == {"0/ip": "10.0.0.1", "0/ipv4/0": "10.0.0.1"}


def test_the_same_address_on_another_network_is_another_one() -> None:
    site = Site()
    inner = site.world.network()
    one, two = site.vm(0), site.vm(0, inner)
    site.heard(0, site.vif(one), "10.0.0.1")
    site.heard(0, site.vif(two), "10.0.0.1")
    assert site.shown(one) == site.shown(two) != {}


def test_a_host_is_not_believed_of_guests_that_it_has_not() -> None:
    site = Site()
    vm = site.vm(0)
    site.heard(1, site.vif(vm), "10.0.0.1")
    site.heard(0, Ref(f"{PREFIX}nobody"), "10.0.0.1")
    assert site.known(site.vif(vm)) == []


def test_a_move_to_another_host_keeps_them() -> None:
    site = Site()
    vm = site.vm(0)
    site.heard(0, site.vif(vm), "10.0.0.1")
    site.call("VM.pool_migrate", vm, site.hosts[1], {})
    assert site.world.state.get(VM, vm).resident_on == site.hosts[1]
    assert site.known(site.vif(vm)) == ["10.0.0.1"]
    site.heard(0, site.vif(vm), "10.0.0.66")
    site.heard(1, site.vif(vm), "10.0.0.2")
    assert site.shown(vm) == {"0/ip": "10.0.0.1", "0/ipv4/0": "10.0.0.1", "0/ipv4/1": "10.0.0.2"}


def test_they_are_forgotten_with_what_they_were_true_of() -> None:
    site = Site()
    inner = site.world.network()
    vm = site.vm(0)
    vif = site.vif(vm)
    ends = [
        ("VIF.unplug", vif), ("VIF.plug", vif), ("VIF.move", vif, inner), ("VM.clean_reboot", vm), ("VM.clean_shutdown", vm),
    ]  # fmt: skip
    for words in ends:
        if words[0] != "VIF.plug":
            site.heard(0, vif, "10.0.0.1")
            assert site.shown(vm)
        site.call(*words)
        assert site.known(vif) == [], words
        assert site.shown(vm) == {}, words
    site.heard(0, vif, "10.0.0.1")
    assert site.known(vif) == [], "of a VM that does not run"


def test_a_shutdown_that_fails_gives_them_back() -> None:
    site = Site()
    vm = site.vm(0)
    site.heard(0, site.vif(vm), "10.0.0.1")
    site.world.start("VM.clean_shutdown", vm)
    assert site.shown(vm) == {}
    site.world.report(site.hosts[0], {vm: "it does not want to"})
    assert site.world.state.get(VM, vm).power_state == "Running"
    assert site.shown(vm) == {"0/ip": "10.0.0.1", "0/ipv4/0": "10.0.0.1"}


def test_they_go_with_the_vm() -> None:
    site = Site()
    vm = site.vm(0)
    site.heard(0, site.vif(vm), "10.0.0.1")
    site.call("VM.hard_shutdown", vm)
    site.call("VM.destroy", vm)
    assert not list(site.world.state.all(GuestAddresses))
