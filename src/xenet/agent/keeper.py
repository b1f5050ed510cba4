"""The keeper compares what is wanted with what is observed, acts, reads back what it touched, and says what did not come to pass.

It holds no plan from one time to the next: whatever happened in between, the next comparison starts from what is.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from xenet.agent.replica import Replica
from xenet.datapath.base import Datapath
from xenet.guests.base import GuestError, Guests
from xenet.model.hidden import NIC
from xenet.model.network import Network
from xenet.plan.compile import compile_guests, compile_switch
from xenet.plan.diff import diff_views
from xenet.plan.steps import StartGuest, Step, StepFailure, StopGuest
from xenet.plan.view import GuestView, HostView, SwitchView


class Keeper:
    """Keeps one host equal to its replica of the pool."""

    def __init__(self, replica: Replica, datapath: Datapath, guests: Guests, nics: Sequence[str] = ()) -> None:
        self.replica = replica
        self.datapath = datapath
        self.guests = guests
        self.nics = nics
        self.failures: dict[str, str] = {}
        """What is not as wanted now: uuid of the object -> why."""
        self._switches: dict[str, SwitchView] = {}
        self._guests: dict[str, GuestView] = {}
        self._again: set[str] = set()

    # --- wanted and observed -----------------------------------------------------------------------

    def wanted(self) -> HostView:
        return HostView(self._switches, self._guests)

    def recompile(self, bridges: Iterable[str], vms: Iterable[str]) -> None:
        """Bring the wanted view up to date where the replica changed."""
        state, host = self.replica.state, self.replica.host
        for bridge in bridges:
            switch = compile_switch(state, host, bridge)
            if switch is None:
                self._switches.pop(bridge, None)
            else:
                self._switches[bridge] = switch
        if vms:
            self._guests = {guest.vm: guest for guest in compile_guests(state, host)}

    def start_over(self) -> None:
        """Look at everything again: after a snapshot, or when notifications were lost."""
        self.datapath.observe()
        names = {network.bridge for network in self.replica.state.all(Network)}
        self.replica.bridges |= names | set(self.datapath.switches()) | set(self._switches)
        self.replica.vms |= set(self.guests.observe()) | set(self._guests)
        self.replica.vms.add("")

    def plan(self, bridges: Iterable[str], vms: Iterable[str]) -> list[Step]:
        """The steps from what is to what is wanted, for these bridges and VMs."""
        bridges, vms = set(bridges), set(vms)
        switches = {name: switch for name in bridges if (switch := self.datapath.switch(name)) is not None}
        observed = HostView(switches, self.guests.observe() if vms else {})
        return diff_views(self.wanted(), observed, bridges, vms, self._borrowed(bridges))

    def _borrowed(self, bridges: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The addresses that NICs about to become uplinks still hold."""
        coming = []
        for name in bridges:
            want, have = self._switches.get(name), self.datapath.switch(name)
            if want and want.uplink and (have is None or have.uplink is None):
                coming.append(want.uplink.device)
        return {nic.device: nic.addresses for nic in self.datapath.nics(coming)} if coming else {}

    # --- acting ------------------------------------------------------------------------------------

    def converge(self) -> dict[str, str]:
        """Make the host equal to the replica where either changed; what did not come to pass, by object."""
        replica = self.replica
        news = self.datapath.refresh()
        bridges = replica.bridges | self._again | {name for name in news if name in self._switches or self.datapath.switch(name)}
        bridges |= {name for name, switch in self._switches.items() if switch.uplink and switch.uplink.device in news}
        vms, replica.bridges, replica.vms, self._again = replica.vms, set(), set(), set()
        self.recompile(bridges, vms)
        failures = self._act(bridges, vms)
        self._again = set(bridges) if failures else set()
        self.failures = failures
        return failures

    def _act(self, bridges: set[str], vms: set[str]) -> dict[str, str]:
        vms = vms | self._vms_on(bridges) if vms else vms
        steps = self.plan(bridges, vms)
        if not steps:
            return {}
        failures = {failure.step.object: failure.text for failure in self.do(steps)}
        for step in self.plan(bridges, vms):
            failures.setdefault(step.object, f"not as wanted after all: {step.text}")
        return failures

    def _vms_on(self, bridges: set[str]) -> set[str]:
        return {port.vm for name in bridges if name in self._switches for port in self._switches[name].ports.values()} & set(self._guests)

    def do(self, steps: Sequence[Step]) -> list[StepFailure]:
        """Carry out steps in their order, each with the one who does it."""
        failures: list[StepFailure] = []
        for where, group in groupby(steps, key=lambda step: step.where):
            batch = list(group)
            failures += self.datapath.do(batch) if where == "datapath" else self._do_guests(batch)
        return failures

    def _do_guests(self, steps: Sequence[Step]) -> list[StepFailure]:
        failures = []
        for step in steps:
            try:
                if isinstance(step, StartGuest):
                    self.guests.start(step.guest)
                elif isinstance(step, StopGuest):
                    self.guests.stop(step.guest.vm)
            except GuestError as error:
                failures.append(StepFailure(step, str(error), retry=True))
        return failures

    def facts(self) -> tuple[NIC, ...]:
        """The NICs that xenet was given, as they are."""
        return tuple(self.datapath.nics(self.nics))
