"""What goes wrong while a virtual machine moves to another pool: it runs in exactly one of the two at the end, without a word from anybody."""

import http.client
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from tests.e2e.abroad import Border, border
from tests.e2e.test_kill import DYING, ended, moments
from tests.e2e.test_migration_qemu import received
from tests.e2e.world import Pool, until
from tests.tiny import tiny
from xenet.guests.qemu import SENT

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(
        "XENET_LONG" not in os.environ, reason="it takes minutes: XENET_LONG=1; tests/verbs/test_crossing.py has what the pools decide"
    ),
]
WITHIN = 60.0
"""Seconds for a copy of memory at 10 Mbit/s, on a machine that has other things to do."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Border]:
    tiny()
    with border(tmp_path_factory.mktemp("pools")) as made:
        yield made


@pytest.fixture
def talk(site: Border) -> Iterator[None]:
    """A connection that lives through the test."""
    with closing(site.talk()) as sock:
        sock.sendall(b"before")
        assert received(sock, 6) == b"before"
        yield
        sock.sendall(b"after")
        assert received(sock, 5) == b"after"


@contextmanager
def slowly(site: Border) -> Iterator[str]:
    """The VM is on its way, which takes long for as long as the block runs; the task."""
    source, target = site.where(), site.elsewhere()
    wire = site.pools[source].hosts[source]
    wire.command("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "10mbit", "burst", "32kb", "latency", "50ms")
    try:
        before = sent(site, source)
        task = site.begin(target)
        until(lambda: sent(site, source) not in ("", before) and site.pid(target), WITHIN)
        time.sleep(0.3)
        yield task
    finally:
        wire.command("tc", "qdisc", "del", "dev", "eth0", "root")


def sent(site: Border, host: str) -> str:
    """The journey on which it was last sent from there: an earlier one's stands as well, where that failed."""
    file = site.folder(host) / SENT
    return file.read_text() if file.exists() else ""


def result(pool: Pool, task: str) -> dict[str, Any]:
    until(lambda: pool.api.task.get_status(task) != "pending", 90)
    return dict(pool.api.task.get_record(task))


def test_the_guest_that_awaits_it_dies(site: Border, talk: None) -> None:
    source, target = site.where(), site.elsewhere()
    with slowly(site) as task:
        pid = site.pid(target)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        record = result(site.pools[source], task)
    assert record["status"] == "failure", record
    # Who says it first: this pool's host, or the other pool.
    assert "could not be sent" in record["error_info"][1] or record["error_info"][-1] == "it did not arrive", record["error_info"]
    until(site.settled, WITHIN)
    assert site.where() == source
    assert site.answers()


def test_the_guest_that_is_sent_dies(site: Border) -> None:
    """It starts anew where it was, and nothing of it is there."""
    source = site.where()
    with slowly(site) as task:
        pid = site.pid(source)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert result(site.pools[source], task)["status"] == "failure"
    until(site.settled, 60)
    assert site.where() == source
    assert site.pid(source) != pid
    site.talk().close()


def test_the_other_server_is_away_for_a_while(site: Border, talk: None) -> None:
    """The guest arrives nevertheless, and this pool hears of it later."""
    source, target = site.where(), site.elsewhere()
    with slowly(site) as task:
        site.pools[target].kill("server")
    until(lambda: site.status(source) == "postmigrate", WITHIN)
    until(site.answers)
    assert site.pools[source].api.task.get_status(task) == "pending"
    assert site.pools[source].api.VM.get_current_operations(site.vm) != {}, "it cannot be touched here"
    site.restart(target)
    assert result(site.pools[source], task)["status"] == "success"
    until(site.settled, WITHIN)
    assert site.where() == target
    assert site.answers()


def test_this_server_is_killed_and_starts_again(site: Border, talk: None) -> None:
    source, target = site.where(), site.elsewhere()
    with slowly(site):
        site.pools[source].kill("server")
    until(lambda: site.status(source) == "postmigrate", WITHIN)
    site.restart(source)
    until(site.settled, WITHIN)
    assert site.where() == target
    assert site.answers()


def test_it_is_handed_over_and_dies_before_anybody_hears(site: Border, talk: None) -> None:
    """The other pool's server and agent are dead when it arrives, and then its guest is, too: it goes on where it came from."""
    source, target = site.where(), site.elsewhere()
    places = [site.pools[name].host(name) for name in (source, target)]
    with slowly(site) as task:
        for name in ("server", target):
            site.pools[target].kill(name)
    until(lambda: site.status(source) == "postmigrate", WITHIN)
    pid = site.pid(target)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    time.sleep(1)
    assert site.status(source) == "postmigrate", "nobody has said yet that it is not there"
    site.restart(target)
    record = result(site.pools[source], task)
    assert record["error_info"] == ["VM_MIGRATE_FAILED", site.vm, *places, "it did not arrive"]
    until(site.settled, WITHIN)
    assert site.where() == source
    assert site.answers()


def test_the_wire_between_the_hosts_is_cut(site: Border) -> None:
    """Nobody says anything: when the time is over, it is called back here, and what awaits it there is ended."""
    source, target = site.where(), site.elsewhere()
    with slowly(site) as task:
        site.switch.ip("link", "set", target, "down")
    try:
        until(lambda: site.pools[source].api.task.get_status(task) != "pending", 150)
    finally:
        site.switch.ip("link", "set", target, "up")
    assert site.pools[source].api.task.get_record(task)["error_info"][0] == "VM_MIGRATE_FAILED"
    until(site.settled, 90)
    assert site.where() == source
    assert site.answers()


@pytest.mark.parametrize("victim", ["this server", "the other server", "this agent", "the other agent"])
def test_kill_at_every_moment(site: Border, tmp_path: Path, victim: str, talk: None) -> None:
    deaths = 0
    for moment in moments(step=1):
        host = site.where() if "this" in victim else site.elsewhere()
        name = "server" if "server" in victim else host
        died = struck(site, host, name, tmp_path / "mark", moment)
        until(site.settled, 120)
        until(site.answers)  # an agent that dies before it speaks leaves that to the guest
        if not died:
            break
        deaths += 1
    assert deaths >= 8


def struck(site: Border, host: str, name: str, mark: Path, moment: int) -> bool:
    """Whether the process died at this moment of a move; it runs again, as it should, when this returns."""
    here, pool = site.pools[site.where()], site.pools[host]
    pool.kill(name)
    site.restart(host, sys.executable, str(DYING), str(mark), str(moment))
    target = site.elsewhere()
    mark.touch()
    try:
        task = attempt(lambda: site.begin(target))
        end = time.monotonic() + 90
        while not ended(pool.processes[name]) and (task is None or attempt(lambda: here.api.task.get_status(task)) in (None, "pending")):
            assert time.monotonic() < end
    finally:
        mark.unlink()
    died = ended(pool.processes[name])
    if died:
        pool.processes.pop(name)
        site.restart(host)
    return died


def attempt(call: Callable[[], str]) -> str | None:
    """None where it is cut off, or refused."""
    try:
        return call()
    except (XenAPI.Failure, OSError, http.client.HTTPException):
        return None
