"""What only a host can answer, from its agent to the caller: what it says, and why where it cannot say it."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

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
from xenet.model.pif import PIF
from xenet.model.types import Ref
from xenet.server.main import Server, Settings
from xenet.verbs.call import Question
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


def test_a_tag_that_somebody_took_a_moment_ago_is_in_use(run: Callable[[Scenario], None]) -> None:
    """Whichever of the messages makes the VLAN; the host has told nothing of it by itself."""

    async def scenario(server: Server, datapath: Tables) -> None:
        network = await server.core.run(MESSAGES["network.create"], [{"other_config": {}}])
        lower = next(pif for pif in server.core.store.snapshot().all(PIF) if pif.device == "eth1")
        for tag, (message, *arguments) in enumerate(
            (
                ("VLAN.create", lower.ref, 0, network),
                ("PIF.create_VLAN", "eth1", network, lower.host, 0),
                ("pool.create_VLAN", "eth1", network, 0),
                ("pool.create_VLAN_from_PIF", lower.ref, network, 0),
            ),
            5,
        ):
            datapath.hardware["eth1"] = replace(datapath.hardware["eth1"], vlans=(tag,))
            with pytest.raises(Failure) as refused:
                await server.core.run(MESSAGES[message], [tag if argument == 0 else argument for argument in arguments])
            assert refused.value.description == ["VLAN_IN_USE", "eth1", str(tag)], message

    run(scenario)


def test_hosts_are_asked_all_at_once(run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is slow to answer keeps the others from nothing."""

    async def scenario(server: Server, _: Tables) -> None:
        all_asked = asyncio.Barrier(3)

        async def answer(host: Ref, question: Question) -> list[dict[str, str]]:
            async with asyncio.timeout(20):
                await all_asked.wait()
            if host == "c":
                raise Failure("CANNOT_CONTACT_HOST", host)
            return [{"host": host}]

        monkeypatch.setattr(server.hosts, "_ask_one", answer)
        with pytest.raises(Failure) as refused:
            await server.hosts.ask(Question((Ref("a"), Ref("b"), Ref("c")), "fdb", "xenbr0", lambda said: said))
        assert refused.value.description == ["CANNOT_CONTACT_HOST", "c"]
        all_asked = asyncio.Barrier(2)
        said = await server.hosts.ask(Question((Ref("a"), Ref("b")), "fdb", "xenbr0", lambda said: said))
        assert said == {"a": [{"host": "a"}], "b": [{"host": "b"}]}

    run(scenario)
