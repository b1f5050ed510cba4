"""The agent's loop: it hears the server and the kernel, lets the keeper act once for all that has come, and reports.

News wake it; between them it sleeps. A lost server changes nothing on the host: packets flow, what somebody else breaks is mended by what
the server said last, and the loop tries to reach it again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TypeAlias

import msgspec

from xenet.agent.account import Account
from xenet.agent.bonds import Bonds
from xenet.agent.door import Door
from xenet.agent.failover import Announce, follow_links
from xenet.agent.given import Given
from xenet.agent.guard import Answers, Guard
from xenet.agent.himn import Himn
from xenet.agent.keeper import Keeper
from xenet.agent.learner import Learner
from xenet.agent.look import TOPICS, look
from xenet.agent.moves import Moves
from xenet.agent.replica import OutOfStep, Replica
from xenet.agent.unusable import complaints
from xenet.link.channel import Channel, connect
from xenet.link.messages import Answer, Ask, Delta, FromServer, Hello, Report, Snapshot
from xenet.model.hidden import NIC, Claim
from xenet.plan.reach import reach_of
from xenet.plan.steps import Step

log = logging.getLogger("xenet.agent")
REAP_AFTER = 0.5
"""Seconds from a device's end of service to its deletion: together they cost little, one by one 20 ms each."""
RETRY_AFTER = 2.0
"""Seconds before what failed is tried again."""
AUDIT_EVERY = 300.0
"""Seconds between full dumps, in case a notification was missed."""
LEARNED_AFTER = 0.5
"""Seconds in which what is learned of guests' addresses is put together before the server is told."""
RECONNECT = (0.05, 2.0)
"""Seconds between attempts to reach the server: first, and at most."""


class Wake(Enum):
    """What wakes the loop, besides the server."""

    NEWS = "the kernel has news"
    REAP = "devices wait for their deletion"
    RETRY = "something failed"
    AUDIT = "time for a full dump"
    LOST = "the server is gone"
    LEASE = "a DHCP server has answered, or has not"
    MOVED = "a VM has come for good"
    LEARNED = "guests have claimed addresses"
    GATEWAY = "the gateway has answered, or has not"


Item: TypeAlias = FromServer | Channel[FromServer] | Wake
"""What comes in: a server that was reached, what it says, and what else wakes the loop, all in one order."""


