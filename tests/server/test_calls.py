"""Messages that are not there report themselves; with --log-calls all do."""

import io
from datetime import UTC, datetime

import pytest

from tests.server.api_server import api_server
from xenet.cli.xe.main import run as xe
from xenet.model.errors import Failure
from xenet.server.calls import MOST, Unknown

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_most_wanted_come_first_with_a_reason():
    unknown = Unknown()
    for method in ("VM.fly", "Async.VM.snapshot", "VM.snapshot", "VM.snapshot", "<script>", "x" * 200):
        unknown.note(method, NOW)
    assert [(row["message"], row["count"]) for row in unknown.rows()] == [("VM.snapshot", "3"), ("VM.fly", "1")]
    assert "disks" in unknown.rows()[0]["reason"]
    assert unknown.rows()[0]["last"] == "20260101T00:00:00Z"


def test_who_calls_anything_fills_no_memory():
    unknown = Unknown()
    for number in range(2 * MOST):
        unknown.note(f"VM.m{number}", NOW)
    assert len(unknown.rows()) == MOST


def test_a_running_server_tells(capfd):
    with api_server("--store", "memory", "--log-calls") as server, server.client() as client:
        for forged in ("VM.fly ok 1 ms\n2026-01-01 00:00:00,000 xenet.calls INFO local VM.forged", "x" * 10_000):
            with pytest.raises(Failure, match="MESSAGE_METHOD_UNKNOWN"):
                client.call(forged)
        for _ in range(2):
            with pytest.raises(Failure, match="MESSAGE_METHOD_UNKNOWN"):
                client.call("VM.snapshot", "OpaqueRef:1", "name")
        with pytest.raises(Failure, match="HANDLE_INVALID"):
            client.call("VM.get_record", "OpaqueRef:secret")
        assert ["VM.snapshot", "2"] in [[row["message"], row["count"]] for row in client.call("Diagnostics.get_unimplemented_calls")]
        out = io.StringIO()
        assert xe(["diagnostic-unimplemented-calls"], {"XENET_SOCKET": server.socket}, io.StringIO(), out, io.StringIO()) == 0
        assert out.getvalue().splitlines()[0].split() == ["MESSAGE", "COUNT", "LAST", "REASON"]
        assert "VM.snapshot" in out.getvalue()
        task = client.call("Async.host.list_methods")
        assert "<value>VIF.plug</value>" in client.call("task.get_record", task)["result"]
        client.call("task.destroy", task)
    said = capfd.readouterr().err
    assert "VM.snapshot MESSAGE_METHOD_UNKNOWN" in said
    assert "VM.get_record HANDLE_INVALID" in said
    assert "session.login_with_password ok" in said
    assert "OpaqueRef:secret" not in said
    assert "\\n2026-01-01 00:00:00,000" in said, "what a client sends makes no lines of its own"
    assert "x" * 100 in said
    assert "x" * 101 not in said
