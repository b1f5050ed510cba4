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


class Simulated(msgspec.Struct, frozen=True):
    """A host in memory."""

    uuid: str
    name: str
    nics: tuple[NIC, ...]


def simulated(seed: str, number: int, name: str, nics: Sequence[str]) -> Simulated:
    """The host with this number, from 0."""
    return Simulated(simulated_uuid(seed, name), name, tuple(simulated_nics(number, nics)))


@asynccontextmanager
async def simulated_hosts(link: str, hosts: Sequence[Simulated], guests: str) -> AsyncIterator[None]:
    """These hosts, connected to the server one after the other and as it wants them. They are cut off at the end."""
    tasks: list[asyncio.Task[None]] = []
    try:
        for host in hosts:
            loop = _loop(link, host, guests)
            tasks.append(asyncio.create_task(loop.run()))
            await loop.converged.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _loop(link: str, host: Simulated, guests: str) -> Loop:
    datapath = FakeDatapath(nics=host.nics)
    datapath.observe()
    brought = {nic.device: nic.addresses for nic in host.nics}

    def hello(found: tuple[NIC, ...]) -> Hello:
        told = tuple(msgspec.structs.replace(nic, addresses=brought.get(nic.device, ())) for nic in found)
        return Hello(host.uuid, host.name, "bridge", guests, told)

    return Loop(Keeper(Replica(), datapath, FakeGuests()), link, hello)
