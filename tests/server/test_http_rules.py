"""What the HTTP side answers, byte by byte where clients compare bytes."""

import http.client
import json
import socket
import xmlrpc.client
from typing import Any

import pytest

from tests.server.http_service import SESSION, serve

CALL = xmlrpc.client.dumps(("s", "r"), "network.get_record").encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    www = tmp_path_factory.mktemp("www")
    (www / "assets").mkdir()
    (www / "index.html").write_text("<p>hello</p>")
    (www / "assets" / "a b.js").write_text("1")
    (www / "assets" / "x.unknown").write_bytes(b"\x00")
    (www.parent / "outside.txt").write_text("secret")
    (www / "link.txt").symlink_to(www.parent / "outside.txt")
    (www / "loop").symlink_to(www / "loop")
    with serve(tmp_path_factory.mktemp("state"), www=www) as running:
        yield running


@pytest.fixture
def ask(service):
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)

    def send(method, path, body=None, **headers):
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()

    yield send
    connection.close()


def status(body) -> str:
    answer: Any = xmlrpc.client.loads(body)[0][0]
    return answer["Status"]


def as_json(method, *params, **more):
    return json.dumps({"method": method, "params": params, "id": 0, **more})


@pytest.mark.parametrize("path", ["/", "/RPC2", "/xmlrpc", "/any/path?task_id=1", "/json"])
def test_every_other_path_is_xml_rpc(ask, path):
    answer, body = ask("POST", path, CALL, content_type="text/xml; charset=utf-8")
    assert answer.status == 200
    assert answer.getheader("content-type") == "text/xml"
    assert answer.getheader("access-control-allow-origin") == "*"
    assert answer.getheader("date").endswith("GMT")
    assert status(body) == "Success"
    assert b">\n" not in body


@pytest.mark.parametrize("path", ["/jsonrpc", "/jsonrpc/", "/jsonrpc?session_id=1"])
def test_json_has_its_path(ask, path):
    answer, body = ask(
        "POST", path, as_json("session.login_with_password", "root", "x", jsonrpc="2.0"), content_type="application/json; charset=utf-8"
    )
    assert answer.status == 200
    assert answer.getheader("content-type") == "application/json"
    assert json.loads(body) == {"jsonrpc": "2.0", "result": SESSION, "id": 0}


def test_json_refusals_in_both_versions(ask):
    answer, body = ask("POST", "/jsonrpc", as_json("session.login_with_password", "eve", "x"))
    assert answer.status == 200
    assert json.loads(body) == {"result": None, "error": ["SESSION_AUTHENTICATION_FAILED", "eve", "wrong"], "id": 0}
    answer, body = ask("POST", "/jsonrpc", as_json("pool.bug", "s", jsonrpc="2.0"))
    assert answer.status == 200
    assert json.loads(body)["error"] == {"code": 1, "message": "INTERNAL_ERROR", "data": ["LookupError: <oops>"]}


def test_a_fault_in_json_is_a_refusal(ask):
    _, body = ask("POST", "/jsonrpc", as_json("Async.network.get_record", "s"))
    assert json.loads(body)["error"] == ["no asynchronous form"]


def test_list_methods_in_json_is_a_result_like_any_other(ask):
    _, body = ask("POST", "/jsonrpc", as_json("system.listMethods", jsonrpc="2.0"))
    assert json.loads(body)["result"] == ["network.get_record", "system.listMethods"]


@pytest.mark.parametrize(("path", "body"), [("/", b"<a>&lt;script></a>"), ("/", b""), ("/jsonrpc", b"[]"), ("/jsonrpc", CALL)])
def test_what_is_no_call_is_a_500_page(ask, path, body):
    answer, page = ask("POST", path, body)
    assert answer.status == 500
    assert answer.getheader("content-type") == "text/html"
    assert b"<script" not in page
    assert ask("POST", "/", CALL)[0].status == 200  # on the same connection


def test_options_allow_other_origins(ask):
    answer, body = ask("OPTIONS", "/jsonrpc", origin="http://elsewhere", access_control_request_method="POST")
    assert answer.status == 200
    assert body == b""
    assert answer.getheader("access-control-allow-origin") == "*"
    assert "POST" in answer.getheader("access-control-allow-methods")
    assert "Content-Type" in answer.getheader("access-control-allow-headers")


def test_other_methods_are_refused(ask):
    answer, _ = ask("PATCH", "/")
    assert answer.status == 405
    assert "POST" in answer.getheader("allow")


@pytest.mark.parametrize("body", [b"x" * 100_001, [b"x" * 60_000, b"x" * 60_000]], ids=["declared", "chunked"])
def test_a_body_over_the_limit_is_refused(ask, body):
    answer, _ = ask("POST", "/", body if isinstance(body, bytes) else iter(body))
    assert answer.status == 413
    assert answer.getheader("connection") == "close"


def test_a_body_at_the_limit_in_pieces_is_read(ask):
    filler = b" " * (100_000 - len(CALL))
    answer, body = ask("POST", "/", iter([CALL[:10], CALL[10:], filler[:50_000], filler[50_000:]]))
    assert answer.status == 200
    assert status(body) == "Success"


@pytest.mark.parametrize(
    ("path", "media", "content"),
    [
        ("/", "text/html; charset=utf-8", b"<p>hello</p>"),
        ("/index.html?x=1", "text/html; charset=utf-8", b"<p>hello</p>"),
        ("/assets/a%20b.js", "text/javascript; charset=utf-8", b"1"),
        ("/assets/x.unknown", "application/octet-stream", b"\x00"),
    ],
)
def test_files_of_the_page(ask, path, media, content):
    answer, body = ask("GET", path)
    assert (answer.status, answer.getheader("content-type"), body) == (200, media, content)
    answer, body = ask("HEAD", path)
    assert (answer.status, answer.getheader("content-length"), body) == (200, str(len(content)), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/none",
        "/assets",
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/link.txt",
        "/loop",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/%00",
        "/" + "a" * 5000,
    ],
)
def test_nothing_else_is_served(ask, path):
    answer, body = ask("GET", path)
    assert answer.status == 404
    assert b"secret" not in body


def test_without_a_page_every_get_is_404(tmp_path):
    with serve(tmp_path) as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        connection.request("GET", "/rrd_updates?start=0")
        assert connection.getresponse().status == 404
        connection.close()


def start(service, method, *params):
    """A call whose answer nobody reads yet."""
    service.toy.started.clear()
    sock = socket.create_connection(("127.0.0.1", service.port), 30)
    body = as_json(method, *params).encode()
    sock.sendall(b"POST /jsonrpc HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    assert service.toy.started.wait(30)
    return sock


def test_a_waiting_call_ends_with_its_client(service):
    start(service, "event.from", "s", "60").close()
    assert service.toy.cancelled.wait(30)


def test_a_waiting_call_is_answered(ask):
    _, body = ask("POST", "/jsonrpc", as_json("event.from", "s", "0.01"))
    assert json.loads(body)["result"] == {"token": "t"}


def test_any_other_call_is_carried_to_its_end(service):
    start(service, "VM.migrate", "s").close()
    assert service.toy.finished.wait(30)
