"""A QEMU guest in a yard, beside its namespaces: tests.tiny's, at 10.0.0.2 where nothing else is said."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.echoes import ADDRESS
from tests.e2e.world import VM_RECORD, Pool, links, until
from tests.e2e.yard import HOSTS, Yard, answers, yard
from tests.tiny import ARGS, BOOTS_WITHIN, MEMORY, tiny
from xenet.guests import held
from xenet.guests.machine import CONSOLE
from xenet.guests.qemu import LOCK


def record(name: str, args: str = f"ip={ADDRESS}/24", **other_config: str) -> dict[str, Any]:
    """As VM.create takes it."""
    made = tiny()
    memory = dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min"), str(MEMORY))
    boot = {"PV_kernel": str(made.kernel), "PV_ramdisk": str(made.ramdisk), "PV_args": f"{ARGS} {args}"}
    return {**VM_RECORD, **memory, **boot, "name_label": name, "other_config": {"xenet-guest": "qemu", **other_config}}


class Machine:
    """The VM, started on host1 and booted; on the hosts' own network if it is told of no other."""

    def __init__(self, site: Yard, network: str = "", address: str = ADDRESS) -> None:
        self.site = site
        api = site.pool.api
        self.vm = str(api.VM.create(record("machine", f"ip={address}/24")))
        self.vif = site.pool.vif(self.vm, network or site.pool.external())
        self.uuid, self.mac = str(api.VM.get_uuid(self.vm)), str(api.VIF.get_MAC(self.vif))

    def start(self, host: str) -> None:
        self.site.pool.api.VM.start_on(self.vm, self.site.pool.host(host), False, False)
        self.wait_until_booted(host)

    def wait_until_booted(self, host: str) -> None:
        until(lambda: "ready" in console(self.site.pool, host, self.uuid), BOOTS_WITHIN)

    def pid(self, host: str) -> int | None:
        return held.holder(self.site.pool.folder / host / "machines" / self.uuid / LOCK)

    def where(self) -> str:
        return str(self.site.pool.api.host.get_name_label(self.site.pool.api.VM.get_resident_on(self.vm)))

    def elsewhere(self) -> str:
        return next(host for host in HOSTS if host != self.where())

    def move(self, host: str) -> str:
        """The task's result."""
        api = self.site.pool.api
        task = api.Async.VM.pool_migrate(self.vm, self.site.pool.host(host), {})
        until(lambda: api.task.get_status(task) != "pending", 90)
        ended = api.task.get_record(task)
        api.task.destroy(task)
        assert ended["status"] == "success", ended["error_info"]
        return str(ended["result"])

    def migrate(self, host: str) -> None:
        self.site.pool.api.VM.pool_migrate(self.vm, self.site.pool.host(host), {})

    def devices(self, host: str) -> set[str]:
        found = links(self.site.hosts[host])
        return {name for name, link in found.items() if f"vm={self.uuid}" in link.get("ifalias", "")}

    def settled(self) -> bool:
        """No call in flight; one process, on the host where the VM is, with its one device there; nothing on the other."""
        api, home = self.site.pool.api, self.where()
        if api.VM.get_current_operations(self.vm) or api.VIF.get_current_operations(self.vif):
            return False
        tap = {f"tap{api.VM.get_domid(self.vm)}.0"}
        return (
            all((self.pid(host) is not None) == (host == home) and self.devices(host) == (tap if host == home else set()) for host in HOSTS)
            and not (self.site.pool.folder / self.elsewhere() / "machines" / self.uuid).exists()
        )

    def wait_until_answers(self, seconds: float = 20.0) -> None:
        """What it said last, and how its taps are, is told with the failure."""
        try:
            until(self.answers, seconds)
        except AssertionError as error:
            for host, place in self.site.hosts.items():
                error.add_note(f"{host}: {self.pid(host)}, {console(self.site.pool, host, self.uuid)[-400:]}\n{place.ip('-d', '-s', 'link', 'show')}")
            raise

    def answers(self) -> bool:
        """Whether it answers the router and the other VMs, on either host."""
        places = (self.site.router, *self.site.others.values())
        return all(answers(place, ADDRESS) for place in places)


@contextmanager
def running_machine(folder: Path, datapath: str = "bridge") -> Iterator[Machine]:
    """One that has booted on host1 of a yard of its own. Skips the test where there is no QEMU or no kernel for it."""
    tiny()
    with yard(folder, datapath) as site:
        made = Machine(site)
        made.start("host1")
        yield made


def console(pool: Pool, host: str, uuid: str) -> str:
    file: Path = pool.folder / host / "machines" / uuid / CONSOLE
    return file.read_text(errors="replace") if file.exists() else ""
