"""Two hosts and a router at a physical switch: a VM that moves between the hosts, and one on each that stays."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.world import Inside, Pool, links, pool, until
from tests.netns import Namespace, cable, namespaces

HOSTS = ("host1", "host2")
BRIDGE = "xenbr0"
MOVER, ROUTER = "10.0.0.1", "10.0.0.254"


class Yard:
    """The pool, its places, and the VM that moves; the others are 10.0.0.10 on host1 and 10.0.0.11 on host2."""

    def __init__(self, made: Pool, hosts: dict[str, Namespace], switch: Namespace, router: Namespace) -> None:
        self.pool, self.hosts, self.switch, self.router = made, hosts, switch, router
        self.vm = made.vm("mover", made.external())
        self.vif = made.api.VM.get_VIFs(self.vm)[0]
        self.mac = str(made.api.VIF.get_MAC(self.vif))
        self.guest: Inside = made.start(self.vm, HOSTS[0], f"{MOVER}/24")
        self.others: dict[str, Inside] = {}
        for number, host in enumerate(hosts):
            self.others[host] = made.start(made.vm(f"at-{host}", made.external()), host, f"10.0.0.{10 + number}/24")

    def where(self) -> str:
        return str(self.pool.api.host.get_name_label(self.pool.api.VM.get_resident_on(self.vm)))

    def elsewhere(self) -> str:
        here = self.where()
        return next(name for name in self.hosts if name != here)

    def migrate(self, host: str) -> Any:
        return self.pool.api.VM.pool_migrate(self.vm, self.pool.host(host), {"live": "true"})

    def port_of(self, mac: str) -> str:
        """Behind which port of the physical switch this address is; empty where it does not know."""
        table = json.loads(self.switch.command("bridge", "-j", "fdb", "show", "br", "sw"))
        return next((str(entry["ifname"]) for entry in table if entry["mac"] == mac and entry.get("state", "") != "permanent"), "")

    def is_only_on(self, host: str) -> bool:
        """The VM's port is on this host, and the other has no device of it."""
        other = next(name for name in self.hosts if name != host)
        return self._devices(host) == {self.pool.device(self.vif)} and not self._devices(other)

    def _devices(self, host: str) -> set[str]:
        """The devices of the VM on a host, those on their way out included; those of VMs that stay are known by their alias."""
        uuid = self.pool.api.VM.get_uuid(self.vm)
        found = links(self.hosts[host])
        return {name for name, link in found.items() if f"vm={uuid}" in link.get("ifalias", "")}

    def settled(self) -> bool:
        """No call in flight, and the VM is on one host, whole."""
        record = self.pool.api.VIF.get_record(self.vif)
        return not record["current_operations"] and bool(record["currently_attached"]) and self.is_only_on(self.where())

    def settle(self) -> None:
        """Wait until it is settled; what is not yet is told with the failure."""
        try:
            until(self.settled)
        except AssertionError as error:
            devices = {name: self._devices(name) for name in self.hosts}
            operations = [record for record in self.pool.api.task.get_all_records().values() if record["status"] == "pending"]
            error.add_note(f"{self.pool.api.VIF.get_record(self.vif)}\n{self.pool.api.VM.get_record(self.vm)}\n{devices}\n{operations}")
            raise

    def ping(self) -> bool:
        """Whether the router and both other VMs reach the VM that moves, and it the router by its default route."""
        asked = [(place, MOVER) for place in (self.router, *self.others.values())] + [(self.guest, ROUTER)]
        return all(answers(place, address) for place, address in asked)


def answers(place: Any, address: str) -> bool:
    return bool(place(subprocess.run, ["ping", "-q", "-n", "-c1", "-W2", address], capture_output=True).returncode == 0)


@contextmanager
def yard(folder: Path, datapath: str = "bridge", nics: tuple[str, ...] = ("eth0",)) -> Iterator[Yard]:
    """The switch's ports are called like what is behind them, `host1` for its eth0 and `host1-eth1` for another NIC."""
    with namespaces(4) as (one, two, switch, router), pool(folder) as made:
        switch.ip("link", "add", "sw", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        switch.ip("link", "set", "sw", "up")
        ends = [(place, nic, name if nic == "eth0" else f"{name}-{nic}") for name, place in zip(HOSTS, (one, two), strict=True) for nic in nics]
        for place, nic, port in (*ends, (router, "eth0", "router")):
            cable(place, nic, switch, port)
            switch.ip("link", "set", port, "master", "sw")
        router.ip("address", "add", f"{ROUTER}/24", "dev", "eth0")
        for name, place in zip(HOSTS, (one, two), strict=True):
            made.start_agent(name, netns=place, nics=",".join(nics), extra=("--datapath", datapath))
            made.wait_for(name)
        yield Yard(made, dict(zip(HOSTS, (one, two), strict=True)), switch, router)
