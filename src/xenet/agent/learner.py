"""What an agent learns of the addresses of guests that it cannot look into, by listening to what they say on their devices; told to the server,
so that the host to which a guest goes can speak for it, and clients see them.

A guest decides how much it says, so all of it is bounded: how often one is listened to, how many new addresses one may have in a time
(`ROOM`, `REFILL_S`), how many are kept (plan/claims.py), how often the server is told (Loop). What the server knows is in the replica: a claim is
noted again only when it is REFRESH_S old there, and told when there is something to tell anyway.

A guest with two NICs on one segment may answer for its addresses at both. An address of one VM is at the NIC that it used it from last, or
announced it; an answer from another NIC counts only when the first has been silent about it for SETTLES_S of such answers.
"""

import asyncio
import logging
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress

from xenet.agent.listener import Listener
from xenet.agent.replica import Replica
from xenet.model.hidden import Claim, GuestAddresses
from xenet.model.types import ref_of
from xenet.model.vif import VIF
from xenet.plan.claims import allows, claimed, is_answer, joined
from xenet.plan.view import HostView, PortView

log = logging.getLogger("xenet.agent")
REFRESH_S = 600
ROOM, REFILL_S = 16, 10.0
"""New addresses of a VIF that are taken at once, and seconds after which there is room for another one."""
SLICE_S, MOST = 0.5, 32
"""In so many seconds so many frames of one device are read; who says more is not listened to for DEAF_S."""
DEAF_S = 5.0
SETTLES_S = 60.0
"""Seconds of answers from another NIC of a guest, with no word from the one that has the address, after which it is at the other."""


class Book:
    """What was heard and is not known to the server yet. Times are arguments, in seconds since the epoch."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._fresh: defaultdict[str, dict[str, Claim]] = defaultdict(dict)
        """By VIF, then address."""
        self._room: dict[str, tuple[float, float]] = {}
        """VIF -> for how many new addresses there was room, and when."""
        self._answering: dict[tuple[str, str], tuple[str, float]] = {}
        """VM and address -> the VIF from which it is answered for while another one has it, and since when that one is silent."""

    def hear(self, port: PortView, frame: bytes, now: float) -> bool:
        """A frame from the guest behind a port; whether it claims an address that the server does not know of, or not to be there."""
        address = claimed(frame, port.mac, port.lock)
        if not address:
            return False
        last, answer = self._find(port.vif, address), is_answer(frame)
        others = [vif for vif in self._others(port) if self._find(vif.uuid, address)]
        if answer and last is None and others and not self._outlasts(port, address, now):
            return False
        self._answering.pop((port.vm, address), None)
        rivals = [] if answer and last else [vif.uuid for vif in others if vif.network == self._network(port)]
        if last is not None and now - last.heard < REFRESH_S and not rivals:
            return False
        if last is None and not self._has_room(port.vif, now):
            return False
        for rival in rivals:
            self._fresh[rival].pop(address, None)
        self._fresh[port.vif][address] = Claim(address, int(now))
        return last is None or bool(rivals)

    def _outlasts(self, port: PortView, address: str, now: float) -> bool:
        """Whether a VIF that answers for another's address has done so for long enough."""
        vif, since = self._answering.get((port.vm, address), ("", now))
        if vif != port.vif:
            self._answering[port.vm, address] = port.vif, now
        return vif == port.vif and now - since >= SETTLES_S

    def _others(self, port: PortView) -> list[VIF]:
        """The other VIFs of the port's VM."""
        return [vif for vif in self._replica.state.where(VIF, "VM", ref_of(port.vm)) if vif.uuid != port.vif]

    def _network(self, port: PortView) -> str:
        vif = self._replica.state.find(VIF, ref_of(port.vif))
        return vif.network if vif else ""

    def _find(self, vif: str, address: str) -> Claim | None:
        return self._known(vif).get(address) or self._fresh.get(vif, {}).get(address)

    def _has_room(self, vif: str, now: float) -> bool:
        left, since = self._room.get(vif, (ROOM, now))
        left = min(ROOM, left + (now - since) / REFILL_S)
        self._room[vif] = (left - 1, now) if left >= 1 else (left, now)
        return left >= 1

    def _known(self, vif: str) -> dict[str, Claim]:
        """What the server knows."""
        record = self._replica.state.find(GuestAddresses, ref_of(vif))
        return {claim.address: claim for claim in record.claims} if record else {}

    def news(self) -> dict[str, tuple[Claim, ...]]:
        """What the server does not know, by VIF."""
        for vif, fresh in list(self._fresh.items()):
            known = self._known(vif)
            left = {address: claim for address, claim in fresh.items() if address not in known or known[address].heard < claim.heard}
            if left:
                self._fresh[vif] = left
            else:
                del self._fresh[vif]
        return {vif: tuple(fresh.values()) for vif, fresh in self._fresh.items()}

    def addresses(self, port: PortView) -> list[str]:
        """Of the guest behind a port, those that it may have, and has not taken to another of its NICs on this network."""
        found = joined(tuple(self._known(port.vif).values()), self._fresh.get(port.vif, {}).values())
        taken = {address for vif in self._others(port) if vif.network == self._network(port) for address in self._fresh.get(vif.uuid, ())}
        return [claim.address for claim in found if allows(port.lock, claim.address) and claim.address not in taken]

    def keep(self, vifs: set[str]) -> None:
        """Forget what was heard of any other VIF."""
        for vif in self._fresh.keys() - vifs:
            del self._fresh[vif]
        for vif in self._room.keys() - vifs:
            del self._room[vif]
        self._answering = {key: (vif, since) for key, (vif, since) in self._answering.items() if vif in vifs}


