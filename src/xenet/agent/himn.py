"""What guests find on the host internal management network: a DHCP server, and the host's API."""

from pathlib import Path

from xenet.agent.door import Door
from xenet.agent.guest_dhcp import GuestDHCP
from xenet.agent.replica import Replica
from xenet.plan.himn import dhcp_server, guests_reach


class Himn:
    """Of one agent; without a folder for its files there is no DHCP server."""

    def __init__(self, state: Path | None, link: str) -> None:
        self._dhcp = GuestDHCP(state) if state else None
        self.door = Door(link)
        """A door of its own, beside the one on the management address."""

    def follow(self, replica: Replica, port: int) -> None:
        """Once the switch is there, with the host's address on it."""
        state, host = replica.state, replica.host
        if self._dhcp:
            self._dhcp.follow(dhcp_server(state, host))
        self.door.keep(f"{host} guests", guests_reach(state, host), port)

    async def close(self) -> None:
        if self._dhcp:
            await self._dhcp.close()
