"""The agent's loop: it hears the server and the kernel, lets the keeper act once for all that has come, and reports.

News wake it; between them it sleeps. A lost server changes nothing on the host: packets flow, and the loop tries again.
"""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum

import msgspec

from xenet.agent.keeper import Keeper
from xenet.link.channel import Channel, connect
from xenet.link.messages import Answer, Ask, Delta, FromServer, Hello, Report, Snapshot
from xenet.model.hidden import NIC

log = logging.getLogger("xenet.agent")
REAP_AFTER = 0.3
"""Seconds of quiet before devices taken out of service are deleted: together they cost little, one by one 20 ms each."""
RETRY_AFTER = 2.0
"""Seconds before what failed is tried again."""
AUDIT_EVERY = 300.0
"""Seconds between full dumps, in case a notification was missed."""
RECONNECT = (0.05, 2.0)
"""Seconds between attempts to reach the server: first, and at most."""


class Wake(Enum):
    """What wakes the loop, besides the server."""

    NEWS = "the kernel has news"
    REAP = "devices wait for their deletion"
    RETRY = "something failed"
    AUDIT = "time for a full dump"
    LOST = "the server is gone"


class Loop:
    """Runs a keeper for as long as the process lives."""

    def __init__(self, keeper: Keeper, link: str, hello: Callable[[tuple[NIC, ...]], Hello]) -> None:
        self.keeper = keeper
        self.link = link
        self.hello = hello
        self.inbox: asyncio.Queue[FromServer | Wake] = asyncio.Queue()
        self.converged = asyncio.Event()
        """Set once the host was first made equal to the server's state."""
        self._nics: tuple[NIC, ...] = ()
        self._revision = -1
        self._timers: dict[Wake, asyncio.TimerHandle] = {}

    async def run(self) -> None:
        """Serve one server after the other, for ever."""
        asyncio.get_running_loop().add_reader(self.keeper.datapath.fileno(), self._kernel_news)
        self._after(Wake.AUDIT, AUDIT_EVERY)
        pause = RECONNECT[0]
        while True:
            try:
                welcomed = await self._serve(await connect(self.link))
            except OSError:
                welcomed = False
            pause = RECONNECT[0] if welcomed else min(2 * pause, RECONNECT[1])
            await asyncio.sleep(pause)

    async def _serve(self, channel: Channel[FromServer]) -> bool:
        """Serve one server until it is gone. Whether it ever said what it wants."""
        self._revision = -1
        self.keeper.datapath.observe()
        self._nics = self.keeper.facts()
        channel.send(self.hello(self._nics))
        pump = asyncio.create_task(self._pump(channel))
        try:
            while await self._turn(channel):
                pass
        finally:
            pump.cancel()
            channel.close()
        return self._revision >= 0

    async def _pump(self, channel: Channel[FromServer]) -> None:
        try:
            while True:
                self.inbox.put_nowait(await channel.receive())
        except (asyncio.IncompleteReadError, ConnectionError, OSError, msgspec.MsgspecError) as error:
            log.info("the server is gone: %s", error)
            self.inbox.put_nowait(Wake.LOST)

    async def _turn(self, channel: Channel[FromServer]) -> bool:
        """Take all that has come, act once, report. False when the server is gone."""
        batch = [await self.inbox.get()]
        while not self.inbox.empty():
            batch.append(self.inbox.get_nowait())
        told = False
        for item in batch:
            if isinstance(item, Snapshot | Delta):
                self.keeper.replica.take(item)
                self._revision = item.revision
                told = True
            if isinstance(item, Snapshot) or item is Wake.AUDIT:
                self.keeper.start_over()
        self._act(batch)
        self._report(channel, told, self.keeper.facts() if Wake.NEWS in batch else self._nics)
        self._answer(channel, batch)
        return Wake.LOST not in batch

    def _act(self, batch: list[FromServer | Wake]) -> None:
        if Wake.REAP in batch and self.keeper.datapath.reap():
            self._after(Wake.REAP, REAP_AFTER)
        if Wake.AUDIT in batch:
            self._after(Wake.AUDIT, AUDIT_EVERY)
        failures = self.keeper.converge()
        for uuid, text in failures.items():
            log.warning("%s: %s", uuid, text)
        if failures:
            self._after(Wake.RETRY, RETRY_AFTER)
        if any(isinstance(item, Snapshot | Delta) for item in batch):
            self._after(Wake.REAP, REAP_AFTER)

    def _report(self, channel: Channel[FromServer], told: bool, nics: tuple[NIC, ...]) -> None:
        changed = nics if nics != self._nics else None
        self._nics = nics
        if told or changed is not None:
            channel.send(Report(self.keeper.replica.state.revision, self.keeper.failures, changed))
        if told:
            self.converged.set()

    def _answer(self, channel: Channel[FromServer], batch: list[FromServer | Wake]) -> None:
        for ask in batch:
            if isinstance(ask, Ask):
                channel.send(Answer(ask.id, self._look_up(ask)))

    def _look_up(self, ask: Ask) -> list[dict[str, str]]:
        """The answer to a question; an empty one where the host has nothing by that name."""
        if ask.topic != "fdb":
            return []
        entries = self.keeper.datapath.fdb(ask.subject)
        return [{"mac": e.mac, "port": e.device, "age": f"{e.age:.2f}", "local": "true" if e.local else "false"} for e in entries]

    def _kernel_news(self) -> None:
        if self.inbox.empty():
            self.inbox.put_nowait(Wake.NEWS)

    def _after(self, wake: Wake, seconds: float) -> None:
        """Wake the loop later; a later wish for the same replaces the earlier one."""
        if wake in self._timers:
            self._timers[wake].cancel()
        loop = asyncio.get_running_loop()
        self._timers[wake] = loop.call_later(seconds, self.inbox.put_nowait, wake)
