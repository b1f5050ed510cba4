"""Random calls, reports and deaths of hosts: no state that comes of them breaks an invariant, and every decision can be taken back."""

from typing import Any

import msgspec
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.verbs.world import VM_RECORD, World, vif_record
from xenet.model.change import GROWING, Draft
from xenet.model.classes import STORED
from xenet.model.derived import VLAN, Bond
from xenet.model.errors import Failure
from xenet.model.hidden import Attachment, BondLinks, HostFacts, Lease, Operation
from xenet.model.host import Host
from xenet.model.invariants import homes_of, violations, warnings
from xenet.model.network import Network
from xenet.model.pif import PIF, primary_address
from xenet.model.state import PoolState, state_of
from xenet.model.types import NULL, Record, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.allowed import refresh_allowed
from xenet.verbs.attach import is_live
from xenet.verbs.call import Outcome

HOSTS = {"a": ("eth0", "eth1", "eth2"), "b": ("eth0",)}
"""One network that both hosts reach, two that only the first does, so that two moves of its management can meet."""
pick = st.integers(0, 59)
MOST = 7
"""Records of a class beyond which none are made, so that calls meet."""


def without_counters(state: PoolState) -> dict[tuple[str, Ref], dict[str, Any]]:
    """Every record by class and reference, but for what an undo leaves alone."""
    records = ((record, GROWING.get(name, frozenset())) for name in STORED for record in state.tables.get(name, {}).values())
    return {(r.xenapi, r.ref): {k: v for k, v in msgspec.structs.asdict(r).items() if k not in keep} for r, keep in records}


def check(state: PoolState, *, whole: bool = True) -> None:
    """`whole`: no NIC was forgotten, so no network can have fallen apart."""
    assert violations(state) == []
    if whole:
        assert warnings(state) == []
    check_management(state)
    check_sizes(state)
    check_guest_addresses(state)
    check_attachments(state)
    draft = Draft(state)
    for cls in (VM, VIF):
        for record in state.all(cls):
            draft.put(record)
    refresh_allowed(draft)
    assert draft.change().edits == (), "allowed_operations are out of date"


def check_management(state: PoolState) -> None:
    """A host is reached on one PIF at most, at that PIF's address; and where xenet may plug the PIF, it shall be plugged."""
    for host in state.all(Host):
        found = [pif for pif in state.where(PIF, "host", host.ref) if pif.management]
        assert len(found) <= 1
        assert host.address == (primary_address(found[0]) if found else "")
        assert all(pif.plugged == pif.managed for pif in found)


def check_sizes(state: PoolState) -> None:
    """A VLAN that is up lets no larger frames in than the PIF below takes."""
    for vlan in state.all(VLAN):
        upper = state.find(PIF, vlan.untagged_PIF)
        assert upper is None or not upper.plugged or upper.MTU <= state.get(PIF, vlan.tagged_PIF).MTU


def check_guest_addresses(state: PoolState) -> None:
    """No two VIFs have one address, and each that a VIF has is the network's to tell."""
    leases = {vif.ref: vif.lease for vif in state.all(VIF) if vif.lease}
    assert len(set(leases.values())) == len(leases)
    assert {ref: ip for network in state.all(Network) for ref, ip in network.assigned_ips.items()} == leases


def check_attachments(state: PoolState) -> None:
    """Of internal networks alone; one that persists is on every host that uses it. What is on its way may come back on what is not there."""
    if state.count(Operation):
        return
    for attachment in state.all(Attachment):
        assert not state.refs_where("PIF", "network", attachment.network)
    for network in state.all(Network):
        if "persist" in network.other_config and not state.refs_where("PIF", "network", network.ref):
            assert homes_of(state, network) <= {each.host for each in state.where(Attachment, "network", network.ref)}


