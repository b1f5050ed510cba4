"""Hosts that are models in memory, in the event loop of who runs them: a pool without hardware, root or packets.

They are kept by the same loop and keeper as real hosts and speak to the server by the same link. Their names, MACs, addresses and uuids
follow from their number, so that they are the same at every start.
"""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from xenet.agent.keeper import Keeper
from xenet.agent.loop import Loop
from xenet.agent.replica import Replica
from xenet.datapath.fake import FakeDatapath
from xenet.guests.base import FakeGuests
from xenet.link.messages import Hello
from xenet.model.hidden import NIC

MOST_HOSTS = 250
"""A host's number is a byte of its NICs' MACs and of its address."""


def simulated_nics(number: int, names: Sequence[str]) -> list[NIC]:
    """The NICs of the host with this number, from 0: with carrier, at 1 Gbit/s. The first has an address of the machine's own network
    127.0.0.0/8, where the API can answer without anybody's leave."""
    nics = [NIC(device=name, mac=f"02:00:00:00:{number:02x}:{place:02x}", carrier=True, speed=1000, duplex=True) for place, name in enumerate(names)]
    return [msgspec.structs.replace(nics[0], addresses=(f"127.0.0.{number + 1}/8",)), *nics[1:]]


def simulated_uuid(seed: str, name: str) -> str:
    return str(uuid.UUID(bytes=hashlib.sha256(f"{seed} {name}".encode()).digest()[:16], version=4))


@asynccontextmanager
async def simulated_hosts(link: str, seed: str, names: Sequence[str], nics: Sequence[str], guests: str) -> AsyncIterator[None]:
    """These hosts, connected to the server one after the other and as it wants them. They are cut off at the end."""
    tasks: list[asyncio.Task[None]] = []
    try:
        for number, name in enumerate(names):
            loop = _loop(link, simulated_uuid(seed, name), name, simulated_nics(number, nics), guests)
            tasks.append(asyncio.create_task(loop.run()))
            await loop.converged.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _loop(link: str, identity: str, name: str, nics: list[NIC], guests: str) -> Loop:
    datapath = FakeDatapath(nics=nics)
    datapath.observe()

    def hello(found: tuple[NIC, ...]) -> Hello:
        brought = tuple(msgspec.structs.replace(nic, addresses=first.addresses) for nic, first in zip(found, nics, strict=True))
        return Hello(identity, name, "bridge", guests, brought)

    return Loop(Keeper(Replica(), datapath, FakeGuests()), link, hello)
