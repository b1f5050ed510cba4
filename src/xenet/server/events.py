"""event.from and its elders: who asks hears what commits have changed since the token that he brings.

A token is the revision up to which its bearer has heard. Many changes of one object become one event with the object as it is now.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from xenet.model.change import Change
from xenet.model.classes import PUBLIC, STORED
from xenet.model.errors import Failure
from xenet.model.hidden import Edit
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.types import Record, Ref
from xenet.store.base import LogEntry, Store
from xenet.verbs.generic import view

_TOKEN = re.compile("([0-9]{1,20}),[0-9]{1,20}")
CLASSES = {cls.xenapi.lower(): cls for cls in PUBLIC}
ORDER = {"add": 0, "mod": 1, "del": 2}


class Subscription(msgspec.Struct, frozen=True):
    """What a client wants to hear of: everything, classes, single objects ("class/OpaqueRef:.."); class names without case."""

    everything: bool
    classes: frozenset[str]
    objects: frozenset[tuple[str, str]]

    def wants(self, cls: str, ref: Ref) -> bool:
        lower = cls.lower()
        return self.everything or lower in self.classes or (lower, ref) in self.objects


def subscription(classes: Iterable[str]) -> Subscription:
    """Raises EVENT_SUBSCRIPTION_PARSE_FAILURE [text]."""
    names, objects = set(), set()
    for text in classes:
        cls, slash, ref = text.partition("/")
        if slash and (not cls or not ref):
            raise Failure("EVENT_SUBSCRIPTION_PARSE_FAILURE", text)
        if slash:
            objects.add((cls.lower(), ref))
        else:
            names.add(cls.lower())
    return Subscription("*" in names, frozenset(names), frozenset(objects))


def token_of(revision: int) -> str:
    return f"{revision:020d},{0:020d}"


def revision_of(token: str) -> int:
    """The revision of a token; -1 for the empty one, which asks for everything. Raises EVENT_FROM_TOKEN_PARSE_FAILURE [token]."""
    if token == "":
        return -1
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise Failure("EVENT_FROM_TOKEN_PARSE_FAILURE", token)
    return int(found[1])


class Events:
    """Wakes who waits, and tells each what he has not heard."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._news = asyncio.Event()
        store.watch(self._committed)

    def _committed(self, state: PoolState, change: Change, entries: list[LogEntry]) -> None:
        if entries:
            self._news.set()
            self._news = asyncio.Event()

    async def since(self, wants: Subscription, token: str, timeout: float, over: asyncio.Event) -> dict[str, Any] | None:
        """The batch for a token, at the latest after `timeout` seconds; None when the session is over before."""
        since = revision_of(token)
        until = asyncio.get_running_loop().time() + max(0.0, timeout)
        while True:
            news, state = self._news, self.store.snapshot()
            events = self._collect(wants, since, state)
            left = until - asyncio.get_running_loop().time()
            if events or left <= 0:
                return self._batch(wants, events, state)
            await _first_of(news, over, left)
            if over.is_set():
                return None

    def _collect(self, wants: Subscription, since: int, state: PoolState) -> list[dict[str, Any]]:
        entries = self.store.log_since(since) if since >= 0 else None
        if entries is None:
            everything = (record for cls in PUBLIC for record in state.all(cls) if wants.wants(cls.xenapi, record.ref))
            return [event("add", state, record.xenapi, record.ref) for record in everything]
        first: dict[tuple[str, Ref], str] = {}
        for entry in entries:
            if wants.wants(entry.cls, entry.ref):
                first.setdefault((entry.cls, entry.ref), entry.op)
        found = [(op_now(op, state, cls, ref), cls, ref) for (cls, ref), op in first.items()]
        told = sorted(((op, cls, ref) for op, cls, ref in found if op), key=lambda e: ORDER[e[0]])
        return [event(op, state, cls, ref) for op, cls, ref in told]

    def _batch(self, wants: Subscription, events: list[dict[str, Any]], state: PoolState) -> dict[str, Any]:
        # Clients read the count of tasks whatever they subscribed to, so every class is counted.
        counts = {name: state.count(cls) for name, cls in CLASSES.items()}
        return {"events": events, "valid_ref_counts": counts, "token": token_of(state.revision)}

    def inject(self, cls: str, ref: Ref) -> str:
        """Touch an object: the token is from before, so who waits with it is sure to hear. Raises HANDLE_INVALID [class, ref]."""
        record = CLASSES.get(cls.lower())
        state = self.store.snapshot()
        if record is None or state.find(record, ref) is None:
            raise Failure("HANDLE_INVALID", cls, ref)
        self.store.commit(Change((Edit(record.xenapi, ref, {}, {}),)))
        return token_of(state.revision)


def op_now(first: str, state: PoolState, cls: str, ref: Ref) -> str:
    """What became of an object in the end, given what the first of its changes was; "" when it came and went."""
    there = state.find(STORED[cls], ref) is not None
    if first == "add":
        return "add" if there else ""
    return "mod" if there else "del"


def event(op: str, state: PoolState, cls: str, ref: Ref) -> dict[str, Any]:
    told = {"id": str(state.revision), "timestamp": "0.0", "class": cls.lower(), "operation": op, "ref": ref}
    record: Record | None = state.find(STORED[cls], ref)
    return told if record is None else {**told, "snapshot": view(state, record)}


def heartbeat(wants: Subscription, state: PoolState) -> list[dict[str, Any]]:
    """Of the pool, for those who want to hear of it."""
    return [event("mod", state, Pool.xenapi, pool.ref) for pool in state.all(Pool) if wants.wants(Pool.xenapi, pool.ref)]


async def _first_of(news: asyncio.Event, over: asyncio.Event, seconds: float) -> None:
    waits = {asyncio.ensure_future(news.wait()), asyncio.ensure_future(over.wait())}
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