class Hosts(RuleBasedStateMachine):
    """What happens to hosts, their NICs and their addresses; and how calls are made here."""

    whole = True

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.given: set[int | str] = set()
        """Every domid and bridge name that was ever given out."""

    @initialize()
    def begin(self) -> None:
        """Two networks that have PIFs with addresses."""
        for name, nics in HOSTS.items():
            self.world.host(name, *nics, guests="namespace")
        for last, pif in enumerate(list(self.world.state.all(PIF))):
            self.world.call("PIF.reconfigure_ip", pif.ref, "Static", f"192.0.2.{last + 10}", "255.255.255.0", "", "")

    # --- what happens ------------------------------------------------------------------------------

    @rule(n=pick, verb=st.sampled_from(["plug", "unplug"]))
    def plug_pif(self, n: int, verb: str) -> None:
        self.attempt(f"PIF.{verb}", self.any(PIF, n))

    @rule(n=pick, m=pick)
    def attach(self, n: int, m: int) -> None:
        self.attempt("network.attach", self.any(Network, n), self.any(Host, m))

    @rule(n=pick, m=pick, verb=st.sampled_from(["attach_for_vm", "detach_for_vm"]))
    def attach_for_vm(self, n: int, m: int, verb: str) -> None:
        self.attempt(f"network.{verb}", self.any(Host, m), self.any(VM, n))

    @rule(n=pick, persist=st.booleans())
    def persist(self, n: int, persist: bool) -> None:
        more = ("persist", "true") if persist else ("persist",)
        self.attempt(f"network.{'add_to' if persist else 'remove_from'}_other_config", self.any(Network, n), *more)

    @rule(n=pick, mode=st.sampled_from(["locked", "unlocked", "disabled", "network_default"]))
    def lock_vif(self, n: int, mode: str) -> None:
        self.attempt("VIF.set_locking_mode", self.any(VIF, n), mode)

    @rule(n=pick, verb=st.sampled_from(["add", "remove"]), entry=st.sampled_from(["10.0.0.1", "10.0.0.0/24", "no address"]))
    def allow(self, n: int, verb: str, entry: str) -> None:
        self.attempt(f"VIF.{verb}_ipv4_allowed", self.any(VIF, n), entry)

    @rule(n=pick, mode=st.sampled_from(["unlocked", "disabled"]))
    def set_default(self, n: int, mode: str) -> None:
        self.attempt("network.set_default_locking_mode", self.any(Network, n), mode)

    @rule(n=pick, mode=st.sampled_from(["Static", "Static", "DHCP", "None"]), last=st.integers(1, 9))
    def set_address(self, n: int, mode: str, last: int) -> None:
        self.attempt("PIF.reconfigure_ip", self.any(PIF, n), mode, f"192.0.2.{last}", "255.255.255.0", "192.0.2.254", "")

    @rule(n=pick, what=st.sampled_from(["host", "host", "host", "pool", "disable"]))
    def move_management(self, n: int, what: str) -> None:
        if what == "host":
            self.attempt("host.management_reconfigure", self.any(PIF, n))
        elif what == "pool":
            self.attempt("pool.management_reconfigure", self.any(Network, n))
        else:
            self.attempt("host.management_disable")

    @rule(n=pick, mode=st.sampled_from(["None", "Static", "DHCP"]), address=st.sampled_from(["", "10.0.0.1", "10.0.0.2", "x"]))
    def configure_ip(self, n: int, mode: str, address: str) -> None:
        self.attempt("PIF.reconfigure_ip", self.any(PIF, n), mode, address, "255.255.255.0", "10.0.0.254", "10.0.0.53,2001:db8::53")

    @rule(n=pick, mode=st.sampled_from(["None", "Static", "DHCP", "Autoconf"]), address=st.sampled_from(["", "2001:db8::1/64", "2001:db8::1"]))
    def configure_ipv6(self, n: int, mode: str, address: str) -> None:
        self.attempt("PIF.reconfigure_ipv6", self.any(PIF, n), mode, address, "fe80::1", "10.0.0.53,2001:db8::53")

    @rule(n=pick, value=st.sampled_from(["on", "off", "x"]))
    def set_property(self, n: int, value: str) -> None:
        self.attempt("PIF.set_property", self.any(PIF, n), "gro", value)

    @rule(n=pick, version=st.sampled_from(["IPv4", "IPv6"]))
    def choose_address_type(self, n: int, version: str) -> None:
        self.attempt("PIF.set_primary_address_type", self.any(PIF, n), version)

    @rule(n=pick, lease=st.sampled_from([Lease(), Lease(("10.0.0.60/24",), "10.0.0.1", ("10.0.0.53",))]), six=st.booleans())
    def network_gives(self, n: int, lease: Lease, six: bool) -> None:
        """To a PIF that asks for it or not; a host that is away says nothing."""
        pif = self.world.state.find(PIF, self.any(PIF, n))
        if pif is not None and is_live(self.world.state, self.world.get(Host, pif.host)):
            six_lease = Lease(("2001:db8::60/128",), "fe80::1") if lease.addresses else lease
            self.world.give(pif, six_lease if six else lease, six=six)

    @precondition(lambda self: self.world.state.count(Operation))
    @rule(n=pick, failing=st.lists(pick, max_size=2))
    def host_reports(self, n: int, failing: list[int]) -> None:
        """On all that it is waited for, at once, as a host that has many deltas in its inbox does."""
        operation = self.world.get(Operation, self.any(Operation, n))
        objects = (*operation.objects, *operation.needs)
        self.world.report(operation.waiting[0], {objects[f % len(objects)]: "no" for f in failing})

    @precondition(lambda self: self.world.state.count(Operation))
    @rule(n=pick)
    def time_is_over(self, n: int) -> None:
        self.world.give_up(self.any(Operation, n), Failure("CANNOT_CONTACT_HOST"))

    @rule(n=pick, what=st.sampled_from(["leave", "disable", "come back", "come back"]))
    def host_changes(self, n: int, what: str) -> None:
        """It comes back more often than it leaves, or most calls would be refused for its sake."""
        host = self.world.get(Host, self.any(Host, n))
        live = is_live(self.world.state, host)
        if what == "disable":
            self.attempt("host.disable", host.ref, True)
        elif what == "leave" and live:
            self.world.leave(host.ref)
        elif what == "come back":
            self.attempt("host.enable", host.ref)
            if not live:
                self.world.host(host.name_label, *HOSTS[host.name_label], boot=f"boot {n % 3}")

    # --- what holds --------------------------------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        check(self.world.state, whole=self.whole)

    @invariant()
    def indexes_are_those_of_the_records(self) -> None:
        records: list[Record] = [record for table in self.world.state.tables.values() for record in table.values()]
        assert self.world.state.index == state_of(0, records).index

    # --- how ---------------------------------------------------------------------------------------

    def any(self, cls: type[Record], n: int) -> Ref:
        refs = [record.ref for record in self.world.state.all(cls)]
        return refs[n % len(refs)] if refs else NULL

    def allowed(self, cls: type[VM] | type[VIF], ref: Ref) -> tuple[str, ...]:
        record = self.world.state.find(cls, ref)
        return record.allowed_operations if record else ()

    def attempt(self, message: str, *args: Any) -> None:
        """A call of which the hosts have not heard yet; refused ones are as good."""
        before = self.world.state
        try:
            outcome: Outcome = self.world.start(message, *args)
        except Failure:
            assert self.world.state is before
            return
        change, after = outcome.change, self.world.state
        assert without_counters(change.inverse().apply(after)) == without_counters(before)
        self.nothing_is_given_twice(before, after)
        if outcome.operation is not None:
            self.both_ends_are_well(outcome.operation)

    def nothing_is_given_twice(self, before: PoolState, after: PoolState) -> None:
        for cls, field in ((VM, "domid"), (Network, "bridge")):
            old = {getattr(record, field) for record in before.all(cls)}
            new = {getattr(record, field) for record in after.all(cls)} - old - {-1}
            assert new.isdisjoint(self.given)
            self.given |= new

    def both_ends_are_well(self, operation: Ref) -> None:
        """Whether the hosts do it or not: tried out on the present state, of which nothing is kept."""
        now = self.world.state
        try:
            self.world.settle(operation)
            check(self.world.state, whole=self.whole)
            self.world.state = now
            while self.world.state.find(Operation, operation):
                self.world.give_up(operation, Failure("CANNOT_CONTACT_HOST"))
                check(self.world.state, whole=self.whole)
            check(self.world.state, whole=self.whole)
        finally:
            self.world.state = now


