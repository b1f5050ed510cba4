"""Ports: the devices of VIFs, made, moved and taken out of service a chunk at a time.

A namespace guest's port costs three messages and no question: the pair, asked for in the guest's namespace (the guest's end born up there,
the host's end down and in our group), no link-local address, then all that puts it into service: alias, master, up. So a port that has its
alias is whole, whenever its maker was killed. A limit and a lock are set before the last of them, so that no frame passes without them; a
limit costs six more, a lock a transaction of nftables for the whole chunk. Each message is sent for a whole chunk before the next: an error
belongs to one port, and a message about a device is sent only when the one before it went well, so a name that another device holds is never
touched.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Protocol, TypeVar

from xenet.datapath.batch import TROUBLE, Refused, failure_of
from xenet.datapath.kernel import Kernel
from xenet.datapath.limits import Limits
from xenet.datapath.links import GuestEnd, Link, create_veth, get_link, parse_link, set_link
from xenet.datapath.locks import Locks
from xenet.datapath.mark import DEAD, HOST_MAC, LIVE, is_ours, is_remnant, is_switch, port_alias, port_view
from xenet.datapath.namespaces import Guests
from xenet.datapath.netlink import NetlinkError, Request
from xenet.datapath.tap import NewTap
from xenet.plan.steps import CreatePort, RemovePort, SetPort, Step, StepFailure
from xenet.plan.view import PortView, same_device

S = TypeVar("S", bound=Step)
_CHUNK = 32
"""Ports a chunk: their notifications fit the buffer, and what a kill leaves half-made stays small."""
_TAKEN = (errno.EEXIST, errno.EBUSY, errno.EINVAL)
"""What the kernel says of a name that is taken: to a veth, to a tap where a tap has it, to a tap where another device has it."""
_EXFULL = 54


class LocksOf(Protocol):
    """What holds guests to their addresses."""

    def apply(self, views: Sequence[PortView]) -> dict[str, Exception]: ...


class Making:
    """A port on its way into service, and what stopped it."""

    def __init__(self, step: CreatePort) -> None:
        self.step = step
        self.port = step.port
        self.master: int | None = None
        self.made = False
        self.tap: NewTap | None = None
        self.error: Exception | None = None


class Ports:
    """The steps on ports, several at once; every method says which failed."""

    _free: int | None = 0
    """The master of a port that is out of service."""

    def __init__(self, kernel: Kernel, guests: Guests) -> None:
        self._kernel = kernel
        self._guests = guests
        self._limits = Limits(kernel)
        self._locks: LocksOf = Locks(kernel)

    def _chunks(self, steps: Sequence[S]) -> Iterator[Sequence[S]]:
        for start in range(0, len(steps), _CHUNK):
            yield steps[start : start + _CHUNK]
            self._kernel.drain()
            self._guests.trim()

    def create(self, steps: Sequence[CreatePort]) -> list[StepFailure]:
        """A whole device of the VIF that somebody took out of the bridge goes back in: a new one would cost the guest its addresses."""
        strays = [SetPort(object=s.object, bridge=s.bridge, foreign=s.foreign, port=s.port) for s in steps if self._strayed(s.port)]
        back = {stray.port.device for stray in strays}
        fresh = [step for step in steps if step.port.device not in back]
        return self.move(strays) + [failure for chunk in self._chunks(fresh) for failure in self._create(chunk)]

    def _strayed(self, wanted: PortView) -> bool:
        link = self._kernel.table.link(wanted.device)
        port = port_view(link) if link else None
        return port is not None and same_device(port, wanted)

    def _create(self, steps: Sequence[CreatePort]) -> list[StepFailure]:
        with ExitStack() as taps:
            return self._finish(self._begin(steps, taps))

    def _begin(self, steps: Sequence[CreatePort], taps: ExitStack) -> list[Making]:
        """Devices with their limits, out of service yet."""
        ports = [Making(step) for step in steps]
        self._prepare(ports)
        self._make(_well(ports), taps)
        if taken := [port for port in ports if isinstance(port.error, OSError) and port.error.errno in _TAKEN]:
            self._make(self._make_way(taken), taps)
        self._send(_well(ports), self._prepared)
        self._tell([port for port in _well(ports) if port.port.ethtool])
        self._limit([port for port in _well(ports) if port.port.rate])
        return ports

    def _finish(self, ports: Sequence[Making]) -> list[StepFailure]:
        """Locked, and into service; what failed is taken away again."""
        self._lock(_well(ports))
        self._send(_well(ports), self._served)
        _keep_taps(_well(ports))
        self._discard([port.port.device for port in ports if port.error and port.made])
        return [failure_of(port.step, port.error) for port in ports if port.error]

    def _prepare(self, ports: Sequence[Making]) -> None:
        for port in ports:
            try:
                port.master = self._master(port.step)
            except (Refused, OSError) as error:
                port.error = error

    def _master(self, step: CreatePort | SetPort) -> int | None:
        """The ifindex of what ports are slaves of, None where they are no slaves. Raises Refused."""
        return (self._kernel.theirs(step.bridge) if step.foreign else self._kernel.own(step.bridge)).index

    def _make(self, ports: Sequence[Making], taps: ExitStack) -> None:
        for port in ports:
            try:
                if port.port.kind == "tap":
                    port.tap = taps.enter_context(NewTap(port.port.device))
                else:
                    self._pair(port.port)
                    port.made = True
                port.error = None
            except TROUBLE as error:
                port.error = error

    def _pair(self, view: PortView) -> None:
        guest = self._guests.socket(view.vm)
        if guest is None:
            raise Refused(f"VM {view.vm} does not run here")
        end = GuestEnd(None, guest_name(view), view.mac, view.mtu, not view.moving)
        (refusal,) = self._kernel.do([create_veth(view.device, HOST_MAC, view.mtu, LIVE, end, self._kernel.netns)], guest)
        if refusal:
            raise refusal

    def _prepared(self, port: Making) -> Request:
        """No link-local address, while there is no carrier that could bring one; and what a pair is born with, for a tap."""
        view, mode = port.port, self._kernel.no_link_local(port.port.mtu)
        if port.tap is None:
            return set_link(view.device, addr_gen_mode=mode)
        return set_link(view.device, addr_gen_mode=mode, group=LIVE, mac=HOST_MAC, mtu=view.mtu)

    def _tell(self, ports: Sequence[Making]) -> None:
        if ports:
            self._kernel.drain()
            errors = self._told([port.port for port in ports])
            for port in ports:
                port.error = errors.get(port.port.device)

    def _told(self, views: Sequence[PortView]) -> dict[str, Exception]:
        """Tell the drivers of ports that exist; those that are gone, by device."""
        errors: dict[str, Exception] = {}
        for view in views:
            link = self._kernel.table.link(view.device) if view.ethtool else None
            try:
                if link:
                    self._kernel.drivers.tell(link, view.ethtool)
            except NetlinkError as error:
                errors[view.device] = error
        return errors

    def _limit(self, ports: Sequence[Making]) -> None:
        if ports:
            self._kernel.drain()
            errors = self._limits.apply([port.port for port in ports])
            for port in ports:
                port.error = errors.get(port.port.device)

    def _lock(self, ports: Sequence[Making]) -> None:
        """Also takes away what an earlier port of the same name has left."""
        errors = self._locks.apply([port.port for port in ports])
        for port in ports:
            port.error = errors.get(port.port.device)

    def _served(self, port: Making) -> Request:
        return set_link(port.port.device, alias=port_alias(port.port), master=port.master, up=port.port.up)

    def _send(self, ports: Sequence[Making], request: Callable[[Making], Request]) -> None:
        requests: list[tuple[Making, Request]] = []
        for port in ports:
            try:
                requests.append((port, request(port)))
            except TROUBLE as error:
                port.error = error
        for (port, _), refusal in zip(requests, self._kernel.do([request for _, request in requests]), strict=True):
            port.error = _explained(refusal)

    def _make_way(self, ports: Sequence[Making]) -> list[Making]:
        """Delete what is ours and out of service but still holds a name; the ports that can be tried again."""
        obstacles: set[int] = set()
        for port in ports:
            try:
                obstacles |= self._obstacles(port)
                port.error = None
            except (Refused, OSError) as error:
                port.error = error
        try:
            self._kernel.delete_together(list(obstacles))
        except NetlinkError as error:
            for port in _well(ports):
                port.error = error
        return _well(ports)

    def _obstacles(self, port: Making) -> set[int]:
        """The ifindexes of what holds the name here, and at the guest, if it can go. Raises Refused, OSError."""
        here, there = self._kernel.ask(port.port.device), self._behind(port) if port.port.kind == "namespace" else None
        if here and not is_remnant(here):
            raise Refused(f"{here.name} exists already")
        if (there and not is_remnant(there)) or not (here or there):
            raise Refused(f"the guest's {guest_name(port.port)} exists already")
        return {link.index for link in (here, there) if link}

    def _behind(self, port: Making) -> Link | None:
        """The host's end of what holds the name on the guest's side."""
        guest = self._guests.socket(port.port.vm)
        message = guest.get(get_link(guest_name(port.port))) if guest else None
        return self._kernel.ask(parse_link(message).peer) if message else None

    def _discard(self, devices: Sequence[str]) -> None:
        """Delete what was made for nothing; what does not go now is half-made, and goes with the next `reap`."""
        self._kernel.drain()
        links = (self._kernel.table.link(device) for device in devices)
        with suppress(NetlinkError):
            self._kernel.delete_together([link.index for link in links if link and is_ours(link)])

    def move(self, steps: Sequence[SetPort]) -> list[StepFailure]:
        """Into another bridge, or up or down, with its MTU, its rate and its lock."""
        return [failure for chunk in self._chunks(steps) for failure in self._move(chunk)]

    def _move(self, steps: Sequence[SetPort]) -> list[StepFailure]:
        failures: list[StepFailure] = []
        ready: list[tuple[SetPort, Request]] = []
        for step in steps:
            try:
                ready.append((step, self._moved(step)))
            except TROUBLE as error:
                failures.append(failure_of(step, error))
        # The kernel puts a device into a bridge before it takes it down: a disabled VIF would be up there for a moment.
        self._kernel.do([set_link(step.port.device, up=False) for step, _ in ready if not step.port.up])
        errors = self._locks.apply([step.port for step, _ in ready])
        errors |= self._limits.apply([step.port for step, _ in ready])
        errors |= self._told([step.port for step, _ in ready])
        failures += [failure_of(step, errors[step.port.device]) for step, _ in ready if step.port.device in errors]
        ready = [(step, request) for step, request in ready if step.port.device not in errors]
        return failures + _failures([step for step, _ in ready], self._kernel.do([request for _, request in ready]))

    def _moved(self, step: SetPort) -> Request:
        master, link = self._master(step), self._port(step.port.device)
        mode = self._kernel.no_link_local(min(link.mtu, step.port.mtu))
        return set_link(link.index, master=master, up=step.port.up, mtu=step.port.mtu, addr_gen_mode=mode)

    def _port(self, device: str) -> Link:
        link = self._kernel.table.link(device)
        if link is None:
            raise Refused(f"there is no device {device}")
        if port_view(link) is None:
            raise Refused(f"{device} is not a port of xenet's")
        return link

    def remove(self, steps: Sequence[RemovePort]) -> list[StepFailure]:
        """Out of service at once: both ends down, out of the bridge, in the group that `reap` deletes. One that is gone is no failure."""
        return [failure for chunk in self._chunks(steps) for failure in self._remove(chunk)]

    def _remove(self, steps: Sequence[RemovePort]) -> list[StepFailure]:
        failures: list[StepFailure] = []
        ready: list[tuple[RemovePort, Link]] = []
        for step in steps:
            link = self._kernel.table.link(step.port.device)
            if link and (is_switch(link) or not is_ours(link)):
                failures.append(failure_of(step, Refused(f"{link.name} is not a port of xenet's")))
            elif link and link.group != DEAD:
                ready.append((step, link))
        outcomes = self._kernel.do([set_link(link.index, master=self._free, up=False, group=DEAD) for _, link in ready])
        for _, link in ready:
            if not link.up and not link.master:
                self._kernel.ask(link.index)
        self._lower_guests(ready)
        gone = [None if error and error.errno == errno.ENODEV else error for error in outcomes]
        return failures + _failures([step for step, _ in ready], gone)

    def _lower_guests(self, ports: Sequence[tuple[RemovePort, Link]]) -> None:
        """By ifindex, since a guest may have renamed its end. Whatever became of it: the host's end is down, so it has no carrier.

        After the host's end, or a kill in between would leave a port that looks whole and whose guest is cut off.
        """
        for step, link in ports:
            with suppress(OSError):
                if link.kind == "veth" and (guest := self._guests.socket(step.port.vm)):
                    guest.run(set_link(link.peer, up=False))


def guest_name(port: PortView) -> str:
    """The guest's end, as it is born. One that moves in gets its place at the switch-over; until then it is called like the host's."""
    return port.device if port.moving else f"eth{port.index}"


def _keep_taps(ports: Sequence[Making]) -> None:
    for port in ports:
        try:
            if port.tap:
                port.tap.keep()
        except OSError as error:
            port.error = error


def _well(ports: Sequence[Making]) -> list[Making]:
    return [port for port in ports if port.error is None]


def _failures(steps: Sequence[Step], errors: Sequence[NetlinkError | None]) -> list[StepFailure]:
    return [failure_of(step, error) for step, raw in zip(steps, errors, strict=True) if (error := _explained(raw))]


def _explained(error: NetlinkError | None) -> NetlinkError | None:
    if error and error.errno == _EXFULL:
        return NetlinkError(_EXFULL, "the bridge is full: the kernel allows 1,023 ports")
    return error
