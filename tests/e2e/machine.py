"""A QEMU guest in a yard, beside its namespaces: tests.tiny's, at 10.0.0.2; and numbered echo requests to it from the router."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.world import VM_RECORD, Pool, links, until
from tests.e2e.yard import HOSTS, Yard, answers, yard
from tests.tiny import ARGS, BOOTS_WITHIN, MEMORY, tiny
from xenet.guests import held
from xenet.guests.machine import CONSOLE
from xenet.guests.qemu import LOCK

ADDRESS = "10.0.0.2"
_ECHO = struct.Struct("!BBHHH")
_NUMBER = struct.Struct("!I")


def record(name: str, args: str = f"ip={ADDRESS}/24", **other_config: str) -> dict[str, Any]:
    """As VM.create takes it."""
    made = tiny()
    memory = dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min"), str(MEMORY))
    boot = {"PV_kernel": str(made.kernel), "PV_ramdisk": str(made.ramdisk), "PV_args": f"{ARGS} {args}"}
    return {**VM_RECORD, **memory, **boot, "name_label": name, "other_config": {"xenet-guest": "qemu", **other_config}}


class Machine:
    """The VM, started on host1 and booted."""

    def __init__(self, site: Yard) -> None:
        self.site = site
        api = site.pool.api
        self.vm = str(api.VM.create(record("machine")))
        self.vif = site.pool.vif(self.vm, site.pool.external())
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


class Echoes:
    """Echo requests from a place, so many a second, and when each was sent and answered."""

    def __init__(self, place: Any, rate: int) -> None:
        self._socket: socket.socket = place(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.settimeout(0.3)
        self._pause = 1 / rate
        self._stop = threading.Event()
        self.sent: list[float] = []
        self.answered: list[int] = []

    def _send(self) -> None:
        due = time.perf_counter()
        while not self._stop.is_set():
            body = _NUMBER.pack(len(self.sent)) + bytes(20)
            head = _ECHO.pack(8, 0, 0, 0x7E48, 0)
            self.sent.append(time.perf_counter())
            self._socket.sendto(_ECHO.pack(8, 0, _checksum(head + body), 0x7E48, 0) + body, (ADDRESS, 0))
            due = max(due + self._pause, time.perf_counter())
            time.sleep(max(due - time.perf_counter(), 0))

    def _receive(self) -> None:
        while True:
            try:
                packet = self._socket.recv(2048)
            except TimeoutError:
                if self._stop.is_set():
                    return
                continue
            if packet[20] == 0 and packet[24:26] == b"\x7e\x48":
                self.answered.append(_NUMBER.unpack_from(packet, 28)[0])

    def lost(self) -> list[int]:
        answered = set(self.answered)
        return [number for number in range(len(self.sent)) if number not in answered]

    def gap(self) -> float:
        """From the first that was lost to the one after the last that was lost, in ms."""
        lost = self.lost()
        return (self.sent[min(lost[-1] + 1, len(self.sent) - 1)] - self.sent[lost[0]]) * 1000 if lost else 0.0

    def duplicated(self) -> int:
        return len(self.answered) - len(set(self.answered))


@contextmanager
def echoes(place: Any, rate: int = 200) -> Iterator[Echoes]:
    made = Echoes(place, rate)
    threads = [threading.Thread(target=made._send), threading.Thread(target=made._receive)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.2)
        yield made
        time.sleep(0.3)
    finally:
        made._stop.set()
        for thread in threads:
            thread.join()
        made._socket.close()


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