class Pool(Hosts):
    """With VMs and their networks."""

    @initialize()
    def begin(self) -> None:
        """And two internal networks, and three VMs with VIFs on an internal and an external one."""
        super().begin()
        internal = [self.world.network(), self.world.network()]
        for n in range(3):
            vm = self.world.vm()
            self.world.vif(vm, internal[n % 2], "0")
            self.world.vif(vm, self.world.external(n % 2), "1")

    @rule(what=st.sampled_from(["network", "VM", "VIF"]), n=pick, m=pick, device=st.integers(0, 2))
    def create(self, what: str, n: int, m: int, device: int) -> None:
        given = {"network": {"other_config": {}}, "VM": VM_RECORD, "VIF": vif_record(self.any(VM, n), self.any(Network, m), str(device))}
        if self.world.state.count(STORED[what]) < MOST:
            self.attempt(f"{what}.create", given[what])

    @rule(what=st.sampled_from(["network", "VM", "VIF", "task"]), n=pick)
    def destroy(self, what: str, n: int) -> None:
        self.attempt(f"{what}.destroy", self.any(STORED[what], n))

    @rule(n=pick, m=pick, k=pick)
    def run_vm(self, n: int, m: int, k: int) -> None:
        """Mostly what the VM says that it allows."""
        vm = self.any(VM, n)
        verbs = [verb for verb in self.allowed(VM, vm) if verb != "destroy"] or ["start", "hard_shutdown", "clean_reboot"]
        verb = verbs[k % len(verbs)]
        host = self.any(Host, m)
        more: dict[str, tuple[Any, ...]] = {
            "start": (False, False),
            "start_on": (host, False, False),
            "pool_migrate": (host, {}),
            "migrate_send": ({"host": host}, True, {}, {}, {}),
        }
        self.attempt(f"VM.{verb}", vm, *more.get(verb, ()))

    @rule(n=pick, m=pick)
    def migrate(self, n: int, m: int) -> None:
        self.attempt("VM.pool_migrate", self.any(VM, n), self.any(Host, m), {})

    @rule(n=pick, k=pick)
    def plug_vif(self, n: int, k: int) -> None:
        """Mostly what the VIF says that it allows."""
        vif = self.any(VIF, n)
        verbs = [verb for verb in self.allowed(VIF, vif) if verb != "attach"] or ["plug", "unplug", "unplug_force"]
        self.attempt(f"VIF.{verbs[k % len(verbs)]}", vif)

    @rule(n=pick, m=pick)
    def move_vif(self, n: int, m: int) -> None:
        self.attempt("VIF.move", self.any(VIF, n), self.any(Network, m))