class Learner:
    """Of one agent. `changed` is called when there is something new to tell. Without a listener nothing is heard."""

    def __init__(self, replica: Replica, listener: Listener | None = None) -> None:
        self.book = Book(replica)
        self.changed: Callable[[], None] = lambda: None
        self._listener = listener
        self._ports: dict[str, PortView] = {}
        """By device."""
        self._said: Counter[str] = Counter()
        """Frames by device in this slice of time."""
        self._deaf: dict[str, float] = {}
        """Until when a device is not listened to."""
        self._reading = -1
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, wanted: HostView) -> None:
        """Listen to the guests that this host has now and cannot look into."""
        ports = [port for switch in wanted.switches.values() for port in switch.ports.values() if port.kind != "namespace"]
        self._ports = {port.device: port for port in ports}
        self.book.keep({port.vif for port in ports})
        self._heed()

    def _heed(self) -> None:
        if self._listener is None:
            return
        now = time.monotonic()
        self._deaf = {device: until for device, until in self._deaf.items() if until > now and device in self._ports}
        try:
            self._listener.heed(_indexes(self._ports.keys() - self._deaf.keys()))
        except OSError as error:
            log.warning("guests' addresses are not learned: %s", error)
            self._listener = None
            return
        if self._reading < 0 <= self._listener.fileno():
            self._reading = self._listener.fileno()
            asyncio.get_running_loop().add_reader(self._reading, self._read)

    def _read(self) -> None:
        assert self._listener
        now, new = time.time(), False
        for device, frame in self._listener.heard(MOST):
            self._said[device] += 1
            if port := self._ports.get(device):
                new = self.book.hear(port, frame, now) or new
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SLICE_S, self._next_slice)
        if any(count >= MOST for count in self._said.values()):
            self._deaf |= dict.fromkeys((name for name, count in self._said.items() if count >= MOST), time.monotonic() + DEAF_S)
            self._heed()
        if new:
            self.changed()

    def _next_slice(self) -> None:
        """What is not listened to is listened to again when its time is over."""
        self._said.clear()
        self._timer = None
        if self._deaf:
            self._heed()
            self._timer = asyncio.get_running_loop().call_later(SLICE_S, self._next_slice)

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._reading >= 0:
            asyncio.get_running_loop().remove_reader(self._reading)
        if self._listener:
            self._listener.close()


def _indexes(devices: Iterable[str]) -> list[int]:
    """Of those that are there."""
    found = []
    for device in devices:
        with suppress(OSError):
            found.append(socket.if_nametoindex(device))
    return found
