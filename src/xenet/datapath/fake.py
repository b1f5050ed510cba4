"""A datapath that is only a model in memory: for tests of what stands above, and for a host that shall have no packets.

It does what the real ones do (`fake_switches` says what a step makes of the host), and on demand what they do at their worst: a step fails, the
process dies between two steps, somebody else changes the host.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from xenet.datapath.base import FDBEntry
from xenet.datapath.batch import Refused, carry_out, failure_of
from xenet.datapath.fake_switches import FakeSwitches
from xenet.model.hidden import NIC, BondLinks, ForeignBridge, Lease
from xenet.plan import steps as s
from xenet.plan.view import BondView, PortView, Settings, SwitchView


class Crash(Exception):
    """The process died here: what was done stays, nothing is reported."""


class FakeDatapath(FakeSwitches):
    """The host that an agent sees."""

    def __init__(self, nics: Iterable[NIC] = (), foreign: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(nics, foreign)
        self.tables: dict[str, list[FDBEntry]] = {}
        """What `fdb` answers."""
        self.routers: dict[str, Lease] = {}
        """What `advertised` answers."""
        self.done: list[s.Step] = []
        """Every step that came to pass, in order."""
        self.spoken: list[tuple[str, tuple[bytes, ...]]] = []
        """What was said for which device, in order."""
        self.deserted: set[str] = set()
        """Ports with nobody at the guest's end."""
        self.held: list[str] = []
        """The devices whose guests' MACs are held."""
        self.unlearned: list[str] = []
        """The devices whose guests' MACs were to be forgotten, in order."""
        self.late = False
        """Whether it takes in late what it has counted, as Open vSwitch does."""
        self._fail: tuple[int, str, bool] | None = None
        self._crash: int | None = None
        self._ways: dict[str, BondLinks] = {}
        self._news, self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    # --- what tests do to it -----------------------------------------------------------------------

    def fail_at(self, k: int, text: str = "made to fail", retry: bool = False) -> None:
        """The k-th step from now fails; 1 is the next one."""
        self._fail = (k, text, retry)

    def crash_at(self, k: int) -> None:
        """After k more steps `do` raises Crash."""
        self._crash = k

    def disturb(self, bridge: str, switch: SwitchView | None) -> None:
        """Somebody else changed this switch (None: deleted it), and the kernel says so."""
        if switch is None:
            self.state.pop(bridge, None)
        else:
            self.state[bridge] = switch
        self._touched.add(bridge)
        os.write(self._bell, b"!")

    # --- Datapath ----------------------------------------------------------------------------------

    def dismantle(self) -> None:
        self.state.clear()

    def observe(self) -> None:
        self._touched |= self.state.keys()

    def fileno(self) -> int:
        return self._news

    def refresh(self) -> set[str]:
        try:
            while os.read(self._news, 4096):
                pass
        except BlockingIOError:
            touched, self._touched = self._touched, set()
            return touched
        raise AssertionError("unreachable: the pipe's other end is this object's own")

    def heed(self, bridge: str, asked: Mapping[str, Settings]) -> None:
        self.drivers.heed(bridge, asked)

    def switches(self) -> dict[str, SwitchView]:
        return {bridge: self.drivers.shown(switch) for bridge, switch in self.state.items()}

    def switch(self, bridge: str) -> SwitchView | None:
        return self.drivers.shown(self.state[bridge]) if bridge in self.state else None

    def nics(self, devices: Sequence[str]) -> list[NIC]:
        return [self.hardware[device] for device in (devices or sorted(self.hardware)) if device in self.hardware]

    def bonds(self) -> list[BondLinks]:
        """Every slave with a cable carries frames, where the mode lets more than one."""
        found = sorted((switch.uplink for switch in self.state.values() if switch.uplink), key=lambda uplink: uplink.device)
        return [_links(uplink.device, uplink.bond, self.hardware) for uplink in found if uplink.bond]

    def bridges(self) -> list[ForeignBridge]:
        return [ForeignBridge(name, 1500) for name in sorted(self.others)]

    def steer(self) -> set[str]:
        known, self._ways = self._ways, {links.device: links for links in self.bonds()}
        return {device for device, links in self._ways.items() if known.get(device, links) != links}

    def foreign(self, bridge: str) -> bool:
        return bridge in self.others

    def advertised(self, bridge: str) -> Lease:
        return self.routers.get(bridge, Lease())

    def fdb(self, bridge: str) -> list[FDBEntry]:
        return list(self.tables.get(bridge, ()))

    def speak(self, port: PortView, frames: Sequence[bytes]) -> None:
        if not any(port.device in switch.ports for switch in self.state.values()):
            raise OSError(f"there is no port {port.device}")
        self.spoken.append((port.device, tuple(frames)))

    def hold(self, port: PortView) -> None:
        self.held.append(port.device)

    def release(self, port: PortView) -> None:
        if port.device in self.held:
            self.held.remove(port.device)

    def unlearn(self, port: PortView) -> Callable[[], None] | None:
        self.unlearned.append(port.device)
        return partial(self.unlearned.append, port.device) if self.late else None

    def has_carrier(self, port: PortView) -> bool:
        return port.device not in self.deserted

    def reap(self) -> int:
        self.dead.clear()
        return 0

    def close(self) -> None:
        os.close(self._news)
        os.close(self._bell)

    def command(self, step: s.Step) -> str:
        return step.text

    def do(self, steps: Sequence[s.Step]) -> list[s.StepFailure]:
        return carry_out(steps, self._run)

    def _run(self, run: Sequence[s.Step]) -> list[s.StepFailure]:
        return [failure for step in run if (failure := self._step(step))]

    def _step(self, step: s.Step) -> s.StepFailure | None:
        if self._crash is not None:
            if self._crash == 0:
                self._crash = None
                raise Crash
            self._crash -= 1
        if self._fail:
            k, text, retry = self._fail
            self._fail = (k - 1, text, retry) if k > 1 else None
            if k == 1:
                return s.StepFailure(step, text, retry)
        try:
            self.act(step)
        except Refused as error:
            return failure_of(step, error)
        self.done.append(step)
        return None


def _links(device: str, bond: BondView, hardware: Mapping[str, NIC]) -> BondLinks:
    up = tuple(slave for slave in bond.slaves if (nic := hardware.get(slave)) and nic.carrier)
    if bond.mode != "active-backup":
        return BondLinks(device, up, up)
    return BondLinks(device, up, (bond.primary,) if bond.primary in up else up[:1])
