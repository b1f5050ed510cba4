"""How long a host's API is silent while its management interface moves: for a client outside that knows both addresses and reconnects at once.

Server and agents are processes and the hosts namespaces, as in a lab. Each move lasts until the new gateway has answered.
"""

import http.client
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.harness import Row, at_most, median
from tests.e2e.world import Inside, Pool, pool, until
from tests.netns import Namespace, cable, namespaces

MOVES = 10
BOUND = 1.0
"""Seconds."""
TIMEOUT = 2.0
"""Seconds that the client waits for one answer."""
NICS = ("eth0", "eth1")


class Client:
    """Connects anew for each question, to the address that answered last, then to the other; `longest` is its longest time without an answer."""

    def __init__(self, router: Namespace, addresses: Sequence[str], port: int) -> None:
        self.longest = 0.0
        self._addresses, self._port = list(addresses), port
        self._stop = threading.Event()
        self._inside = Inside(router.fd)
        self._thread = threading.Thread(target=self._inside, args=(self._ask_on,))
        self._thread.start()

    def _ask_on(self) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            answered = self._answers(self._addresses[0])
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            if answered:
                last = now
            else:
                self._addresses.reverse()

    def _answers(self, address: str) -> bool:
        connection = http.client.HTTPConnection(address, self._port, timeout=TIMEOUT)
        try:
            connection.request("OPTIONS", "/jsonrpc")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    @property
    def at(self) -> str:
        """The address that answers."""
        return self._addresses[0]

    def close(self) -> float:
        self._stop.set()
        self._thread.join()
        self._inside.close()
        return self.longest


def addresses_of(number: int) -> list[str]:
    """A host's, one on each of its NICs."""
    return [f"10.{nic}.0.{number}" for nic in range(len(NICS))]


def addressed(made: Pool, name: str, number: int) -> list[str]:
    """The host's PIFs, each with its address and the gateway; the first is its management interface."""
    api = made.api
    pifs = {api.PIF.get_device(pif): pif for pif in api.host.get_PIFs(made.host(name))}
    for nic, address in zip(NICS, addresses_of(number), strict=True):
        gateway = f"{address.rpartition('.')[0]}.254"
        api.PIF.reconfigure_ip(pifs[nic], "Static", address, "255.255.255.0", gateway, "")
    api.host.management_reconfigure(pifs[NICS[0]])
    return [pifs[nic] for nic in NICS]


def silences(router: Namespace, numbers: Sequence[int], port: int, moves: Sequence[Callable[[], object]]) -> Iterator[float]:
    """Of each move the longest silence of any of the hosts."""
    for move in moves:
        clients = [Client(router, addresses_of(number), port) for number in numbers]
        time.sleep(0.2)
        before = [client.at for client in clients]
        move()
        time.sleep(0.5)
        assert all(client.at != address for client, address in zip(clients, before, strict=True)), "nothing has moved"
        yield max(client.close() for client in clients)


def figures(name: str, seconds: Sequence[float]) -> Iterator[Row]:
    note = f"{len(seconds)} moves there and back, load {os.getloadavg()[0]:.1f}; a client that connects anew for each question; each, in ms: "
    note += ", ".join(f"{value * 1000:.0f}" for value in seconds)
    yield at_most(f"longest silence in {name}", max(seconds), BOUND, "s", note)
    yield Row(f"median silence in {name}", median(seconds) * 1000, "ms")


def run() -> Iterator[Row]:
    with ExitStack() as stack:
        first, second, router = stack.enter_context(namespaces(3))
        made = stack.enter_context(pool(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        for host, number in ((first, 1), (second, 2)):
            for nic, device in enumerate(NICS):
                cable(host, device, router, f"r{number}{nic}")
        for nic in range(len(NICS)):
            router.ip("link", "add", f"lan{nic}", "type", "bridge")
            router.ip("address", "add", f"10.{nic}.0.254/24", "dev", f"lan{nic}")
            for number in (1, 2):
                router.ip("link", "set", f"r{number}{nic}", "master", f"lan{nic}")
            router.ip("link", "set", f"lan{nic}", "up")
        made.start_agent("one", netns=first, nics=",".join(NICS))
        made.start_agent("two", netns=second, nics=",".join(NICS))
        until(lambda: len(made.api.host.get_all()) == 2)
        made.wait_for("one", "two")
        pifs, _ = addressed(made, "one", 1), addressed(made, "two", 2)
        port = int(made.url.rstrip("/").rpartition(":")[2])
        api = made.api
        hosts = [lambda n=n: api.host.management_reconfigure(pifs[(n + 1) % 2]) for n in range(MOVES)]
        yield from figures("host.management_reconfigure", list(silences(router, (1,), port, hosts)))
        networks = [api.PIF.get_network(pif) for pif in pifs]
        pools = [lambda n=n: api.pool.management_reconfigure(networks[(n + 1) % 2]) for n in range(MOVES)]
        yield from figures("pool.management_reconfigure of two hosts", list(silences(router, (1, 2), port, pools)))
