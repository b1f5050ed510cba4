"""The announcer speaks for a guest that has just come, at once, and again with growing pauses.

For a guest of a namespace it does so from the guest's own NIC, with the addresses that are there: its frames take the way of the guest's own.
The socket is opened before the guest comes, as that takes longer than all the rest. For any other guest the datapath speaks, from the host's
side (datapath/base.py), with the addresses that were learned of it.
Either way the host's switch learns where the MAC is, and the frames leave by the uplink, with the VLAN's tag, on the link of the bond that
carries the guest's MAC, past the guest's limits and locks.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from xenet.datapath.addresses import Address, dump_addresses
from xenet.datapath.base import Datapath
from xenet.datapath.links import get_link, link_index
from xenet.datapath.namespaces import packets_in
from xenet.guests.base import Guests
from xenet.plan.announcement import announcement, herald, in_vlan
from xenet.plan.steps import Announce, Step, StepFailure
from xenet.plan.view import PortView

log = logging.getLogger("xenet.agent")
PAUSES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Seconds between one announcement and the next: the first may meet a link that is about to come up, a later one a switch that was busy."""
_NOT_OF_A_NEIGHBOUR = 254
"""Scope host: addresses that nobody else may see."""
AddressesOf = Callable[[PortView], Sequence[str]]
"""What is known of the guest behind a port, without prefix lengths."""


class Mouth:
    """A guest's NIC to speak from: sockets in its namespace."""

    def __init__(self, netns: int) -> None:
        """Raises OSError."""
        self._packets, self._netlink = packets_in(netns)
        self.ready: list[bytes] = []
        """What will be said first: the addresses were asked for beforehand."""

    def addresses(self, nic: str) -> list[str]:
        """Those of the NIC now, without prefix lengths. Raises OSError."""
        message = self._netlink.get(get_link(nic))
        index = link_index(message) if message else 0
        return [address.cidr.partition("/")[0] for address in dump_addresses(self._netlink) if _is_spoken_of(address, index)]

    def say(self, nic: str, frames: Iterable[bytes]) -> None:
        """Raises OSError where the NIC is gone or down."""
        for frame in frames:
            self._packets.sendto(frame, socket.MSG_DONTWAIT, (nic, 0))

    def close(self) -> None:
        self._packets.close()
        self._netlink.close()


def _is_spoken_of(address: Address, index: int) -> bool:
    return address.index == index and address.scope < _NOT_OF_A_NEIGHBOUR


class Announcer:
    """Speaks for the guests of one host, as the event loop's time goes on."""

    def __init__(self, guests: Guests, datapath: Datapath, addresses_of: AddressesOf) -> None:
        self._guests = guests
        self._datapath = datapath
        self._addresses_of = addresses_of
        self._mouths: dict[str, Mouth] = {}
        """By the host's device."""
        self._repeats: dict[str, asyncio.TimerHandle] = {}
        self._held: dict[str, PortView] = {}
        """Ports at which the datapath holds the guest's MAC."""
        self.spoken: dict[str, int] = {}
        """When each was first announced, in nanoseconds of time.time_ns."""

    def get_ready(self, ports: Sequence[PortView]) -> None:
        """These are the ports of VMs that may come here next, or leave: nothing is said for them until they are here. What was ready for others
        is let go."""
        devices = {port.device for port in ports}
        for device in self._mouths.keys() - devices - self._repeats.keys():
            self._mouths.pop(device).close()
            self.spoken.pop(device, None)
        for port in ports:
            if timer := self._repeats.pop(port.device, None):
                timer.cancel()
                self._release(port.device)
            with suppress(OSError):  # it will be tried again when it is needed
                if mouth := self._mouth(port):
                    mouth.ready = announcement(port.mac, mouth.addresses(f"eth{port.index}"))

    def _mouth(self, port: PortView) -> Mouth | None:
        """None for a guest that has no namespace here. Raises OSError."""
        if port.kind == "namespace" and port.device not in self._mouths and (netns := self._guests.netns(port.vm)) is not None:
            try:
                self._mouths[port.device] = Mouth(netns)
            finally:
                os.close(netns)
        return self._mouths.get(port.device)

    def announce(self, steps: Sequence[Step]) -> list[StepFailure]:
        """As steps of a plan. It never fails: a guest that cannot be spoken for will speak itself."""
        for step in steps:
            if isinstance(step, Announce):
                self.announce_port(step.port)
        for vm in dict.fromkeys(step.port.vm for step in steps if isinstance(step, Announce) and step.port.kind == "tap"):
            self._guests.announce(vm)  # what it has to say by itself
        return []

    def announce_port(self, port: PortView) -> None:
        """The guest behind this port is here from now on. Once before this returns; the repeats follow by themselves."""
        self._again(port, PAUSES)
        self._held[port.device] = port
        try:
            self._datapath.hold(port)
        except OSError as error:
            log.debug("%s: %s", port.device, error)

    def _again(self, port: PortView, pauses: tuple[float, ...]) -> None:
        if timer := self._repeats.pop(port.device, None):
            timer.cancel()
        try:
            self._say(port)
        except OSError as error:
            log.debug("%s cannot be announced: %s", port.device, error)
        if pauses:
            later = asyncio.get_running_loop().call_later
            self._repeats[port.device] = later(pauses[0], self._again, port, pauses[1:])
            return
        self._release(port.device)
        self.spoken.pop(port.device, None)
        if mouth := self._mouths.pop(port.device, None):
            mouth.close()

    def _release(self, device: str) -> None:
        if port := self._held.pop(device, None):
            with suppress(OSError):  # the port is gone, or who would hold it
                self._datapath.release(port)

    def _say(self, port: PortView) -> None:
        """Raises OSError."""
        last = herald(port.mac, os.urandom(5))
        if port.kind != "namespace":
            self._datapath.speak(port, [*announcement(port.mac, self._addresses_of(port)), last])
        elif mouth := self._mouth(port):
            nic = f"eth{port.index}"
            mouth.say(nic, [*(mouth.ready or announcement(port.mac, mouth.addresses(nic))), last])
            mouth.ready = []
        else:
            return
        self._say_tagged(port)
        self.spoken.setdefault(port.device, time.time_ns())

    def _say_tagged(self, port: PortView) -> None:
        """In each VLAN of its trunks, where the guest's addresses are not known: past its lock, to which this is no frame of its own."""
        words = [[*announcement(port.mac, ()), herald(port.mac, os.urandom(5))] for _ in port.trunks]
        frames = [in_vlan(frame, tag) for tag, said in zip(port.trunks, words, strict=True) if tag for frame in said]
        if frames:
            self._datapath.speak(port, frames)

    def close(self) -> None:
        for timer in self._repeats.values():
            timer.cancel()
        for device in list(self._held):
            self._release(device)
        for mouth in self._mouths.values():
            mouth.close()
        self._repeats.clear()
        self._mouths.clear()
