"""The published SDK, unmodified, against the HTTP side: plain, TLS and the Unix socket."""

import secrets
import shutil
import tempfile
import time
from pathlib import Path

import pytest
import XenAPI

from tests.server.http_service import RECORD, serve
from xenet.client import Client


@pytest.fixture(scope="module")
def service():
    # The SDK reads each underscore of a socket's path as a slash, so pytest's own folders will not do.
    folder = Path(tempfile.gettempdir(), f"xenet{secrets.token_hex(6)}")
    folder.mkdir()
    try:
        with serve(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["http", "http with slash", "https", "unix"])
def session(service, request):
    match request.param:
        case "http":
            made = XenAPI.Session(f"http://127.0.0.1:{service.port}")
        case "http with slash":
            made = XenAPI.Session(f"http://127.0.0.1:{service.port}/")
        case "https":
            made = XenAPI.Session(f"https://127.0.0.1:{service.tls_port}", ignore_ssl=True)
        case _:
            host = str(service.path).replace("/", "_")
            made = XenAPI.Session(f"http://{host}", transport=XenAPI.XenAPI.UDSTransport())
    with made:
        made.login_with_password("root", "secret")
        yield made


def test_our_client_keeps_its_connection_over_tls(service):
    """TLS says something of its own after the handshake; that is no end of the connection."""
    with Client.connect(f"https://127.0.0.1:{service.tls_port}") as client:
        for _ in range(3):
            time.sleep(0.1)
            before = client._socket
            assert client.raw("system.listMethods")
            assert client._socket is before


def test_reads_a_record(session):
    record = session.xenapi.network.get_record("OpaqueRef:1")
    assert record["MTU"] == "1500"
    assert record["managed"] is True
    assert record["name_label"] == record["gateway"] == ""
    assert record["io_read_kbs"] == 0.5
    assert record["created"].value == "20260101T00:00:00Z"
    assert record["tags"] == []
    assert record["other_config"] == RECORD["other_config"]


def test_sends_what_the_user_gives(session):
    given = {"name_label": "Grün & <b>", "MTU": 1500, "managed": False, "other_config": {}, "tags": ["a", ""]}
    got = session.xenapi.network.create(given)
    assert got == {**given, "MTU": "1500"}


def test_refusals_raise(session):
    with pytest.raises(XenAPI.Failure) as refused:
        session.xenapi.network.frobnicate()
    assert refused.value.details == ["MESSAGE_METHOD_UNKNOWN", "it"]


def test_an_unexpected_exception_is_an_internal_error_and_logged(session, caplog):
    with pytest.raises(XenAPI.Failure) as refused:
        session.xenapi.pool.bug()
    assert refused.value.details == ["INTERNAL_ERROR", "LookupError: <oops>"]
    assert "pool.bug" in caplog.text
    assert "Traceback" in caplog.text


def test_a_value_without_a_form_is_an_internal_error(session):
    with pytest.raises(XenAPI.Failure) as refused:
        session.xenapi.pool.unencodable()
    assert refused.value.details[0] == "INTERNAL_ERROR"


def test_list_methods_is_bare(session):
    assert session.system.listMethods() == ["network.get_record", "system.listMethods"]


def test_a_fault_is_a_fault(session):
    with pytest.raises(Exception, match="no asynchronous form"):
        session.xenapi.Async.network.get_record()


def test_local_root_is_told_from_the_network(service, session, request):
    origin = service.toy.origins[-1]
    local = request.node.callspec.params["session"] == "unix"
    assert origin.local is local
    assert origin.address == ("" if local else "127.0.0.1")