class HostsWithNics(Hosts):
    """While NICs are forgotten and found again."""

    whole = False

    @rule(n=pick, plugged=st.booleans())
    def forget(self, n: int, plugged: bool) -> None:
        self.attempt("PIF.forget" if plugged else "PIF.db_forget", self.any(PIF, n))

    @rule(n=pick, device=st.sampled_from(["eth0", "eth1"]), managed=st.booleans())
    def introduce(self, n: int, device: str, managed: bool) -> None:
        self.attempt("PIF.introduce", self.any(Host, n), "", device, managed)

    @rule(n=pick)
    def begin_anew(self, n: int) -> None:
        self.attempt("host.reset_networking", self.any(Host, n))

    @rule(n=pick, m=pick, address=st.sampled_from(["192.0.2.20/24", "192.0.2.21/24", ""]))
    def administrator_sets_an_address(self, n: int, m: int, address: str) -> None:
        """On a NIC that xenet keeps its hands off: of the others its facts tell no address."""
        host = self.any(Host, n)
        if not is_live(self.world.state, self.world.get(Host, host)):
            return
        apart = [pif.device for pif in self.world.state.where(PIF, "host", host) if not pif.managed]
        facts = self.world.get(HostFacts, host)
        chosen = apart[m % len(apart)] if apart else ""
        nics = (msgspec.structs.replace(nic, addresses=(address,) if address else ()) if nic.device == chosen else nic for nic in facts.nics)
        self.world.report(host, nics=tuple(nics))

    @rule(n=pick)
    def scan(self, n: int) -> None:
        self.attempt("PIF.scan", self.any(Host, n))


