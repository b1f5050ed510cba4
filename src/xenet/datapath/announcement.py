"""Announcements out of a device of the host: for MACs behind it that go another way now and have nothing to say just then."""

import socket
from collections.abc import Mapping, Sequence

from xenet.plan.announcement import announcement


def announce(device: str, macs: Mapping[str, Sequence[str]]) -> None:
    """Send what tells switches and neighbours where each MAC is, with what addresses of it are known, in the calling thread's network
    namespace. Raises OSError."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as wire:
        wire.bind((device, 0))
        for mac, addresses in macs.items():
            for frame in announcement(mac, addresses):
                wire.send(frame)
