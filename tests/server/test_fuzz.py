"""The API against clients that send nonsense: every call gets a proper answer, the server goes on, and the pool's state stays sound.

Chance is seeded, so what one run finds every run finds.
"""

import asyncio
import random
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from xmlrpc.client import dumps, loads

import pytest

from tests.e2e.world import VM_RECORD
from xenet.agent.keeper import Keeper
from xenet.agent.loop import Loop
from xenet.agent.main import fake_nics
from xenet.agent.replica import Replica
from xenet.datapath.fake import FakeDatapath
from xenet.guests.base import FakeGuests
from xenet.link.messages import Hello
from xenet.model.classes import API
from xenet.model.declare import APIType, public_fields
from xenet.model.invariants import violations
from xenet.server.builtin import list_methods
from xenet.server.dispatch import Dispatcher, find
from xenet.server.http import BODY_LIMIT, make_app
from xenet.server.main import Server, Settings
from xenet.store.sqlite import SqliteStore

SEEDS = (1, 2, 3)
ROUNDS = 3
"""Calls of each listed message by each seed, with parameters of the right number."""
PYTHON_ERROR = re.compile(r"\b\w*(Error|Exception|Conflict): ")
"""How an exception that nobody foresaw reads in INTERNAL_ERROR."""
PASSWORD = "fuzz"
HOST = "5d4f3a0e-7a3c-4d0c-9a52-0e5f2f7c1a11"
LISTING = "system.listMethods"
STRING = APIType("string")
CLASSES = {cls.xenapi: cls for cls in API}
TEXTS = ("", "x", "0", "1", "eth0", "10.0.0.1", "255.255.255.0", "xenbr0", "true", "02:00:00:00:00:01", "a'\"<&>\\")
FITTING: dict[str, tuple[Any, ...]] = {
    "int": ("0", "1", "-1", "65536", "1500", str(2**63 - 1), str(-(2**63))),
    "float": (0.0, 1.5, -1.0, 1e300),
    "bool": (True, False),
    "datetime": ("20260101T00:00:00Z", "00010101T00:00:00Z", "99991231T23:59:59Z"),
    "enum": ("no such value",),
}
LEFT_OUT = {
    *("event.from", "event.next"),  # wait for news
    *("session.login_with_password", "session.slave_local_login_with_password"),  # a password is slow to check
    *("session.logout", "session.local_logout", "session.change_password"),  # would end the test
}


class Client:
    """Calls the application as a listener does, one whole body at a time."""

    def __init__(self, server: Server) -> None:
        self.app = make_app(Dispatcher(server.core, server.sessions, server.events))

    async def post(self, body: bytes, path: str = "/") -> tuple[int, bytes]:
        """Status and body of the answer."""
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "client": ("192.0.2.1", 1), "state": {"local": True}}
        await self.app(scope, receive, send)
        return sent[0]["status"], sent[1]["body"]

    async def call(self, method: str, *params: Any) -> dict[str, Any]:
        """Status and Value or ErrorDescription."""
        status, body = await self.post(dumps(params, method, allow_none=True).encode())
        assert status == 200, (method, params, body)
        answer: Any = loads(body)[0][0]
        return answer if isinstance(answer, dict) else {"Status": "Success", "Value": answer}


Scenario = Callable[[Client, str], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]


