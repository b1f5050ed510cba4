"""The ports of a VM that moves: offered by the host that it leaves, seated by the host that it comes to.

Which host has the guest is told by nothing but the devices: a port whose alias says `moving` may have the guest's NIC or not, and any other
has it. So an agent that was killed in between, or whose operation was taken back, sees what is left to do.
"""

import errno
from collections.abc import Mapping, Sequence

from xenet.datapath.batch import TROUBLE, Refused, failure_of
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import set_link
from xenet.datapath.mark import port_alias, port_view
from xenet.datapath.namespaces import Guests
from xenet.datapath.netlink import DELADDR, NEWROUTE, NetlinkError, Request, Socket
from xenet.datapath.seats import beyond_reach, swap
from xenet.plan.steps import OfferPort, SeatPort, StepFailure
from xenet.plan.view import PortView

_CARRIER_WITHIN = 0.05
"""Seconds in which a device has its carrier after the other end has come up."""


class Handover:
    """The steps on such ports, several at once; every method says which failed."""

    def __init__(self, kernel: Kernel, guests: Guests) -> None:
        self._kernel = kernel
        self._guests = guests

    def offer(self, steps: Sequence[OfferPort]) -> list[StepFailure]:
        """Note that another host may take the guest's ends."""
        return self._note(steps, {})

    def seat(self, steps: Sequence[SeatPort]) -> list[StepFailure]:
        """All of a guest in one send; then the note is taken off those that went well."""
        errors: dict[str, Exception] = {}
        for vm in dict.fromkeys(step.port.vm for step in steps):
            errors |= self._seat(vm, [step.port for step in steps if step.port.vm == vm])
        return self._note(steps, errors)

    def _seat(self, vm: str, ports: Sequence[PortView]) -> dict[str, Exception]:
        """What went wrong, by device."""
        errors: dict[str, Exception] = {}
        asked: list[tuple[str, Request]] = []
        for port in ports:
            try:
                asked += [(port.device, request) for request in self._swap(port)]
            except TROUBLE as error:
                errors[port.device] = error
        guest = self._guests.socket(vm) if asked else None
        if guest is not None:
            refused = _carry_out(guest, asked)
            again = [(device, beyond_reach(request)) for device, request, _ in refused if request.kind == NEWROUTE]
            refused = [refusal for refusal in refused if refusal[1].kind != NEWROUTE] + _carry_out(guest, again)
            errors |= {device: error for device, _, error in refused}
            self._kernel.await_operation([port.device for port in ports if port.device not in errors and port.up], _CARRIER_WITHIN)
        return errors

    def _swap(self, port: PortView) -> list[Request]:
        link, guest = self._kernel.table.link(port.device), self._guests.socket(port.vm)
        if port.kind == "tap":  # its hypervisor opens it
            return []
        if link is None or port_view(link) is None:
            raise Refused(f"{port.device} is not a port of xenet's")
        if guest is None:
            raise Refused(f"VM {port.vm} does not run here")
        return swap(guest, link.peer, f"eth{port.index}")

    def _note(self, steps: Sequence[OfferPort | SeatPort], errors: Mapping[str, Exception]) -> list[StepFailure]:
        failures = [failure_of(step, errors[step.port.device]) for step in steps if step.port.device in errors]
        well = [step for step in steps if step.port.device not in errors]
        outcomes = self._kernel.do([set_link(step.port.device, alias=port_alias(step.port)) for step in well])
        for step in well:
            if not step.port.up:
                self._kernel.ask(step.port.device)
        return failures + [failure_of(step, error) for step, error in zip(well, outcomes, strict=True) if error]


def _carry_out(guest: Socket, asked: Sequence[tuple[str, Request]]) -> list[tuple[str, Request, NetlinkError]]:
    """What was refused, for which device. An address that is gone or there already is as it shall be."""
    outcomes = guest.do_at_once([request for _, request in asked]) if asked else []
    refused = [(device, request, error) for (device, request), error in zip(asked, outcomes, strict=True) if error]
    return [refusal for refusal in refused if refusal[1].kind != DELADDR and refusal[2].errno != errno.EEXIST]
