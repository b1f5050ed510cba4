"""Asks the guests on switches that snoop what multicast they want to hear, each by its own port alone: when it comes, and from time to time, as what
a switch has learned is forgotten after five minutes, and at once with its ovs-vswitchd. It learns in each VLAN by itself: guests with trunks are
asked in each of theirs.

Only they are asked: a querier of the whole network is a router's business.
"""

import socket
from collections.abc import Mapping
from contextlib import suppress

from xenet.datapath.mark import HOST_MAC
from xenet.datapath.openvswitch.timer import Timer
from xenet.plan.announcement import in_vlan
from xenet.plan.membership import queries

EVERY_S, AGAIN_MS = 60, 1000
"""The pause between questions; and that before the second one to a guest that has just come."""


class Querier:
    """In the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        self._timer = Timer()
        self._frames = queries(HOST_MAC, EVERY_S)
        self._asked: dict[str, tuple[int, ...]] = {}

    def fileno(self) -> int:
        """Readable when `follow` has something to do."""
        return self._timer.fd

    def close(self) -> None:
        self._socket.close()
        self._timer.close()

    def forget(self) -> None:
        """What the switches had learned is lost: all are asked again."""
        self._asked = {}

    def follow(self, devices: Mapping[str, tuple[int, ...]]) -> None:
        """These are the ports of such switches now, each with its trunks: ask those that are new, and all where it is time."""
        due, fresh = self._timer.take(), [device for device, trunks in devices.items() if self._asked.get(device) != trunks]
        for device in devices if due else fresh:
            self._ask(device, devices[device])
        if due or fresh or devices != self._asked:
            self._timer.set((AGAIN_MS if fresh else EVERY_S * 1000) if devices else None)
        self._asked = dict(devices)

    def _ask(self, device: str, trunks: tuple[int, ...]) -> None:
        tagged = [in_vlan(frame, tag) for tag in trunks if tag > 0 for frame in self._frames]
        with suppress(OSError):  # it is down, or just gone
            for frame in (*self._frames, *tagged):
                self._socket.sendto(frame, (device, 0))
