"""A virtual machine that QEMU runs: started and ended by calls, given a NIC while it runs, and moved between two hosts under traffic."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
import XenAPI

from tests.e2e.echoes import ADDRESS, echoes
from tests.e2e.machine import Machine, console, record, running_machine
from tests.e2e.world import until
from tests.tiny import ECHO
from xenet.cli.xe.tasks import members

pytestmark = pytest.mark.kernel
SLACK_MS = 3000
"""What a busy machine may add to the guest's own pause; without an announcement it would be half a minute."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with running_machine(tmp_path_factory.mktemp("pool")) as made:
        yield made


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"PV_kernel": "", "PV_ramdisk": "", "PV_args": ""}, ["VALUE_NOT_SUPPORTED", "PV_kernel", ""]),
        ({"PV_kernel": "boot/vmlinuz"}, ["VALUE_NOT_SUPPORTED", "PV_kernel", "boot/vmlinuz"]),
        ({"PV_ramdisk": "/nowhere"}, ["VALUE_NOT_SUPPORTED", "PV_ramdisk", "/nowhere"]),
    ],
)
def test_what_cannot_start_is_refused(machine: Machine, fields: dict[str, str], complaint: list[str]) -> None:
    pool = machine.site.pool
    vm = pool.api.VM.create({**record("unfit"), **fields})
    pool.vif(vm, pool.external())
    with pytest.raises(XenAPI.Failure) as refused:
        pool.api.VM.start_on(vm, pool.host("host1"), False, False)
    assert refused.value.details[: len(complaint)] == complaint
    assert pool.api.VM.get_power_state(vm) == "Halted"
    uuid = pool.api.VM.get_uuid(vm)
    assert not (pool.folder / "host1" / "machines" / uuid).exists()
    pool.api.VM.destroy(vm)


def test_it_is_on_the_network(machine: Machine) -> None:
    assert machine.answers()
    assert machine.settled()
    assert machine.site.port_of(machine.mac) == "host1"


def test_a_nic_comes_and_goes_while_it_runs(machine: Machine) -> None:
    pool = machine.site.pool
    vif = pool.vif(machine.vm, pool.external(), "1")
    pool.api.VIF.plug(vif)
    until(lambda: "LOWER_UP" in machine.site.hosts["host1"].ip("link", "show", f"tap{pool.api.VM.get_domid(machine.vm)}.1"))
    until(lambda: unplugged(machine, vif), 30)
    pool.api.VIF.destroy(vif)
    until(machine.settled)
    assert machine.answers()


def unplugged(machine: Machine, vif: str) -> bool:
    try:
        machine.site.pool.api.VIF.unplug(vif)
    except XenAPI.Failure as failure:
        assert "does not let go" in str(failure)
        return False
    return True


def test_it_moves_there_and_back_under_traffic(machine: Machine) -> None:
    """Every echo request and a connection: none comes twice, few are lost, the connection lives on."""
    site = machine.site
    with closing(site.router(socket.create_connection, (ADDRESS, ECHO), 20)) as talk:
        for host in ("host2", "host1"):
            with echoes(site.router) as stream:
                talk.sendall(b"x" * 10_000)
                said = members(machine.move(host))
            assert received(talk, 10_000) == b"x" * 10_000
            assert machine.where() == host
            assert "ready" in console(site.pool, host, machine.uuid), "what it said before it came"
            assert site.port_of(machine.mac) == host
            assert stream.duplicated() == 0
            assert said["duplicated"] == "0"
            pause = int(said.get("pause", SLACK_MS))  # on a busy machine QEMU may have ended before it was asked
            assert pause > 0
            assert stream.gap() <= pause + SLACK_MS, said
            until(machine.settled)
            assert machine.answers()


def received(talk: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count and (part := talk.recv(count - len(parts))):
        parts += part
    return parts


def test_it_ends_when_it_is_asked_to(machine: Machine) -> None:
    api = machine.site.pool.api
    api.VM.clean_shutdown(machine.vm)
    assert api.VM.get_power_state(machine.vm) == "Halted"
    until(lambda: all(machine.pid(host) is None and not machine.devices(host) for host in machine.site.hosts))
