"""The hub of the hosts: it sends each connected agent the state and every commit, and takes in what agents say."""

import asyncio
import logging
from itertools import count
from pathlib import Path

import msgspec

from xenet.link.channel import Channel
from xenet.link.messages import REPLICATED, Answer, Ask, Delta, FromAgent, Hello, Report, Snapshot
from xenet.model.change import Change, edit_between
from xenet.model.errors import Failure, internal
from xenet.model.hidden import Edit, Operation
from xenet.model.host import Host
from xenet.model.state import PoolState
from xenet.model.types import Ref
from xenet.server.core import Core
from xenet.store.base import LogEntry, Store
from xenet.verbs.call import Question
from xenet.verbs.host import gone, hello
from xenet.verbs.report import News

log = logging.getLogger("xenet.server")
ANSWER_WITHIN = 10.0
"""Seconds that a host has to answer a question."""


class Hosts:
    """The links to the agents, by host."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.core: Core
        self.port = 0
        """The API's TCP port, on which it answers on the hosts' management addresses too."""
        self.arrived = asyncio.Event()
        """Set when a host has first reported: its networks are up."""
        self._links: dict[Ref, Channel[FromAgent]] = {}
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = count(1)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        store.watch(self._committed)

    async def listen(self, path: Path) -> None:
        """Wait for agents at a socket that only this user may open."""
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path)
        path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        self._serving.add(me)
        channel: Channel[FromAgent] = Channel(reader, writer, FromAgent)
        try:
            first = await channel.receive()
            if isinstance(first, Hello):
                await self._serve_host(channel, first)
        except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError) as error:
            log.info("a link ended: %s", error)
        except asyncio.CancelledError:
            log.debug("the server closes its links")
        finally:
            self._serving.discard(me)
            channel.close()

    async def _serve_host(self, channel: Channel[FromAgent], first: Hello) -> None:
        host = self._welcome(channel, first)
        try:
            while True:
                self._take(host, await channel.receive())
        finally:
            if self._links.get(host) is channel:
                self._leave(host)

    def _welcome(self, channel: Channel[FromAgent], first: Hello) -> Ref:
        call = self.core.call("hello")
        outcome = hello(call, first.host, first.name, first.backend, first.nics, first.guests, first.place, first.gre, first.lacks)
        state = self.store.commit(outcome.change)
        host: Ref = outcome.result
        channel.send(Snapshot(host, state.revision, snapshot_edits(state), self.port))
        self._links[host] = channel
        log.info("host %s is here", first.name)
        return host

    def _leave(self, host: Ref) -> None:
        del self._links[host]
        self.store.commit(gone(self.core.call("gone"), host).change)
        self.core.host_left(host)

    def _take(self, host: Ref, message: FromAgent) -> None:
        if isinstance(message, Report):
            found = {name: getattr(message, name) for name in ("nics", "leases", "leases6", "bonds", "bridges", "claims")}
            told = (message.revision, message.failures)
            news = News(*told, pending=message.pending, heard=message.heard, lacking=message.lacking, **found)
            self.core.reported(host, news)
            self.arrived.set()
        elif isinstance(message, Answer) and message.id in self._asked:
            self._asked.pop(message.id).set_result(message)

    def _committed(self, state: PoolState, change: Change, entries: list[LogEntry]) -> None:
        """Send a commit to the hosts: what they keep a copy of, or an empty delta to one that an operation waits for."""
        edits = tuple(edit for edit in change.edits if edit.cls in REPLICATED)
        awaited = {host for edit in change.edits for host in _awaited(state, edit)}
        for host, channel in self._links.items():
            if edits or host in awaited:
                channel.send(Delta(state.revision, edits))

    async def ask(self, question: Question) -> object:
        """What the hosts say, all asked at once, put together by the question. Raises CANNOT_CONTACT_HOST [host], INTERNAL_ERROR [text] with the
        name of a host that cannot say it, and why."""
        asked = {host: asyncio.ensure_future(self._ask_one(host, question)) for host in question.hosts}
        await asyncio.gather(*asked.values(), return_exceptions=True)
        return question.answer({host: one.result() for host, one in asked.items()})

    async def _ask_one(self, host: Ref, question: Question) -> list[dict[str, str]]:
        channel = self._links.get(host)
        if channel is None:
            raise Failure("CANNOT_CONTACT_HOST", host)
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        channel.send(Ask(number, question.topic, question.subject))
        try:
            answer: Answer = await asyncio.wait_for(future, ANSWER_WITHIN)
        except TimeoutError:
            raise Failure("CANNOT_CONTACT_HOST", host) from None
        finally:
            self._asked.pop(number, None)
        if answer.failure:
            raise internal(f"{self.store.snapshot().get(Host, host).name_label}: {answer.failure}")
        return answer.value


def _awaited(state: PoolState, edit: Edit) -> tuple[Ref, ...]:
    """The hosts that an operation waits for from this edit on: it begins, or another phase of it."""
    operation = state.find(Operation, edit.ref) if edit.cls == "operation" and "since" in (edit.after or {}) else None
    return operation.waiting if operation else ()


def snapshot_edits(state: PoolState) -> tuple[Edit, ...]:
    """The replicated records as edits from nothing."""
    records = (record for name in sorted(REPLICATED) for record in state.tables.get(name, {}).values())
    return tuple(edit for record in records if (edit := edit_between(record.xenapi, record.ref, None, record)) is not None)
