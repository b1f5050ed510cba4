"""Clients that say nothing, or byte by byte, or too much, are cut off; the server answers others meanwhile. Told with a short patience."""

import asyncio
import json

import pytest

from xenet.server import patience
from xenet.server.http import make_app
from xenet.server.listeners import Listeners

CALL = json.dumps({"jsonrpc": "2.0", "method": "m", "params": [], "id": 1}).encode()
REQUEST = b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(CALL), CALL)
SHORT = 0.5


async def answer(method, params, origin):
    return "answered"


@pytest.fixture
def serve(monkeypatch):
    """Runs a scenario, which is given the port."""
    monkeypatch.setattr(patience.PatientProtocol, "within", SHORT)

    def run(scenario):
        async def life():
            listeners = Listeners(make_app(answer))
            port = await listeners.open_tcp("127.0.0.1", 0)
            try:
                await asyncio.wait_for(scenario(port), 30)
            finally:
                await listeners.close(0)

        asyncio.run(life())

    return run


async def connect(port):
    return await asyncio.open_connection("127.0.0.1", port)


async def answers(port):
    reader, writer = await connect(port)
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head.startswith(b"HTTP/1.1 200")


async def is_cut(reader):
    try:
        return await asyncio.wait_for(reader.read(), 10 * SHORT) == b""
    except ConnectionResetError:
        return True


def test_who_says_nothing_is_cut_off_and_others_are_answered(serve):
    async def scenario(port):
        silent = [await connect(port) for _ in range(50)]
        assert await answers(port)
        assert all([await is_cut(reader) for reader, _ in silent])
        for _, writer in silent:
            writer.close()
        assert await answers(port)

    serve(scenario)


@pytest.mark.parametrize(
    "part", [b"POST /jsonrpc HTTP/1.1\r\nHost:", b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"], ids=["head", "body"]
)
def test_who_sends_byte_by_byte_is_cut_off(serve, part):
    async def scenario(port):
        reader, writer = await connect(port)
        writer.write(part)
        cut = asyncio.ensure_future(is_cut(reader))
        for _ in range(100):
            if cut.done():
                break
            writer.write(b" ")
            await asyncio.sleep(SHORT / 10)
        assert await cut
        writer.close()

    serve(scenario)


def test_a_second_request_on_a_connection_has_its_own_time(serve):
    async def scenario(port):
        reader, writer = await connect(port)
        for _ in range(4):
            writer.write(REQUEST)
            await reader.readuntil(b"}")
            await asyncio.sleep(SHORT / 2)
        writer.write(REQUEST[:20])
        assert await is_cut(reader)
        writer.close()

    serve(scenario)


def test_a_head_without_end_is_refused(serve):
    async def scenario(port):
        for head in (b"GET /" + b"a" * 2 * patience.HEAD_LIMIT, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * patience.HEAD_LIMIT):
            reader, writer = await connect(port)
            writer.write(head + b" HTTP/1.1\r\n\r\n")
            assert (await reader.read(12)) == b"HTTP/1.1 400"
            writer.close()
        assert await answers(port)

    serve(scenario)


def test_more_connections_than_the_limit_are_closed(serve, monkeypatch):
    monkeypatch.setattr(patience, "MOST", 10)

    async def scenario(port):
        there = [await connect(port) for _ in range(10)]
        reader, writer = await connect(port)
        assert await is_cut(reader)
        for _, one in (*there, (reader, writer)):
            one.close()

    serve(scenario)
