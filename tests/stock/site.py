"""A pool of one host with two NICs on one physical switch, for tests of bonds by the published client."""

from typing import Any

from tests.e2e.world import Inside, Pool, links
from tests.netns import Namespace, cable
from tests.stock.bonded import NICS


class Site:
    """A host, the switch that both of its NICs are cabled to and that answers at 10.0.0.254, and another machine with VLAN 42."""

    def __init__(self, made: Pool, host: Namespace, switch: Namespace, other: Namespace) -> None:
        self.pool, self.api = made, made.api
        self.host, self.switch, self.other = host, switch, other
        for number, nic in enumerate(NICS):
            cable(host, nic, switch, f"p{number}")
        cable(other, "eth0", switch, "out")
        switch.ip("link", "add", "sw", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        for port in ("p0", "p1", "out"):
            switch.ip("link", "set", port, "master", "sw")
        switch.ip("address", "add", "10.0.0.254/24", "dev", "sw")
        switch.ip("link", "set", "sw", "up")
        other.ip("link", "add", "link", "eth0", "name", "eth0.42", "type", "vlan", "id", "42")
        other.ip("link", "set", "eth0.42", "up")
        other.ip("address", "add", "10.42.0.254/24", "dev", "eth0.42")
        made.start_agent("host1", netns=host, nics=",".join(NICS))
        made.wait_for("host1")

    def guest(self) -> Inside:
        """A VM on eth0's network, which is the host's management's, too."""
        eth0 = self.pif("eth0")
        self.api.PIF.reconfigure_ip(eth0, "Static", "10.0.0.1", "255.255.255.0", "10.0.0.254", "")
        self.api.host.management_reconfigure(eth0)
        return self.pool.start(self.pool.vm("one", self.api.PIF.get_network(eth0)), "host1", "10.0.0.11/24")

    def pif(self, device: str) -> str:
        return next(ref for ref, pif in self.api.PIF.get_all_records().items() if pif["device"] == device and pif["VLAN"] == "-1")

    def bond(self) -> str:
        (bond,) = self.api.Bond.get_all()
        return str(bond)

    def master(self) -> str:
        return str(self.api.Bond.get_master(self.bond()))

    def up(self) -> str:
        return str(self.api.Bond.get_links_up(self.bond()))

    def cut(self, number: int, cut: bool = True) -> None:
        self.switch.ip("link", "set", f"p{number}", "down" if cut else "up")

    def slaves(self) -> dict[str, Any]:
        seen = links(self.host)
        return {nic: seen[nic]["linkinfo"].get("info_slave_data", {}) for nic in NICS}

    def aggregate(self) -> None:
        """The switch's two ports are one link, on which it speaks LACP."""
        self.switch.ip("link", "add", "lag1", "type", "bond", "mode", "802.3ad", "miimon", "100", "lacp_rate", "fast")
        for port in ("p0", "p1"):
            self.switch.ip("link", "set", port, "down")
            self.switch.ip("link", "set", port, "master", "lag1")
        self.switch.ip("link", "set", "lag1", "master", "sw", "up")

    def separate(self) -> None:
        for port in ("p0", "p1"):
            self.switch.ip("link", "set", port, "nomaster")
            self.switch.ip("link", "set", port, "master", "sw", "up")
        self.switch.ip("link", "delete", "lag1")
