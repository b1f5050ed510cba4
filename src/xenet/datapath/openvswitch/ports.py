"""Ports of VIFs: the devices are those of the bridge datapath; they come into service once the database has them, and go out of it before."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress

from xenet.datapath.batch import failure_of
from xenet.datapath.kernel import Kernel
from xenet.datapath.limits import Limits
from xenet.datapath.links import set_link
from xenet.datapath.namespaces import Guests
from xenet.datapath.openvswitch.board import Board
from xenet.datapath.openvswitch.control import ask
from xenet.datapath.openvswitch.legs import Legs
from xenet.datapath.openvswitch.place import Place
from xenet.datapath.openvswitch.segments import cut_datagrams
from xenet.datapath.openvswitch.uplinks import Uplinks
from xenet.datapath.ports import Making, Ports, guest_name
from xenet.plan.steps import CreatePort, SetPort, StepFailure
from xenet.plan.view import PortView


class SwitchPorts(Ports):
    """Of one batch: what was begun is finished, or taken away as it is closed."""

    _free = None

    def __init__(self, kernel: Kernel, guests: Guests, uplinks: Uplinks, board: Board, place: Place) -> None:
        super().__init__(kernel, guests)
        self._locks = board.locks
        self._board = board
        self._uplinks = uplinks
        self._userspace = place.userspace
        self._control = place.control
        self._legs = Legs(kernel) if place.userspace else None
        self._limits = self._legs or Limits(kernel)
        self._taps = ExitStack()
        self._begun: dict[str, Making] = {}
        """By device."""
        self._retagged = False
        """Whether a port that was there has other VLANs than before."""

    def close(self) -> None:
        left = [port.port.device for port in self._begun.values() if port.made]
        self._discard(left)
        if self._legs:
            self._legs.close()
        self._taps.close()

    def _master(self, step: CreatePort | SetPort) -> int | None:
        return None

    # --- before the database has them --------------------------------------------------------------

    def begin(self, steps: Sequence[CreatePort]) -> list[StepFailure]:
        strays = {step.port.device for step in steps if self._strayed(step.port)}
        failures = self._build_legs([step for step in steps if step.port.device in strays])
        for chunk in self._chunks([step for step in steps if step.port.device not in strays]):
            made = self._begin(chunk, self._taps)
            self._kernel.drain()
            failures += self._refused(made)
            self._begun |= {port.port.device: port for port in made if port.error is None}
        return failures

    def _refused(self, made: Sequence[Making]) -> list[StepFailure]:
        return self._finish([port for port in made if port.error])

    def lower(self, steps: Sequence[SetPort]) -> list[StepFailure]:
        """Down what shall be down, and what is locked and becomes another port of the switch: no frame passes where its lock is not yet."""
        self._retagged = any(self._changes_trunks(step) for step in steps)
        leaving = [step for step in steps if not step.port.up or ((step.port.lock or step.lock) and self._changes_place(step))]
        self._kernel.do([set_link(step.port.device, up=False) for step in leaving])
        self._kernel.drain()
        if leaving:
            self._let_drain()
        return self._build_legs(steps)

    def _build_legs(self, steps: Sequence[CreatePort | SetPort]) -> list[StepFailure]:
        """What the database will name must be there."""
        errors = self._legs.build([step.port for step in steps]) if self._legs else {}
        return [failure_of(step, errors[step.port.device]) for step in steps if step.port.device in errors]

    def _let_drain(self) -> None:
        """What such a port has sent already goes where it was: ovs-vswitchd answers between two looks at its ports."""
        with suppress(OSError):  # it hangs or is gone: then no frame goes anywhere
            for _ in range(3):
                ask(self._control(), "version")

    def _changes_trunks(self, step: SetPort) -> bool:
        views = (switch.ports.get(step.port.device) for switch in self._board.asked.values())
        return any(view is not None and view.trunks != step.port.trunks for view in views)

    def _forget_ways(self) -> None:
        """ovs-vswitchd says that it is done before it has looked through the ways that it knows of frames: until then they are as before."""
        with suppress(OSError):  # it hangs or is gone: then it knows no ways
            ask(self._control(), "revalidator/wait")

    def _changes_place(self, step: SetPort) -> bool:
        switch = self._board.asked.get(step.bridge)
        return switch is None or step.port.device not in switch.ports or (self._userspace and bool(step.rate) != bool(step.port.rate))

    # --- when it has them --------------------------------------------------------------------------

    def finish(self, steps: Sequence[CreatePort]) -> list[StepFailure]:
        strays = [step for step in steps if step.port.device not in self._begun]
        self._cut_datagrams([step.port for step in strays])
        failures = self.move([SetPort(object=step.object, bridge=step.bridge, port=step.port) for step in strays])
        self._hear_of_down(strays)
        for chunk in self._chunks([step for step in steps if step.port.device in self._begun]):
            ports = [self._begun.pop(step.port.device) for step in chunk]
            self._silence([port.port.device for port in ports])
            self._cut_datagrams([port.port for port in ports])
            failures += self._finish(ports)
            self._hear_of_down(chunk)
        return failures

    def renewed(self) -> set[str]:
        """Devices that were made anew under names that the database has: ovs-vswitchd still holds those before them."""
        return self._begun.keys() & self._board.ports()

    def _hear_of_down(self, steps: Sequence[CreatePort | SetPort]) -> None:
        """The kernel tells nobody of the mark of a device that is down."""
        for step in steps:
            if not step.port.up:
                self._kernel.ask(step.port.device)

    def settle(self, steps: Sequence[SetPort]) -> list[StepFailure]:
        self._silence([step.port.device for step in steps])
        self._cut_datagrams([step.port for step in steps])
        failures = self.move(steps)
        self._hear_of_down(steps)
        if self._retagged:
            self._forget_ways()
        return failures

    def _cut_datagrams(self, ports: Sequence[PortView]) -> None:
        """One that was moved has its place at the guest, one that is new what it was born with."""
        if self._userspace:
            cut_datagrams(self._guests, [(port, guest_name(port)) for port in ports])

    def _silence(self, devices: Sequence[str]) -> None:
        """As a NIC is heard by the host's own stack, so is the host's end of a VIF."""
        self._kernel.drain()
        if self._userspace:
            links = [self._kernel.table.link(device) for device in devices]
            self._uplinks.silence(*(link.index for link in links if link))