def fake_host(link: Path) -> Loop:
    """An agent on a host in memory."""
    nics = fake_nics(["eth0", "eth1"])
    return Loop(Keeper(Replica(), FakeDatapath(nics=nics), FakeGuests()), str(link), lambda found: Hello(HOST, "host1", "bridge", "namespace", found))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a scenario against a server with a host, then opens its database anew and checks it."""

    def run_it(scenario: Scenario) -> None:
        async def life() -> None:
            server = Server(Settings(tmp_path, "127.0.0.1", 0, password=PASSWORD, penalty=0.0))
            await server.start()
            host = asyncio.create_task(fake_host(tmp_path / "link").run())
            client = Client(server)
            await server.hosts.arrived.wait()
            try:
                session = (await client.call("session.login_with_password", "root", PASSWORD))["Value"]
                await scenario(client, session)
                assert (await client.call("session.login_with_password", "root", PASSWORD))["Status"] == "Success"
                assert not host.done()
            finally:
                host.cancel()
                await asyncio.wait({host})
                await server.close()

        asyncio.run(life())
        store = SqliteStore(tmp_path / "xenet.db")
        try:
            assert violations(store.snapshot()) == []
        finally:
            store.close()

    return run_it


# --- nonsense as parameters ------------------------------------------------------------------------


class Chance:
    """Parameters for messages: right ones, wrong ones, and of the wrong type."""

    def __init__(self, seed: int, refs: dict[str, list[str]]) -> None:
        self.random = random.Random(seed)
        self.refs = refs

    def anything(self, depth: int = 0) -> Any:
        """A value of any type that XML-RPC has."""
        flat = ["", "x", "\u00e9\U0001f600", "0", "-1", "true", "OpaqueRef:NULL", "a" * 5000, 0, -1, 2**31 - 1, 1.5, -0.0, True, False, None]
        kind = self.random.randrange(len(flat) + (4 if depth < 3 else 0))
        if kind < len(flat):
            return flat[kind]
        several = [self.anything(depth + 1) for _ in range(self.random.randrange(3))]
        return several if kind % 2 else {str(number): value for number, value in enumerate(several)}

    def fitting(self, declared: APIType) -> Any:
        """A value of the type; a reference mostly to something there."""
        few = range(self.random.randrange(3))
        match declared.kind:
            case "ref":
                there = self.refs.get(declared.name, [])
                return self.random.choice([*there, *there, *there, "OpaqueRef:NULL", "OpaqueRef:" + "0" * 36])
            case "set":
                return [self.fitting(declared.of or STRING) for _ in few]
            case "map":
                return {str(self.fitting(declared.key or STRING)): self.fitting(declared.of or STRING) for _ in few}
            case "record":
                return self.record(declared.name)
            case _:
                return self.random.choice([*FITTING.get(declared.kind, TEXTS), *declared.values])

    def record(self, name: str) -> dict[str, Any]:
        """Of some, all fields fit; the others lack some and have wrong ones."""
        fits, fields = self.random.random() < 0.5, public_fields(CLASSES[name])
        make = self.fitting if fits else self.parameter
        return {key: make(field.type) for key, field in fields.items() if fits or self.random.random() < 0.95}

    def parameter(self, declared: APIType) -> Any:
        return self.anything() if self.random.random() < 0.05 else self.fitting(declared)


async def furnish(client: Client, session: str) -> None:
    """Two VMs that run, with a VIF each on an internal network, for the messages to meet."""
    network = (await client.call("network.create", session, {"name_label": "internal", "other_config": {}}))["Value"]
    for _ in range(2):
        vm = (await client.call("VM.create", session, {**VM_RECORD, "name_label": "vm", "other_config": {}}))["Value"]
        await client.call("VM.start", session, vm, False, False)
        vif = {"device": "0", "VM": vm, "network": network, "MAC": "", "MTU": "1500", "other_config": {}}
        made = await client.call("VIF.create", session, {**vif, "qos_algorithm_type": "", "qos_algorithm_params": {}})
        assert (await client.call("VIF.plug", session, made["Value"]))["Status"] == "Success"


async def everything(client: Client, session: str) -> dict[str, list[str]]:
    """References of all classes that can be listed."""
    found = {}
    for method in list_methods():
        cls, _, name = method.partition(".")
        if name == "get_all" and cls in CLASSES:
            answer = await client.call(method, session)
            assert answer["Status"] == "Success", (method, answer)
            found[cls] = answer["Value"]
    return found


def complaint(method: str, params: list[Any], answer: dict[str, Any]) -> str | None:
    """What is wrong with an answer."""
    if answer["Status"] == "Success":
        return None
    code, *rest = answer["ErrorDescription"]
    hidden = code == "INTERNAL_ERROR" and any(PYTHON_ERROR.search(text) for text in rest)
    return f"{method}{tuple(params)!r}: {rest}" if hidden else None


@pytest.mark.parametrize("seed", SEEDS)
def test_parameters_without_sense(run: Run, seed: int) -> None:
    async def scenario(client: Client, session: str) -> None:
        await furnish(client, session)
        complaints: list[str | None] = []
        methods = [method for method in list_methods() if method.removeprefix("Async.") not in LEFT_OUT]
        for _ in range(ROUNDS):
            chance = Chance(seed, await everything(client, session))
            chance.random.shuffle(methods)
            for method in methods:
                params = [chance.parameter(param.type) for param in find(method)[0].params] if "." in method and method != LISTING else []
                complaints.append(complaint(method, params, await client.call(method, session, *params)))
        assert [text for text in complaints if text] == []
        assert len(complaints) > 1000

    run(scenario)


def test_any_number_of_parameters_of_any_type(run: Run) -> None:
    async def scenario(client: Client, session: str) -> None:
        chance = Chance(4, {})
        methods = [method for method in list_methods() if method.removeprefix("Async.") not in LEFT_OUT]
        for method in methods:
            params = [chance.anything() for _ in range(chance.random.randrange(5))]
            for first in ([session], [chance.anything()], []):
                answer = await client.call(method, *first, *params)
                assert complaint(method, params, answer) is None

    run(scenario)


# --- nonsense as bodies ----------------------------------------------------------------------------

GOOD = dumps(("OpaqueRef:x",), "network.get_all").encode()
DEEP = 100_000


def bodies() -> list[bytes]:
    chance = random.Random(5)
    nested = b"<array><data><value>" * DEEP
    inside = b"<?xml version='1.0'?><methodCall><methodName>a.b</methodName><params><param><value>"
    entity = b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]>' + GOOD.replace(b"OpaqueRef:x", b"&d;")
    cut = [GOOD[:length] for length in range(0, len(GOOD), 7)]
    flipped = [bytes(byte ^ (chance.random() < 0.02) * chance.randrange(256) for byte in GOOD) for _ in range(200)]
    noise = [chance.randbytes(chance.randrange(1, 300)) for _ in range(100)]
    return [inside + nested, nested, b"[" * DEEP, b'{"a":' * DEEP, b'{"method":' + b"[" * DEEP, entity, b"null", b"[]", b"{}", *cut, *flipped, *noise]


def test_bodies_without_sense(run: Run) -> None:
    async def scenario(client: Client, session: str) -> None:
        for body in bodies():
            for path in ("/", "/jsonrpc"):
                status, answer = await client.post(body, path)
                assert status in (200, 500)
                assert not PYTHON_ERROR.search(answer.decode()), (body[:200], answer)

    run(scenario)


def test_a_body_above_the_limit(run: Run) -> None:
    async def scenario(client: Client, session: str) -> None:
        assert (await client.post(b" " * (BODY_LIMIT + 1)))[0] == 413

    run(scenario)
