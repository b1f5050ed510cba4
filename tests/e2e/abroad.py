"""Two pools of one host each at a physical switch, with a router, and a QEMU guest that is moved from the one to the other."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import XenAPI

from tests.e2e.echoes import ADDRESS
from tests.e2e.machine import console, record
from tests.e2e.world import Pool, links, pool, until
from tests.e2e.yard import ROUTER, answers
from tests.netns import Namespace, cable, namespaces
from tests.tiny import BOOTS_WITHIN, ECHO
from xenet.guests import held
from xenet.guests.machine import MONITOR
from xenet.guests.qemu import LOCK
from xenet.guests.qmp import QMP

HOSTS = ("host1", "host2")
"""Each the only one of its pool."""


class Border:
    """The two pools, by their hosts' names, and the VM: started on host1 and booted."""

    def __init__(self, pools: dict[str, Pool], switch: Namespace, router: Namespace) -> None:
        self.pools, self.switch, self.router = pools, switch, router
        here = pools["host1"]
        self.vm = str(here.api.VM.create(record("machine")))
        self.mac = str(here.api.VIF.get_MAC(here.vif(self.vm, here.external())))
        self.uuid = str(here.api.VM.get_uuid(self.vm))
        here.api.VM.start_on(self.vm, here.host("host1"), False, False)
        until(lambda: "ready" in console(here, "host1", self.uuid), BOOTS_WITHIN)

    def talk(self) -> socket.socket:
        """A connection from the router to the guest's echo, which listens when it has booted."""
        return until(self._talk, BOOTS_WITHIN)

    def _talk(self) -> socket.socket | None:
        with suppress(ConnectionError, TimeoutError):
            return self.router(socket.create_connection, (ADDRESS, ECHO), 2)
        return None

    def where(self) -> str:
        """The host of the pool that has the VM; it is in one alone, and runs there."""
        (name,) = [name for name in HOSTS if self.vm in self.pools[name].api.VM.get_all()]
        assert self.pools[name].api.VM.get_power_state(self.vm) == "Running"
        return name

    def elsewhere(self) -> str:
        return next(name for name in HOSTS if name != self.where())

    def arguments(self, target: str) -> tuple[Any, ...]:
        """Of VM.migrate_send to the other pool."""
        here, there = self.pools[next(name for name in HOSTS if name != target)], self.pools[target]
        network = there.external()
        dest = there.api.host.migrate_receive(there.host(target), network, {})
        return self.vm, dest, True, {}, dict.fromkeys(here.api.VM.get_VIFs(self.vm), network), {}

    def begin(self, target: str) -> str:
        """The task, of the pool that it leaves."""
        here = self.pools[self.where()]
        return str(here.api.Async.VM.migrate_send(*self.arguments(target)))

    def move(self, target: str) -> dict[str, Any]:
        """The task as it ended."""
        here = self.pools[self.where()]
        task = self.begin(target)
        until(lambda: here.api.task.get_status(task) != "pending", 90)
        return dict(here.api.task.get_record(task))

    def port_of_it(self) -> str:
        """Behind which port of the physical switch it is, as that has learned."""
        table = json.loads(self.switch.command("bridge", "-j", "fdb", "show", "br", "sw"))
        return next((str(entry["ifname"]) for entry in table if entry["mac"] == self.mac), "")

    def pid(self, host: str) -> int | None:
        return held.holder(self.folder(host) / LOCK)

    def folder(self, host: str) -> Path:
        return self.pools[host].folder / host / "machines" / self.uuid

    def devices(self, host: str) -> set[str]:
        found = links(self.pools[host].hosts[host])
        return {name for name, link in found.items() if f"vm={self.uuid}" in link.get("ifalias", "")}

    def settled(self) -> bool:
        """In one pool, by no call in flight; one process and one device, on its host."""
        with suppress(ValueError, AssertionError, XenAPI.Failure):
            home = self.where()
            api = self.pools[home].api
            busy = [api.VM.get_current_operations(self.vm), *map(api.VIF.get_current_operations, api.VM.get_VIFs(self.vm))]
            tap = {f"tap{api.VM.get_domid(self.vm)}.0"}
            return (
                not any(busy)
                and api.VM.get_blocked_operations(self.vm) == {}
                and all(
                    (self.pid(host) is not None) == (host == home)
                    and self.devices(host) == (tap if host == home else set())
                    and self.folder(host).exists() == (host == home)
                    for host in HOSTS
                )
            )
        return False

    def status(self, host: str) -> str:
        """What the guest's process there says of it."""
        with QMP(self.folder(host) / MONITOR) as qmp:
            return str(qmp.run("query-status")["status"])

    def restart(self, host: str, *program: str) -> None:
        """What was killed of this host's pool."""
        made = self.pools[host]
        if "server" not in made.processes:
            made.start_server(*program)
        if host not in made.processes:
            made.start_agent(host, *program)
        made.wait_for(host)

    def answers(self) -> bool:
        return answers(self.router, ADDRESS)


@contextmanager
def border(folder: Path) -> Iterator[Border]:
    folders = [folder / "one", folder / "two"]
    for each in folders:
        each.mkdir()
    with namespaces(4) as (one, two, switch, router), pool(folders[0]) as first, pool(folders[1]) as second:
        switch.ip("link", "add", "sw", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        switch.ip("link", "set", "sw", "up")
        for place, port in ((one, "host1"), (two, "host2"), (router, "router")):
            cable(place, "eth0", switch, port)
            switch.ip("link", "set", port, "master", "sw")
        router.ip("address", "add", f"{ROUTER}/24", "dev", "eth0")
        for number, (name, place, made) in enumerate(zip(HOSTS, (one, two), (first, second), strict=True)):
            made.listen = made.url.removeprefix("http://").rstrip("/")
            made.start_agent(name, netns=place, extra=("--datapath", "bridge"))
            made.wait_for(name)
            (pif,) = made.api.host.get_PIFs(made.host(name))
            made.api.PIF.reconfigure_ip(pif, "Static", f"10.0.0.{101 + number}", "255.255.255.0", "", "")
        yield Border(dict(zip(HOSTS, (first, second), strict=True)), switch, router)