class Loop:
    """Runs a keeper for as long as the process lives."""

    def __init__(
        self,
        keeper: Keeper,
        link: str,
        hello: Callable[[tuple[NIC, ...]], Hello],
        heard: Callable[[Replica], bool | None] = lambda replica: None,
        state: Path | None = None,
        answers: Answers | None = None,
        moves: Moves | None = None,
        announce: Announce | None = None,
        learner: Learner | None = None,
    ) -> None:
        self.keeper = keeper
        self.link = link
        self.hello = hello
        self.heard = heard
        """Called with what the server said before the host is made so."""
        self.given = Given(state, keeper.replica, keeper.datapath.advertised, lambda: self._wake(Wake.LEASE))
        self.door = Door(link)
        self.learner = learner or Learner(keeper.replica)
        self.learner.changed = lambda: self._after(Wake.LEARNED, LEARNED_AFTER)
        self._claims: dict[str, tuple[Claim, ...]] = {}
        """What of it the server is told."""
        self.moves = moves or Moves(keeper.replica, keeper.guests, keeper.datapath, self.learner.book.addresses)
        self.moves.changed = lambda: self._wake(Wake.MOVED)
        self.himn = Himn(state, link)
        self.guard = Guard(answers, lambda: self._wake(Wake.GATEWAY))
        self._announce = announce
        self._bonds = Bonds(keeper.datapath, announce) if announce else None
        self._port = 0
        self.inbox: asyncio.Queue[Item] = asyncio.Queue()
        self.converged = asyncio.Event()
        """Set once the host was first made equal to the server's state."""
        self._channel: Channel[FromServer] | None = None
        self._account = Account()
        self._timers: dict[Wake, asyncio.TimerHandle] = {}

    async def run(self) -> None:
        """For ever; with one server after the other, and without."""
        news = self.keeper.datapath.fileno()
        guests = self.keeper.guests.fileno()
        asyncio.get_running_loop().add_reader(news, self._wake, Wake.NEWS)
        if guests is not None:
            asyncio.get_running_loop().add_reader(guests, self._wake, Wake.NEWS)
        self._after(Wake.AUDIT, AUDIT_EVERY)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_link())
                tasks.create_task(self._turns())
        finally:
            asyncio.get_running_loop().remove_reader(news)
            if guests is not None:
                asyncio.get_running_loop().remove_reader(guests)
            for timer in self._timers.values():
                timer.cancel()
            self.guard.close()
            self.moves.close()
            self.learner.close()
            if self._bonds:
                self._bonds.close()
            await self.given.close()
            await self.himn.close()

    # --- what comes in -----------------------------------------------------------------------------

    async def _keep_link(self) -> None:
        """One server after the other. A link that does not last (nobody there, no sense in what it says) makes the pauses longer."""
        now, pause = asyncio.get_running_loop().time, RECONNECT[0]
        while True:
            began = now()
            try:
                await self._listen(await connect(self.link))
            except OSError as error:
                log.debug("no server at %s: %s", self.link, error)
            pause = RECONNECT[0] if now() - began > RECONNECT[1] else min(2 * pause, RECONNECT[1])
            await asyncio.sleep(pause)

    async def _listen(self, channel: Channel[FromServer]) -> None:
        """Take in what a server says until it is gone."""
        self.inbox.put_nowait(channel)
        try:
            while True:
                self.inbox.put_nowait(await channel.receive())
        except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError) as error:
            log.info("the server is gone: %s", error)
        finally:
            channel.close()
            self.inbox.put_nowait(Wake.LOST)

    def _wake(self, wake: Wake) -> None:
        """Called over and over while the kernel's news are not taken, so one in the inbox is enough; every turn takes them all."""
        if wake is not Wake.NEWS or self.inbox.empty():
            self.inbox.put_nowait(wake)

    def _after(self, wake: Wake, seconds: float) -> None:
        """Wake the loop later. The earliest wish for the same stands, so that a stream of wishes never puts it off for ever."""
        if wake not in self._timers:
            self._timers[wake] = asyncio.get_running_loop().call_later(seconds, self._ring, wake)

    def _ring(self, wake: Wake) -> None:
        del self._timers[wake]
        self._wake(wake)

    # --- a turn ------------------------------------------------------------------------------------

    async def _turns(self) -> None:
        while True:
            batch = [await self.inbox.get()]
            while not self.inbox.empty():
                batch.append(self.inbox.get_nowait())
            self._turn(batch)

    def _turn(self, batch: list[Item]) -> None:
        """Take all that has come, act once, report; what nobody waits for comes last."""
        began, told = time.time_ns(), [self._take(item) for item in batch]
        if any(told) and self.heard(self.keeper.replica):
            self._leave()
        if self.moves.leaving:  # before all else: who has stayed behind sends to where nobody is
            self.keeper.hear()
            self.moves.see_off()
        steps = self.keeper.converge()
        self._plan_ahead(steps)
        self._follow_bonds()
        if any(told):
            self.given.follow()
            self.himn.follow(self.keeper.replica, self._port)
        if any(told) or self.moves.under_way:
            self.moves.follow(self.keeper.wanted(), began)
        self.moves.see_off()
        if any(told) or steps:
            self.learner.follow(self.keeper.wanted())
        if any(told) or Wake.LEARNED in batch:
            self._claims = self.learner.book.news()
        self._open_door(any(told))
        self._report(any(told))
        for item in batch:
            if isinstance(item, Ask) and item.topic not in TOPICS and self._channel:
                self._channel.send(self._answer(item))
        if Wake.REAP in batch:
            self._reap()

    def _follow_bonds(self) -> None:
        follow_links(self.keeper.datapath, self._announce)
        if self._bonds:
            self._bonds.follow()

    def _take(self, item: Item) -> bool:
        """True for what asks for a report: the server's word on what it wants."""
        if isinstance(item, Channel):
            self._greet(item)
        elif isinstance(item, Snapshot | Delta) and self._channel:
            return self._follow(item)
        elif isinstance(item, Ask) and item.topic in TOPICS and self._channel:  # before anything is mended
            self._channel.send(Answer(item.id, look(self.keeper, item.topic)))
        elif item is Wake.LOST:
            self._channel = None
        elif item is Wake.AUDIT:
            self.keeper.datapath.observe()
            self.keeper.start_over()
            self._after(Wake.AUDIT, AUDIT_EVERY)
        return False

    def _greet(self, channel: Channel[FromServer]) -> None:
        self.keeper.hear()
        self._channel = channel
        hello = self.hello(self.keeper.facts())
        self._account.greeted(hello.nics)
        channel.send(hello)

    def _follow(self, message: Snapshot | Delta) -> bool:
        """A server that is out of step with us is left; it greets the next connection with a snapshot."""
        try:
            self.keeper.replica.take(message)
        except OutOfStep as error:
            log.warning("asking the server for all of it again: %s", error)
            self._leave()
            return False
        for text in complaints(self.keeper.replica.state, self.keeper.replica.host, message.edits):
            log.warning("%s", text)
        if isinstance(message, Snapshot):
            self._port = message.port
            self.door.forget()
            self.himn.door.forget()
            self.keeper.start_over()
            self._after(Wake.REAP, REAP_AFTER)  # what a killed agent left
        return True

    def _leave(self) -> None:
        """The next connection begins with a word of what this host is, and a snapshot."""
        if self._channel:
            self._channel.close()
        self._channel = None

    def _open_door(self, told: bool) -> None:
        """Have the API answer on the management address, now that it is there and the guard has no doubt."""
        reach = reach_of(self.keeper.replica.state, self.keeper.replica.host)
        if told:
            self.guard.follow(reach)
        if not self.guard.in_doubt:
            self.door.keep(self.keeper.replica.host, reach, self._port)

    def _plan_ahead(self, steps: list[Step]) -> None:
        if steps:
            self._after(Wake.REAP, REAP_AFTER)
        if self.keeper.failures:
            self._after(Wake.RETRY, RETRY_AFTER)
        elif steps and not self.keeper.settled:
            self._after(Wake.NEWS, 0)

    def _report(self, told: bool) -> None:
        """When the server asked, and when something else became of the host by itself."""
        now = self._now()
        self._account.log_failures(now.failures, () if told else self.keeper.failures)
        if self._channel and self.keeper.replica.told and (told or self._account.has_news(now)):
            self._channel.send(self._account.news(now))
            self.guard.reported()
            self.moves.told()
        if told:
            self.converged.set()

    def _now(self) -> Report:
        """The host as it is, in full."""
        keeper, given = self.keeper, self.given
        doors = {**self.door.failures, **self.himn.door.failures}
        failures = {**keeper.failures, **keeper.standing, **self.guard.failures(), **doors, **given.failures()}
        if waiting := keeper.waiting():
            self._after(Wake.RETRY, RETRY_AFTER)  # its time may be over then
        pending = tuple(sorted(given.waiting() | self.guard.waiting() | self.moves.waiting() | waiting))
        bonds, bridges = tuple(keeper.datapath.bonds()), tuple(keeper.datapath.bridges())
        leases = (given.leases(), given.leases6())
        seen = (keeper.facts(), *leases, pending, bonds, bridges, self.moves.heard, self._claims)
        return Report(keeper.replica.state.revision, failures, *seen, lacking=keeper.lacking)

    def _reap(self) -> None:
        try:
            left = self.keeper.datapath.reap()
        except OSError as error:
            log.warning("devices out of service are still there: %s", error)
            left = 1
        if left:
            self._after(Wake.REAP, REAP_AFTER)

    def _tell_facts(self) -> None:
        """The NICs as they are now: a NIC may have come without a word from the kernel that concerned us."""
        keeper = self.keeper
        keeper.look_again()
        self._after(Wake.NEWS, 0)  # what that found amiss is mended next
        if self._channel and keeper.replica.told:
            self._channel.send(self._account.whole(self._now()))

    def _answer(self, ask: Ask) -> Answer:
        """To a question; an empty one where the host has nothing by that name."""
        if ask.topic == "facts":
            self._tell_facts()
        if ask.topic != "fdb":
            return Answer(ask.id, [])
        try:
            entries = self.keeper.datapath.fdb(ask.subject)
        except OSError as error:
            return Answer(ask.id, [], f"the MAC table of {ask.subject} cannot be read: {error.strerror or error}")
        return Answer(ask.id, [{"mac": e.mac, "port": e.device, "age": f"{e.age:.2f}", "local": "true" if e.local else "false"} for e in entries])
