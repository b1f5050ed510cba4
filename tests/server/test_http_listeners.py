"""Sockets and the certificate: their modes, who may replace what, and how a server ends."""

import asyncio
import os
import signal
import socket
import ssl
import stat

import pytest
from cryptography import x509

from xenet.server.http import Origin, make_app
from xenet.server.listeners import Listeners
from xenet.server.tls import NAME, ensure_certificate, server_context

BODY = b'{"method": "%s", "id": 1}'


class Echo:
    def __init__(self):
        self.release = asyncio.Event()
        self.entered = asyncio.Event()
        self.ended = False

    async def dispatch(self, method, params, origin: Origin):
        if method == "slow":
            self.entered.set()
            await self.release.wait()
            self.ended = True
        return [origin.local, origin.address]


async def ask(reader, writer, method="quick"):
    body = BODY % method.encode()
    writer.write(b"POST /jsonrpc HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    return await reader.readexactly(length)


def run(scenario):
    async def whole():
        echo = Echo()
        listeners = Listeners(make_app(echo.dispatch))
        try:
            await asyncio.wait_for(scenario(echo, listeners), 30)
        finally:
            echo.release.set()
            await listeners.close(grace=1)

    asyncio.run(whole())


def test_the_unix_socket_is_root_s_own_and_goes_with_the_server(tmp_path):
    path = tmp_path / "api"

    async def scenario(echo, listeners):
        await listeners.open_unix(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        assert await ask(reader, writer) == b'{"result":[true,""],"error":null,"id":1}'
        writer.close()
        await listeners.close()
        assert not any(tmp_path.iterdir())

    run(scenario)


def test_a_dead_server_s_socket_is_replaced(tmp_path):
    path = tmp_path / "api"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def scenario(echo, listeners):
        await listeners.open_unix(path)
        reader, writer = await asyncio.open_unix_connection(path)
        assert b"true" in await ask(reader, writer)
        writer.close()

    run(scenario)


def test_a_live_server_s_socket_is_left_alone(tmp_path):
    path = tmp_path / "api"

    async def scenario(echo, listeners):
        with socket.socket(socket.AF_UNIX) as alive:
            alive.bind(str(path))
            alive.listen()
            with pytest.raises(OSError, match="another server"):
                await listeners.open_unix(path)
            await listeners.close()
            assert [entry.name for entry in tmp_path.iterdir()] == ["api"]

    run(scenario)


def test_a_successor_s_socket_outlives_us(tmp_path):
    path = tmp_path / "api"

    async def scenario(echo, listeners):
        await listeners.open_unix(path)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            await listeners.close()
            assert path.exists()

    run(scenario)


def test_a_file_is_no_socket(tmp_path):
    path = tmp_path / "api"
    path.write_text("precious")

    async def scenario(echo, listeners):
        with pytest.raises(FileExistsError):
            await listeners.open_unix(path)

    run(scenario)
    assert path.read_text() == "precious"


def test_a_bound_socket_of_the_caller_s(tmp_path):
    async def scenario(echo, listeners):
        sock = socket.create_server(("127.0.0.2", 0))
        port = sock.getsockname()[1]
        server = await listeners.open_socket(sock)
        reader, writer = await asyncio.open_connection("127.0.0.2", port)
        assert await ask(reader, writer) == b'{"result":[false,"127.0.0.1"],"error":null,"id":1}'
        writer.close()
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", port)

    run(scenario)


def test_a_port_in_use_is_an_error():
    async def scenario(echo, listeners):
        port = await listeners.open_tcp("127.0.0.1", 0)
        with pytest.raises(OSError, match="in use"):
            await listeners.open_tcp("127.0.0.1", port)
        with pytest.raises(ValueError, match="certificate"):
            await listeners.open_tcp("127.0.0.1", 0, tls=True)

    run(scenario)


def test_signals_stay_the_caller_s():
    async def scenario(echo, listeners):
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        await listeners.open_tcp("127.0.0.1", 0)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before

    run(scenario)


def test_a_call_in_progress_is_answered_before_the_end():
    async def scenario(echo, listeners):
        port = await listeners.open_tcp("127.0.0.1", 0)
        idle = await asyncio.open_connection("127.0.0.1", port)
        busy = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.create_task(ask(*busy, "slow"))
        await echo.entered.wait()
        closing = asyncio.create_task(listeners.close(grace=20))
        assert await idle[0].read() == b""  # cut at once
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        echo.release.set()
        assert b"127.0.0.1" in await answer
        await closing
        assert await busy[0].read() == b""
        idle[1].close()
        busy[1].close()

    run(scenario)


def test_a_call_that_does_not_end_is_cut_off(caplog):
    async def scenario(echo, listeners):
        port = await listeners.open_tcp("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.create_task(ask(reader, writer, "slow"))
        await echo.entered.wait()
        await listeners.close(grace=0)
        assert isinstance((await asyncio.gather(answer, return_exceptions=True))[0], OSError | EOFError)
        assert not echo.ended
        assert [record.getMessage() for record in caplog.records] == ["slow was cut off"]
        writer.close()

    run(scenario)


def test_another_address_cannot_be_claimed():
    async def scenario(echo, listeners):
        port = await listeners.open_tcp("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = BODY % b"quick"
        writer.write(b"POST /jsonrpc HTTP/1.1\r\nx-forwarded-for: 10.9.9.9\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert b"10.9.9.9" not in await reader.readuntil(b"}")
        writer.close()

    run(scenario)


def test_the_certificate_is_made_once_and_only_root_s(tmp_path):
    path = ensure_certificate(tmp_path, ["10.0.0.5", "fd00::5", "xen.example", "127.0.0.1"])
    made = path.read_bytes()
    assert path == tmp_path / NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    names = x509.load_pem_x509_certificate(made).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "xen.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "10.0.0.5", "fd00::5"]
    assert ensure_certificate(tmp_path).read_bytes() == made
    assert os.listdir(tmp_path) == [NAME]


def test_a_client_that_trusts_the_certificate_connects_by_address(tmp_path):
    async def scenario(echo, listeners):
        secure = Listeners(make_app(echo.dispatch), server_context(tmp_path))
        port = await secure.open_tcp("127.0.0.1", 0, tls=True)
        trust = ssl.create_default_context(cafile=str(tmp_path / NAME))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="127.0.0.1")
        assert b"127.0.0.1" in await ask(reader, writer)
        assert writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
        writer.close()
        await secure.close(grace=0)

    run(scenario)
