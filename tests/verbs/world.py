"""A pool without server, store or hosts: verbs are called on its state, and hosts say what the test makes them say."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from xenet.model.change import Change
from xenet.model.errors import Failure
from xenet.model.hidden import NIC, BondLinks, Heard, Lease, Operation
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import NULL, PREFIX, Record, Ref
from xenet.verbs.call import Call, Ended, Entropy, Outcome
from xenet.verbs.catalogue import MESSAGES
from xenet.verbs.host import gone, hello
from xenet.verbs.operation import give_up
from xenet.verbs.report import News, take_report

START = datetime(2026, 1, 1, tzinfo=UTC)
ABSENT = Ref(f"{PREFIX}absent")
"""A reference to nothing."""
VM_RECORD: dict[str, Any] = {
    "name_label": "vm",
    "is_a_template": False,
    "affinity": NULL,
    "memory_static_max": 1,
    "memory_dynamic_max": 1,
    "memory_dynamic_min": 1,
    "memory_static_min": 1,
    "VCPUs_max": 1,
    "VCPUs_at_startup": 1,
    "actions_after_shutdown": "destroy",
    "actions_after_reboot": "restart",
    "actions_after_crash": "restart",
    "HVM_boot_policy": "",
    "HVM_boot_params": {},
    "platform": {},
    "other_config": {},
    "recommendations": "",
}
"""The least that VM.create takes."""


R = TypeVar("R", bound=Record)


class World:
    """A state that moves on by whole changes, as a store's does."""

    def __init__(self) -> None:
        self.state = PoolState()
        self.now = START
        self._draws = 0

    # --- calls -------------------------------------------------------------------------------------

    def frame(self, message: str, *, asynchronous: bool = False, internal: bool = False) -> Call:
        self._draws += 1
        return Call(self.state, message, self.now, Entropy(self._draws.to_bytes(4, "big")), asynchronous, internal)

    def decide(self, message: str, *args: Any, **frame: bool) -> Any:
        """What the verb decides; nothing is committed."""
        return MESSAGES[message].run(self.frame(message, **frame), *args)

    def commit(self, change: Change) -> None:
        if change.edits:
            self.state = change.apply(self.state)

    def take(self, outcome: Outcome) -> Any:
        self.commit(outcome.change)
        return outcome.result

    def start(self, message: str, *args: Any, **frame: bool) -> Outcome:
        """A call whose hosts have not answered yet."""
        outcome: Outcome = self.decide(message, *args, **frame)
        self.take(outcome)
        return outcome

    def call(self, message: str, *args: Any) -> Any:
        """A call to its end: every host that it waits for has done what it should."""
        decided = self.decide(message, *args)
        if not isinstance(decided, Outcome):
            return decided
        self.take(decided)
        if decided.operation is not None:
            self.settle(decided.operation)
        return decided.result

    def settle(self, operation: Ref) -> None:
        """Every host that it waits for does what it should, phase by phase."""
        while found := self.state.find(Operation, operation):
            self.report(found.waiting[0])

    def refusal(self, message: str, *args: Any) -> list[str]:
        """The error of a call that is refused."""
        try:
            outcome = self.decide(message, *args)
        except Failure as failure:
            return failure.description
        raise AssertionError(f"{message} was not refused: {outcome}")

    # --- hosts -------------------------------------------------------------------------------------

    def host(self, name: str, *devices: str, guests: str = "tap", boot: str = "") -> Ref:
        """A host comes with these NICs and reports that it is as it should be; with another `boot` than before it has started anew."""
        nics = tuple(NIC(device, f"02:00:00:00:{len(name):02x}:{n:02x}", carrier=True, speed=1000) for n, device in enumerate(devices))
        host: Ref = self.take(hello(self.frame("hello"), f"host-{name}", name, "bridge", nics, guests, f"{boot} /guests" if boot else ""))
        self.report(host)
        return host

    def report(
        self,
        host: Ref,
        failures: Mapping[Ref, str] | None = None,
        nics: tuple[NIC, ...] | None = None,
        bonds: tuple[BondLinks, ...] | None = None,
        lacking: Mapping[Ref, str] | None = None,
        heard: tuple[Heard, ...] = (),
    ) -> list[Ended]:
        """The host is as the present state wants it, but for the failures."""
        by_uuid = {ref.removeprefix(PREFIX): text for ref, text in (failures or {}).items()}
        kinds = {ref.removeprefix(PREFIX): kind for ref, kind in (lacking or {}).items()}
        news = News(self.state.revision, by_uuid, nics, bonds=bonds, lacking=kinds, heard=heard)
        change, ended = take_report(self.frame("report"), host, news)
        self.commit(change)
        return ended

    def give(self, pif: PIF, lease: Lease, *, six: bool = False) -> None:
        """The host says what the network gave to this PIF, and nothing of what it was asked to do since."""
        leases = {pif.uuid: lease}
        news = News(0, leases6=leases) if six else News(0, leases=leases)
        self.commit(take_report(self.frame("report"), pif.host, news)[0])

    def leave(self, host: Ref) -> None:
        """The host's agent dies, and what it was to do is taken back, as the server does it."""
        self.take(gone(self.frame("gone"), host))
        for operation in list(self.state.all(Operation)):
            if host in operation.waiting:
                self.give_up(operation.ref, Failure("CANNOT_CONTACT_HOST", host), host)

    def give_up(self, operation: Ref, failure: Failure, host: Ref | None = None) -> list[Ended]:
        change, ended = give_up(self.frame("give up"), operation, failure, host)
        self.commit(change)
        return ended

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # --- short forms -------------------------------------------------------------------------------

    def get(self, cls: type[R], ref: Ref) -> R:
        return self.state.get(cls, ref)

    def network(self, **record: Any) -> Ref:
        made: Ref = self.call("network.create", {"name_label": "net", "other_config": {}, **record})
        return made

    def vm(self, **record: Any) -> Ref:
        made: Ref = self.call("VM.create", {**VM_RECORD, **record})
        return made

    def vif(self, vm: Ref, network: Ref, device: str = "0", **record: Any) -> Ref:
        made: Ref = self.call("VIF.create", vif_record(vm, network, device, **record))
        return made

    def running(self, *networks: Ref, on: Ref) -> tuple[Ref, list[Ref]]:
        """A VM that runs on a host, with a VIF on each network."""
        vm = self.vm()
        vifs = [self.vif(vm, network, str(device)) for device, network in enumerate(networks)]
        self.call("VM.start_on", vm, on, False, False)
        return vm, vifs

    def external(self, number: int) -> Ref:
        return self.state.where(Network, "bridge", f"xenbr{number}")[0].ref

    def pif(self, host: Ref, network: Ref) -> Ref:
        return next(pif.ref for pif in self.state.where(PIF, "network", network) if pif.host == host)


def vif_record(vm: Ref, network: Ref, device: str = "0", **record: Any) -> dict[str, Any]:
    """The least that VIF.create takes."""
    base = {"device": device, "network": network, "VM": vm, "MAC": "", "MTU": 1500}
    return {**base, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}, **record}
