"""What only a host can answer, from its agent to the caller: what it says, and why where it cannot say it."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from xenet.agent.keeper import Keeper
from xenet.agent.loop import Loop
from xenet.agent.main import fake_nics
from xenet.agent.replica import Replica
from xenet.datapath.base import FDBEntry
from xenet.datapath.fake import FakeDatapath
from xenet.guests.base import FakeGuests
from xenet.link.messages import Hello
from xenet.model.errors import Failure
from xenet.model.network import Network
from xenet.server.main import Server, Settings
from xenet.verbs.catalogue import MESSAGES

ENTRY = FDBEntry("02:00:00:00:61:00", "eth0", 1.5)


class Tables(FakeDatapath):
    """A data plane of which some MAC tables cannot be read."""

    unreadable = ""

    def fdb(self, bridge: str) -> list[FDBEntry]:
        if bridge == self.unreadable:
            raise OSError(1, "Operation not permitted")
        return super().fdb(bridge)


Scenario = Callable[[Server, Tables], Coroutine[Any, Any, None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a scenario against a server and its only host, host1."""

    def run_it(scenario: Scenario) -> None:
        async def life() -> None:
            server = Server(Settings(tmp_path, "127.0.0.1", 0, password="questions"))
            await server.start()
            datapath = Tables(nics=fake_nics(["eth0", "eth1"]))
            keeper = Keeper(Replica(), datapath, FakeGuests())
            agent = asyncio.create_task(Loop(keeper, str(tmp_path / "link"), lambda nics: Hello("h1", "host1", "bridge", "namespace", nics)).run())
            try:
                await server.hosts.arrived.wait()
                await scenario(server, datapath)
            finally:
                agent.cancel()
                await asyncio.wait({agent})
                await server.close()

        asyncio.run(life())

    return run_it


def test_a_mac_table_that_cannot_be_read_is_an_error_with_host_and_reason(run: Callable[[Scenario], None]) -> None:
    async def scenario(server: Server, datapath: Tables) -> None:
        networks = {network.bridge: network.ref for network in server.core.store.snapshot().all(Network)}
        datapath.tables["xenbr0"] = [ENTRY]
        datapath.unreadable = "xenbr1"

        async def fdb(bridge: str) -> Any:
            return await server.core.run(MESSAGES["network.get_fdb"], [networks[bridge]])

        (row,) = await fdb("xenbr0")
        assert (row["host"], row["mac"], row["port"]) == ("host1", ENTRY.mac, "eth0")
        with pytest.raises(Failure) as refused:
            await fdb("xenbr1")
        assert refused.value.description == ["INTERNAL_ERROR", "host1: the MAC table of xenbr1 cannot be read: Operation not permitted"]
        datapath.unreadable = ""
        assert await fdb("xenbr1") == []

    run(scenario)
