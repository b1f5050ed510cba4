"""The API's door on the host's management address.

The server may live in another network namespace, so the agent makes the listening socket, where the address is, and hands it over
(unix(7), SCM_RIGHTS). The connections are the server's; a dead agent closes no door.
"""

import errno
import json
import logging
import socket
from pathlib import Path

from xenet.plan.reach import Reach

log = logging.getLogger("xenet.agent")
IP_FREEBIND = 15
"""ip(7): an address may be bound that is about to be there."""


class Door:
    """What this host's door is now; `keep` brings it to where it shall be."""

    def __init__(self, link: str) -> None:
        self._path = str(Path(link).with_name("doors"))
        self._open: tuple[str, int] | None = None
        self.failures: dict[str, str] = {}
        """The PIF on whose address the API does not answer -> why."""

    def forget(self) -> None:
        """A new server knows of no door."""
        self._open = None

    def keep(self, host: str, reach: Reach | None, port: int) -> None:
        """Have the API answer on the management address, and no longer on the one before. Without a management interface: nowhere here;
        with one that has no address yet the one before stays."""
        address = reach.address if reach else ""
        wanted = (address, port)
        if wanted == self._open or not port or (reach and not address):
            return
        try:
            self._hand_over(host, listening(address, port) if address else None)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                self.failures = {reach.pif: f"the API does not answer on {address} port {port}: {error.strerror}"} if reach else {}
                return
            log.info("%s port %d is listened on already", address, port)
        self._open, self.failures = wanted, {}

    def _hand_over(self, host: str, door: socket.socket | None) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as way:
            way.connect(self._path)
            socket.send_fds(way, [json.dumps({"host": host}).encode()], [door.fileno()] if door else [])
        if door:
            door.close()


def listening(address: str, port: int) -> socket.socket:
    """A TCP socket that listens there, in this process's namespace. Raises OSError."""
    door = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        door.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
        door.bind((address, port))
        door.listen(128)
    except OSError:
        door.close()
        raise
    return door
