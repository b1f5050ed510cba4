"""The keeper compares what is wanted with what is observed, acts, reads back what it touched, and says what did not come to pass.

It holds no plan from one time to the next: whatever happened in between, the next comparison starts from what is.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TypeVar

import msgspec

from xenet.agent.replica import Replica
from xenet.datapath.base import Datapath
from xenet.guests.base import FileMissing, GuestError, Guests
from xenet.model.hidden import NIC
from xenet.model.network import Network
from xenet.model.types import ref_of
from xenet.model.vif import VIF
from xenet.plan.compile import compile_guest, compile_switch, is_due_elsewhere, vms_on
from xenet.plan.diff import diff_views
from xenet.plan.ethtool import asked_of
from xenet.plan.guest_steps import HaltGuest, KeepGuest, PlugNIC, SendGuest, StartGuest, StopGuest, UnplugNIC
from xenet.plan.guests import is_waited_for
from xenet.plan.steps import CreatePort, Step, StepFailure
from xenet.plan.view import GuestView, HostView, SwitchView, nics_of

V = TypeVar("V")
ENDS_WITHIN = 30.0
"""Seconds for a guest to end that was asked to."""


class Keeper:
    """Keeps one host equal to its replica of the pool."""

    def __init__(
        self,
        replica: Replica,
        datapath: Datapath,
        guests: Guests,
        nics: Sequence[str] = (),
        announce: Callable[[Sequence[Step]], list[StepFailure]] = lambda steps: [],
    ) -> None:
        self.replica = replica
        self.datapath = datapath
        self.guests = guests
        self.nics = nics
        self._announce = announce
        self.failures: dict[str, str] = {}
        """What is not as wanted now: uuid of the object -> why."""
        self.lacking: dict[str, str] = {}
        """Of these, the VMs that cannot start without a file: uuid -> the file's kind."""
        self.standing: dict[str, str] = {}
        """The same of what no step can mend."""
        self._switches: dict[str, SwitchView] = {}
        self._guests: dict[str, GuestView] = {}
        self._bridges: set[str] = set()
        """What has to be compared, beside what the replica names: by the kernel's news, or because it failed."""
        self._vms: set[str] = set()
        self._absent: set[str] = set()
        """The VMs that shall run here, but have yet to come."""
        self._asked: dict[str, float] = {}
        """When VMs were first seen to have been asked to end."""
        self._facts: tuple[NIC, ...] | None = None

    # --- what is wanted ----------------------------------------------------------------------------

    def wanted(self) -> HostView:
        return HostView(self._switches, self._guests)

    def recompile(self, bridges: Iterable[str], vms: Iterable[str]) -> set[str]:
        """Bring the wanted view up to date where the replica changed, or a guest has come; the bridges that this concerned."""
        state, host = self.replica.state, self.replica.host
        for vm in vms:
            _note(self._guests, vm, compile_guest(state, host, vm))
        before, self._absent = self._absent, self._yet_to_come()
        concerned = {*bridges, *self._bridges_of(before ^ self._absent)}
        for bridge in concerned:
            switch = compile_switch(state, host, bridge, self._absent)
            _note(self._switches, bridge, switch)
            self.datapath.heed(bridge, asked_of(switch) if switch else {})
        return concerned

    def _yet_to_come(self) -> set[str]:
        wanted = [vm for vm, guest in self._guests.items() if guest.stage in ("arrives", "held", "late")]
        there = self.guests.observe() if wanted else {}
        return {vm for vm in wanted if vm not in there or there[vm].stage != "runs"}

    def _bridges_of(self, vms: Iterable[str]) -> set[str]:
        state = self.replica.state
        networks = {vif.network for vm in vms for vif in state.where(VIF, "VM", ref_of(vm))}
        return {network.bridge for ref in networks if (network := state.find(Network, ref)) is not None}

    def waiting(self) -> set[str]:
        """The VMs of which nothing is left to do but to wait: for one that comes, and for some time for one that was asked to end."""
        wanted = {vm: guest for vm, guest in self._guests.items() if guest.stage in ("arrives", "halts")}
        there = self.guests.observe() if wanted else {}
        waiting = {vm for vm, guest in wanted.items() if is_waited_for(guest, there.get(vm))}
        now = time.monotonic()
        self._asked = {vm: self._asked.get(vm, now) for vm in waiting if wanted[vm].stage == "halts"}
        return {vm for vm in waiting if now - self._asked.get(vm, now) < ENDS_WITHIN}

    def start_over(self) -> None:
        """Compare all of it again: after a snapshot, or now and then."""
        replica = self.replica
        replica.bridges |= {network.bridge for network in replica.state.all(Network)} | set(self.datapath.switches()) | set(self._switches)
        replica.vms |= vms_on(replica.state, replica.host) | set(self.guests.observe()) | set(self._guests)

    # --- what is -----------------------------------------------------------------------------------

    def hear(self) -> None:
        """Take in the kernel's news: which switches they concern, and whether the NICs have to be asked again."""
        self._vms |= self.guests.refresh()
        names = self.datapath.refresh()
        bridges = {name for name in names if name in self._switches or self.datapath.switch(name) is not None}
        if others := names - bridges:
            self._facts = None
            bridges |= {name for name, switch in self._switches.items() if switch.uplink and not others.isdisjoint(nics_of(switch.uplink))}
        self._bridges |= bridges

    def look_again(self) -> None:
        """Read all of it from the kernel anew."""
        self.datapath.observe()
        self.hear()
        self._facts = None

    def facts(self) -> tuple[NIC, ...]:
        """The NICs that xenet was given, as they were at the last `hear`. Addresses are told of those alone that xenet keeps its hands off:
        on the others they are about to move, or left over."""
        if self._facts is None:
            self._facts = tuple(self.datapath.nics(self.nics))
        apart = self.replica.hands_off()
        return tuple(nic if nic.device in apart else msgspec.structs.replace(nic, addresses=(), gateway="", dns=()) for nic in self._facts)

    def plan(self, bridges: Iterable[str], vms: Iterable[str]) -> list[Step]:
        """The steps from what is to what is wanted, for these bridges and VMs."""
        bridges, vms = set(bridges), set(vms)
        switches = {name: switch for name in bridges if (switch := self.datapath.switch(name)) is not None}
        observed = HostView(switches, self.observe_guests() if vms else {})
        return diff_views(self.wanted(), observed, bridges, vms, self.borrowed(bridges))

    def observe_guests(self) -> dict[str, GuestView]:
        """The guests that this host has to do with: not those that another one is about to take over."""
        state, host = self.replica.state, self.replica.host
        return {vm: guest for vm, guest in self.guests.observe().items() if not is_due_elsewhere(state, host, guest)}

    def borrowed(self, bridges: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The addresses that NICs which shall be uplinks hold themselves."""
        uplinks = [nic for name in bridges if (want := self._switches.get(name)) and want.uplink for nic in nics_of(want.uplink)]
        return {nic.device: nic.addresses for nic in self.datapath.nics(uplinks)} if uplinks else {}

    # --- acting ------------------------------------------------------------------------------------

    def converge(self) -> list[Step]:
        """Make the host equal to the replica where either changed; the steps that it took. Nothing before the replica was told.

        `failures` then has what did not come to pass, also of earlier times: it is tried again each time.
        """
        self.hear()
        replica = self.replica
        if not replica.told:
            return []
        bridges, vms = self._bridges | self.recompile(replica.bridges, replica.vms), replica.vms | self._vms
        replica.bridges, replica.vms = set(), set()
        self._bridges, self._vms = set(), set()
        steps = self.plan(bridges, vms)
        self.failures, self.lacking = self._carry_out(steps, bridges, vms) if steps else ({}, {})
        return steps

    @property
    def settled(self) -> bool:
        """False where somebody else changed the host while it was acted on, or something failed."""
        return not self._bridges and not self._vms

    def _carry_out(self, steps: Sequence[Step], bridges: set[str], vms: set[str]) -> tuple[dict[str, str], dict[str, str]]:
        """As `failures` and `lacking`."""
        failed = self.do(steps)
        self.hear()
        self._bridges -= bridges
        failures = {failure.step.object: failure.text for failure in failed}
        for step in self.plan(bridges, vms):
            failures.setdefault(step.object, f"not as wanted after all: {self.datapath.command(step)}")
        if failures:
            self._bridges |= bridges
            self._vms |= vms | {failure.step.port.vm for failure in failed if isinstance(failure.step, CreatePort)}
        return failures, {failure.step.object: failure.lacks for failure in failed if failure.lacks}

    def do(self, steps: Sequence[Step]) -> list[StepFailure]:
        """Carry out steps in their order, each with the one who does it."""
        failures: list[StepFailure] = []
        for where, group in groupby(steps, key=lambda step: step.where):
            batch = list(group)
            failures += self._doer(where)(batch)
        return failures

    def _doer(self, where: str) -> Callable[[Sequence[Step]], list[StepFailure]]:
        return {"guests": self._do_guests, "announcer": self._announce}.get(where, self.datapath.do)

    def _do_guests(self, steps: Sequence[Step]) -> list[StepFailure]:
        failures = []
        for step in steps:
            try:
                self._do_guest(step)
            except GuestError as error:
                failures.append(StepFailure(step, str(error), retry=True, lacks=error.kind if isinstance(error, FileMissing) else ""))
        return failures

    def _do_guest(self, step: Step) -> None:
        """Raises GuestError."""
        match step:
            case StartGuest():
                self.guests.start(step.guest)
            case StopGuest():
                self.guests.stop(step.guest.vm)
            case PlugNIC():
                self.guests.plug(step.guest.vm, step.nic)
            case UnplugNIC():
                self.guests.unplug(step.guest.vm, step.nic)
            case SendGuest():
                self.guests.send(step.guest)
            case KeepGuest():
                self.guests.keep(step.guest)
            case HaltGuest():
                self.guests.halt(step.guest.vm)


def _note(views: dict[str, V], name: str, view: V | None) -> None:
    if view is None:
        views.pop(name, None)
    else:
        views[name] = view
