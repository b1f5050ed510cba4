"""A scripted server on a Unix socket, and an agent's loop that talks with it over a host in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.agent.rig import Rig, snapshot
from tests.plan.states import STATES
from xenet.agent.loop import Loop
from xenet.link.channel import Channel
from xenet.link.messages import FromAgent, Hello, Report
from xenet.model.state import PoolState

WAIT = 10.0
TWO, ROUTER, MOVED = STATES["two VMs on an internal network"], STATES["a router"], STATES["VIFs moved"]


class Server:
    """Accepts agents; the test says what it says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.came: asyncio.Queue[Channel[FromAgent]] = asyncio.Queue()
        self._links: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self.path)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._links.append(writer)
        self.came.put_nowait(Channel(reader, writer, FromAgent))

    async def close(self) -> None:
        """Gone, with its links."""
        if self._server:
            self._server.close()
        self.path.unlink(missing_ok=True)
        for writer in self._links:
            writer.close()
        for writer in self._links:
            with suppress(OSError):
                await writer.wait_closed()

    def write(self, frame: bytes) -> None:
        """Bytes to the last agent that came."""
        self._links[-1].write(frame)

    async def greeted(self) -> Channel[FromAgent]:
        """The next agent, after its first word."""
        channel = await asyncio.wait_for(self.came.get(), WAIT)
        hello = await said(channel)
        assert isinstance(hello, Hello)
        assert [nic.device for nic in hello.nics] == ["eth0", "eth1"]
        return channel


async def said(channel: Channel[FromAgent]) -> FromAgent:
    """What the agent says next."""
    return await asyncio.wait_for(channel.receive(), WAIT)


async def until(true: Callable[[], bool]) -> None:
    end = asyncio.get_running_loop().time() + WAIT
    while not true():
        assert asyncio.get_running_loop().time() < end, "it did not come to pass"
        await asyncio.sleep(0.005)


class Scene:
    """A rig, its loop, and a server."""

    def __init__(self, rig: Rig, server: Server, loop: Loop) -> None:
        self.rig = rig
        self.server = server
        self.loop = loop

    async def settled(self, state: PoolState = TWO) -> Channel[FromAgent]:
        """A server that has said a state, and the agent that has made it so."""
        channel = await self.server.greeted()
        channel.send(snapshot(state))
        assert await said(channel) == Report(1)
        return channel


@asynccontextmanager
async def scene(path: Path) -> AsyncIterator[Scene]:
    rig, server = Rig(), Server(path / "link")
    await server.open()
    loop = Loop(rig.keeper, str(server.path), lambda nics: Hello("here", "here", "bridge", "namespace", nics))
    running = asyncio.create_task(loop.run())
    try:
        yield Scene(rig, server, loop)
        assert not running.done(), "the loop ended by itself"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.close()
        rig.close()


async def perform(path: Path, script: Callable[[Scene], Awaitable[None]]) -> None:
    async with scene(path) as made:
        await script(made)


Play = Callable[[Callable[[Scene], Coroutine[Any, Any, None]]], None]
