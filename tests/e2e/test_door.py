"""The API answers on the hosts' management addresses, wherever the server itself lives."""

import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import XenAPI

from tests.e2e.test_host_addresses import static
from tests.e2e.test_pif_life import Site
from tests.e2e.world import PASSWORD, pool, until
from tests.netns import Namespace, cable, namespaces

pytestmark = pytest.mark.kernel


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with namespaces(2) as (host, router), pool(tmp_path) as made:
        for nic in (0, 1):
            cable(host, f"eth{nic}", router, f"r{nic}")
            router.ip("address", "add", f"10.{nic}.0.254/24", "dev", f"r{nic}")
        made.start_agent("host1", netns=host, nics="eth0,eth1")
        made.wait_for("host1")
        yield Site(made, host, router)


def port(site: Site) -> int:
    return int(site.pool.url.rstrip("/").rpartition(":")[2])


def logged_in_from(namespace: Namespace, address: str, number: int) -> str:
    """The host's name as a client in that namespace reads it through the door."""

    def ask() -> str:
        session = XenAPI.Session(f"http://{address}:{number}")
        try:
            session.login_with_password("root", PASSWORD)
            return str(session.xenapi.host.get_name_label(session.xenapi.host.get_all()[0]))
        finally:
            session("close")()

    return namespace(ask)


def answers(namespace: Namespace, address: str, number: int) -> bool:
    def ask() -> bool:
        connection = http.client.HTTPConnection(address, number, timeout=2)
        try:
            connection.request("OPTIONS", "/jsonrpc")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    return namespace(ask)


def test_the_api_moves_with_the_management_interface(site: Site) -> None:
    api, number = site.pool.api, port(site)
    assert not answers(site.router, "10.0.0.1", number)
    api.host.management_reconfigure(static(site, "eth0", "10.0.0.1", "10.0.0.254"))
    until(lambda: answers(site.router, "10.0.0.1", number))
    assert logged_in_from(site.router, "10.0.0.1", number) == "host1"
    second = static(site, "eth1", "10.1.0.1")
    silence = Silence(site.router, number)
    api.host.management_reconfigure(second)
    until(lambda: answers(site.router, "10.1.0.1", number))
    assert silence.end() < 5.0
    assert not answers(site.router, "10.0.0.1", number)
    site.pool.kill("host1")
    assert answers(site.router, "10.1.0.1", number), "the door is the server's, not the agent's"
    site.pool.start_agent("host1")
    site.pool.wait_for("host1")
    site.pool.kill("server")
    site.pool.start_server()
    site.pool.wait_for("host1")
    until(lambda: answers(site.router, "10.1.0.1", port(site)))
    site.pool.api.host.management_disable()
    until(lambda: not answers(site.router, "10.1.0.1", port(site)))


class Silence:
    """The longest time in which neither address answered a client that reconnects again and again."""

    def __init__(self, router: Namespace, number: int) -> None:
        self.longest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(router, number))
        self._thread.start()

    def _watch(self, router: Namespace, number: int) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            answered = answers(router, "10.0.0.1", number) or answers(router, "10.1.0.1", number)
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now if answered else last

    def end(self) -> float:
        self._stop.set()
        self._thread.join()
        return self.longest
