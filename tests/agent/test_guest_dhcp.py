"""The DHCP server for guests as a process: kept, told of other clients, and what it complains of."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from xenet.agent import guest_dhcp
from xenet.agent.guest_dhcp import GuestDHCP
from xenet.plan.himn import DHCPServer

SERVER = DHCPServer("xenapi", "169.254.0.1", "255.255.0.0", router=True)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


def stand_in(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A shell script in the server's place; it gets the path of the clients' file."""
    monkeypatch.setattr(guest_dhcp, "command", lambda server, hosts, leases: ["sh", "-c", script, "sh", str(hosts)])


def test_a_server_that_cannot_run_is_tried_again_and_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in(monkeypatch, f"echo >> {tmp_path}/runs; echo no such program >&2; exit 1")
    monkeypatch.setattr(guest_dhcp, "AGAIN", 0.01)

    async def walk() -> None:
        server = GuestDHCP(tmp_path)
        server.follow(SERVER)
        await until(lambda: (tmp_path / "runs").exists() and (tmp_path / "runs").stat().st_size >= 3)
        await server.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(walk())
    assert [record.message for record in caplog.records if record.name == "xenet.agent"] == ["no DHCP server for guests: no such program"]


def test_other_clients_are_read_by_the_same_process_and_others_begin_when_it_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port is free only then."""
    log = tmp_path / "log"
    stand_in(
        monkeypatch,
        f"trap 'cat $1 >> {log}' HUP; trap 'sleep 0.1; echo end >> {log}; exit 0' TERM; echo begin >> {log}; while :; do sleep 0.02; done",
    )

    async def walk() -> None:
        server = GuestDHCP(tmp_path)
        server.follow(SERVER)
        await until(lambda: log.exists() and log.read_text() == "begin\n")
        server.follow(msgspec.structs.replace(SERVER, leases=(("02:00:00:00:00:01", "169.254.0.2"),)))
        await until(lambda: "169.254.0.2" in log.read_text())
        server.follow(None)
        server.follow(SERVER)
        await until(lambda: log.read_text().count("begin") == 2)
        await server.close()

    asyncio.run(walk())
    assert log.read_text().split()[:4] == ["begin", "02:00:00:00:00:01,169.254.0.2", "end", "begin"]


def test_other_clients_are_told_of_to_one_that_only_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read its clients before we know of its process."""
    log, begin = tmp_path / "log", asyncio.create_subprocess_exec
    stand_in(monkeypatch, f"trap 'cat $1 >> {log}' HUP; trap 'exit 0' TERM; echo begin >> {log}; while :; do sleep 0.02; done")

    async def walk() -> None:
        known = asyncio.Event()

        async def late(*argv: str, **files: Any) -> asyncio.subprocess.Process:
            process = await begin(*argv, **files)
            await known.wait()
            return process

        monkeypatch.setattr(asyncio, "create_subprocess_exec", late)
        server = GuestDHCP(tmp_path)
        server.follow(SERVER)
        await until(lambda: log.exists() and log.read_text() == "begin\n")
        server.follow(msgspec.structs.replace(SERVER, leases=(("02:00:00:00:00:01", "169.254.0.2"),)))
        known.set()
        await until(lambda: "169.254.0.2" in log.read_text())
        await server.close()

    asyncio.run(walk())
    assert log.read_text().split() == ["begin", "02:00:00:00:00:01,169.254.0.2"]
