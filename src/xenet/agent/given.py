"""What the network gives this host: leases by DHCP clients, for IPv4 and IPv6, and what routers advertise."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from xenet.agent.dhcp import Clients
from xenet.agent.dhcp_programs import DHCLIENT, UDHCPC
from xenet.agent.replica import Replica
from xenet.model.hidden import Lease
from xenet.plan.layer3 import dhcp_clients, has_addresses, listeners6


class Given:
    """Of one agent. `changed` is called when there is something new to tell; without a folder for its files there are no clients."""

    def __init__(self, state: Path | None, replica: Replica, advertised: Callable[[str], Lease], changed: Callable[[], None]) -> None:
        self._replica = replica
        self._advertised = advertised
        self._clients = {version: Clients(program, state, changed) for version, program in ((4, UDHCPC), (6, DHCLIENT))} if state else {}

    def follow(self) -> None:
        """Have clients where PIFs want them, once their bridges are there."""
        state, host = self._replica.state, self._replica.host
        wanted = {4: dhcp_clients(state, host), 6: listeners6(state, host, "DHCP")}
        for version, clients in self._clients.items():
            clients.follow(wanted[version])

    def failures(self) -> dict[str, str]:
        """The PIFs that have waited too long for an answer."""
        return {uuid: text for clients in self._clients.values() for uuid, text in clients.failures().items()}

    def waiting(self) -> set[str]:
        """The PIFs that have no answer yet. Nor, until the server has heard of a lease and asked for its address, is anything on the bridge."""
        asking = {uuid for clients in self._clients.values() for uuid in clients.waiting()}
        found = (item for version in self._clients for item in self._by_dhcp(version).items())
        return asking | {uuid for uuid, lease in found if not has_addresses(self._replica.state, uuid, lease)}

    def leases(self) -> dict[str, Lease]:
        """For IPv4, by the PIF's uuid."""
        return self._by_dhcp(4)

    def leases6(self) -> dict[str, Lease]:
        """What DHCPv6 servers gave, with the routers' word on who is the router; what routers gave alone."""
        state, host, leases = self._replica.state, self._replica.host, self._by_dhcp(6)
        asking, listening = (listeners6(state, host, mode) for mode in ("DHCP", "Autoconf"))
        by_dhcp = {uuid: (bridge, leases[uuid]) for bridge, (uuid, _) in asking.items() if uuid in leases}
        routed = {uuid: msgspec.structs.replace(lease, gateway=self._advertised(bridge).gateway) for uuid, (bridge, lease) in by_dhcp.items()}
        return {**routed, **{uuid: self._advertised(bridge) for bridge, (uuid, _) in listening.items()}}

    def _by_dhcp(self, version: int) -> dict[str, Lease]:
        clients = self._clients.get(version)
        return clients.leases() if clients else {}

    async def close(self) -> None:
        for clients in self._clients.values():
            await clients.close()
