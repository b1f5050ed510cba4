"""Announcements out of a device of the host: for MACs behind it that go another way now and have nothing to say just then."""

import socket
from collections.abc import Iterable, Mapping, Sequence

from xenet.plan.announcement import announcement


class Voice:
    """Sends frames as they are, in the network namespace of the thread that first does. Its socket is kept: to close one takes 5 to 20 ms,
    since the kernel first waits until nobody can be about to hand it a frame (packet_release, synchronize_net)."""

    def __init__(self) -> None:
        self._wire: socket.socket | None = None

    def say(self, device: str, frames: Iterable[bytes]) -> None:
        """Out of a device. Raises OSError where it is gone or down."""
        if self._wire is None:
            self._wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        for frame in frames:
            self._wire.sendto(frame, socket.MSG_DONTWAIT, (device, 0))

    def announce(self, device: str, macs: Mapping[str, Sequence[str]]) -> None:
        """Say what tells switches and neighbours where each MAC is, with what addresses of it are known. Raises OSError."""
        self.say(device, (frame for mac, addresses in macs.items() for frame in announcement(mac, addresses)))

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
