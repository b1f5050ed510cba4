"""kill -9 of the server, of either agent and of either QEMU while a virtual machine moves: it ends on exactly one host, its network works there, and
nothing of it is left on the other.

An agent is started again as soon as it has died, as systemd does it: the switch-over of a QEMU awaits a host that is silent, since its QEMU may
have the guest by then. One that stays away is given up when its time is over.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import XenAPI

from tests.e2e.echoes import ADDRESS
from tests.e2e.machine import Machine, running_machine
from tests.e2e.test_kill import moments, restart, struck
from tests.e2e.world import PASSWORD, until
from tests.e2e.yard import HOSTS
from tests.tiny import BOOTS_WITHIN, ECHO
from xenet.guests.qemu import SENT

pytestmark = pytest.mark.kernel
HASTY = Path(__file__).with_name("hasty.py")
SAMPLED = {"server": (3, 12), "source": (2, 9), "destination": (6, 22)}
WITHIN = 40.0
"""Seconds: less than an operation has."""
LONG = bool(os.environ.get("XENET_LONG"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with running_machine(tmp_path_factory.mktemp("pool")) as made:
        yield made


@pytest.mark.parametrize("victim", ["server", "source", "destination"])
def test_kill_in_a_migration(machine: Machine, tmp_path: Path, victim: str) -> None:
    """It is the same machine all the while: a connection to it lives on."""
    deaths = 0
    for moment in moments(step=1) if LONG else SAMPLED[victim]:
        source, target = machine.where(), machine.elsewhere()
        name = {"source": source, "destination": target}.get(victim, victim)
        with closing(machine.site.router(socket.create_connection, (ADDRESS, ECHO), 20)) as talk:
            died = struck(machine.site.pool, name, tmp_path / "mark", moment, partial(machine.migrate, target), at_once=True)
            until(machine.settled, WITHIN)
            talk.sendall(b"still here")
            assert talk.recv(100) == b"still here", f"killed at moment {moment}"
        machine.wait_until_answers()
        if not died:
            break
        deaths += 1
    assert deaths >= 2


@contextmanager
def moving(machine: Machine) -> "Iterator[Future[list[str]]]":
    """A move to the other host, begun; its future has what it fails with, or nothing."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(moved, machine, machine.elsewhere())


def moved(machine: Machine, target: str) -> list[str]:
    """In a session of its own: the other one looks at the hosts meanwhile."""
    session = XenAPI.Session(machine.site.pool.url)
    try:
        session.login_with_password("root", PASSWORD)
        session.xenapi.VM.pool_migrate(machine.vm, session.xenapi.host.get_by_name_label(target)[0], {})
    except XenAPI.Failure as failure:
        return list(failure.details)
    finally:
        session("close")()
    return []


def test_the_destination_agent_stays_away(machine: Machine) -> None:
    """It dies while the guest is on its way. The call ends when its time is over, and the VM is on the network where it was, before the agent is
    back."""
    world, source, target = machine.site.pool, machine.where(), machine.elsewhere()
    pid, sent = machine.pid(source), world.folder / source / "machines" / machine.uuid / SENT
    world.stop("server")
    restart(world, "server", sys.executable, str(HASTY))
    before = journey(sent)
    with moving(machine) as call:
        until(lambda: journey(sent) != before)
        world.kill(target)
        assert call.result(60) == ["CANNOT_CONTACT_HOST", world.host(target)]
    assert [machine.pid(source), machine.pid(target)] == [pid, None]
    assert machine.answers()
    world.start_agent(target)
    until(machine.settled, WITHIN)
    world.stop("server")
    restart(world, "server")


def journey(sent: Path) -> str:
    return sent.read_text() if sent.exists() else ""


@pytest.mark.parametrize("after", [0.05, 0.4])
def test_the_hypervisor_that_awaits_it_is_killed(machine: Machine, after: float) -> None:
    """The VM stays with its connections; or it had come, and what has come is started anew."""
    site, source, target = machine.site, machine.where(), machine.elsewhere()
    here = machine.pid(source)
    with closing(site.router(socket.create_connection, (ADDRESS, ECHO), 20)) as talk, moving(machine) as call:
        there = until(partial(machine.pid, target))
        time.sleep(after)
        os.kill(there, signal.SIGKILL)
        failure = call.result(90)
        until(machine.settled, WITHIN)
        if machine.where() == source:
            assert failure
            assert machine.pid(source) == here
            talk.sendall(b"still here")
            assert talk.recv(100) == b"still here"
    machine.wait_until_answers(BOOTS_WITHIN)


@pytest.mark.parametrize("after", [0.05, 0.4])
def test_the_hypervisor_that_it_leaves_is_killed(machine: Machine, after: float) -> None:
    """The VM has come, or it is started anew, as one that ends at any other time."""
    here = machine.pid(machine.where())
    assert here
    with moving(machine) as call:
        until(partial(machine.pid, machine.elsewhere()))
        time.sleep(after)
        with suppress(ProcessLookupError):
            os.kill(here, signal.SIGKILL)
        call.result(90)
    until(machine.settled, WITHIN)
    assert machine.site.pool.api.VM.get_power_state(machine.vm) == "Running"
    assert here not in [machine.pid(host) for host in HOSTS]
    machine.wait_until_answers(BOOTS_WITHIN)
