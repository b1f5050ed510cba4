"""xenet.client against a server that answers in every way HTTP allows, and in some that it does not."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.jsonrpc_server import serving
from xenet.client import Client, Unreachable, _parse
from xenet.model.errors import Failure

SESSION = "OpaqueRef:secret"


def answer(method: str, params: list[Any]) -> Any:
    match method:
        case "session.login_with_password":
            if params[1] != "pw":
                raise Failure("SESSION_AUTHENTICATION_FAILED", params[0], "wrong")
            return SESSION
        case "network.get_MTU":
            return 1500
        case "network.get_name_label":
            return "Grünes Netz" * 20000
        case "VIF.plug":
            raise Failure("DEVICE_ALREADY_ATTACHED", params[1])
    return ""


@pytest.mark.parametrize("unix", [False, True])
def test_a_session_from_login_to_logout_is_one_connection(unix: bool, tmp_path: Path) -> None:
    with serving(answer, str(tmp_path / "xapi") if unix else "") as server:
        with Client.connect(server.address).login("root", "pw") as client:
            assert client.call("network.get_MTU", "OpaqueRef:n") == 1500
        assert server.calls == [
            ("session.login_with_password", ["root", "pw", "1.0", "xenet"]),
            ("network.get_MTU", [SESSION, "OpaqueRef:n"]),
            ("session.logout", [SESSION]),
        ]
        assert server.connections == 1


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_every_way_to_end_an_answer(framing: str) -> None:
    with serving(answer) as server, Client.connect(server.address) as client:
        server.framing = framing
        for _ in range(2):
            assert client.raw("network.get_name_label") == "Grünes Netz" * 20000
        assert server.connections == (2 if framing == "close" else 1)


def test_a_refusal_is_a_failure_and_leaves_the_connection_usable() -> None:
    with serving(answer) as server, Client.connect(server.address).login("root", "pw") as client:
        with pytest.raises(Failure) as refusal:
            client.call("VIF.plug", "OpaqueRef:v")
        assert refusal.value.description == ["DEVICE_ALREADY_ATTACHED", "OpaqueRef:v"]
        assert client.call("network.get_MTU", "OpaqueRef:n") == 1500
        assert server.connections == 1


def test_a_wrong_password_leaves_no_session_to_log_out() -> None:
    with serving(answer) as server:
        with pytest.raises(Failure, match=r"SESSION_AUTHENTICATION_FAILED"), Client.connect(server.address) as client:
            client.login("root", "no")
        assert [method for method, _ in server.calls] == ["session.login_with_password"]


@pytest.mark.parametrize(
    "raw",
    [
        "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"error": 3}',
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
        "\r\n",
        "",
    ],
)
def test_nonsense_is_unreachable(raw: str) -> None:
    with serving(answer) as server, Client.connect(server.address) as client:
        server.framing = raw
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
            client.raw("network.get_MTU")
        server.framing = "length"
        assert client.raw("network.get_MTU") == 1500


def test_nobody_listens(tmp_path: Path) -> None:
    with serving(answer) as server:
        gone = server.address
    for address in (gone, str(tmp_path / "none")):
        with pytest.raises(Unreachable, match=r"refused|No such file"):
            Client.connect(address)


def test_urls() -> None:
    assert _parse("http://h") == ("http", "h", 80)
    assert _parse("https://h/") == ("https", "h", 443)
    assert _parse("http://root@127.0.0.1:41234/") == ("http", "127.0.0.1", 41234)
    assert _parse("https://[fd00::1]/") == ("https", "[fd00::1]", 443)
    assert _parse("https://[fd00::1]:8443") == ("https", "[fd00::1]", 8443)
    assert _parse("/run/xapi")[0] == "unix"
    with pytest.raises(ValueError, match="ftp"):
        _parse("ftp://h")