class HostsWithBonds(HostsWithNics):
    """While NICs are bonded and set free again, with VLANs on either. A network may fall apart: on the other host its NIC is no bond's."""

    @initialize()
    def begin(self) -> None:
        """And three networks for bonds and VLANs, and NICs without addresses."""
        super().begin()
        for device in ("eth1", "eth2"):
            self.world.call("PIF.reconfigure_ip", self.world.state.refs_where("PIF", "device", device)[0], "None", "", "", "", "")
        for _ in range(3):
            self.world.network()

    @rule(n=pick, m=pick, count=st.integers(1, 3), mode=st.sampled_from(["balance-slb", "lacp"]))
    def bond(self, n: int, m: int, count: int, mode: str) -> None:
        """Mostly of NICs of one host that are free."""
        able = [pif.ref for pif in self.world.state.all(PIF) if pif.host == self.any(Host, 0) and pif.physical and pif.bond_slave_of == NULL]
        members = tuple(able[(m + other) % len(able)] for other in range(count)) if able and n % 4 else (self.any(PIF, m), self.any(PIF, n))
        self.attempt("Bond.create", self.free(n), members, "", mode, {})

    @precondition(lambda self: self.world.state.count(Bond))
    @rule(n=pick)
    def set_free(self, n: int) -> None:
        self.attempt("Bond.destroy", self.any(Bond, n))

    @precondition(lambda self: self.world.state.count(Bond))
    @rule(n=pick, mode=st.sampled_from(["balance-slb", "active-backup", "lacp"]))
    def set_mode(self, n: int, mode: str) -> None:
        self.attempt("Bond.set_mode", self.any(Bond, n), mode)

    @rule(n=pick, m=pick, tag=st.integers(1, 2))
    def create_vlan(self, n: int, m: int, tag: int) -> None:
        self.attempt("VLAN.create", self.any(PIF, m), tag, self.free(n))

    @precondition(lambda self: self.world.state.count(VLAN))
    @rule(n=pick)
    def destroy_vlan(self, n: int) -> None:
        self.attempt("VLAN.destroy", self.any(VLAN, n))

    @rule(n=pick, mtu=st.sampled_from([1400, 1500, 9000]))
    def set_mtu(self, n: int, mtu: int) -> None:
        """Takes effect where a PIF is plugged next."""
        self.attempt("network.set_MTU", self.any(Network, n), mtu)

    @rule(n=pick, up=st.lists(st.sampled_from(["eth0", "eth1"])))
    def links_change(self, n: int, up: list[str]) -> None:
        pif = self.world.state.find(PIF, self.any(PIF, n))
        if pif is not None and is_live(self.world.state, self.world.get(Host, pif.host)):
            self.world.report(pif.host, bonds=(BondLinks("bond0", tuple(up), tuple(up)),))

    def free(self, n: int) -> Ref:
        """A network that mostly has no PIF."""
        free = [network.ref for network in self.world.state.all(Network) if not self.world.state.refs_where("PIF", "network", network.ref)]
        return free[n % len(free)] if free else self.any(Network, n)


class PoolWithBonds(Pool, HostsWithBonds):
    """With VMs, whose VIFs move."""

    whole = False


class PoolWithNics(Pool, HostsWithNics):
    """All of it."""

    whole = False


TestHostsWithNics = HostsWithNics.TestCase
TestPool = Pool.TestCase
TestPoolWithNics = PoolWithNics.TestCase
TestHostsWithBonds = HostsWithBonds.TestCase
TestPoolWithBonds = PoolWithBonds.TestCase
TestHostsWithBonds.settings = TestPoolWithBonds.settings = settings(stateful_step_count=50, phases=[Phase.generate])
TestHostsWithNics.settings = TestPool.settings = TestPoolWithNics.settings = settings(stateful_step_count=50, phases=[Phase.generate])
