"""A session that has too much going on is refused, and nobody else is: over real connections to a server with small limits."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.server.api_server import ApiServer, api_server
from xenet.client import Client
from xenet.model.errors import Failure

CALLS, TASKS = 4, 3
TOO_MANY = ["TOO_MANY_PENDING_TASKS"]


@pytest.fixture(scope="module")
def server():
    with api_server("--session-calls", str(CALLS), "--session-tasks", str(TASKS)) as running:
        yield running


def refusal(client: Client, method: str, *params: Any) -> list[str]:
    with pytest.raises(Failure) as failure:
        client.call(method, *params)
    return failure.value.description


@contextmanager
def waiter(server: ApiServer, session: str, token: str) -> Iterator[socket.socket]:
    """A connection on which event.from waits; gone without a word at the end."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "event.from", "params": [session, ["subject"], token, 60.0]}
    body = json.dumps(call).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        yield sock


def answer(sock: socket.socket) -> Any:
    with sock.makefile("rb") as file:
        head = dict(line.split(b": ", 1) for line in iter(file.readline, b"\r\n") if b": " in line)
        return json.loads(file.read(int(head[b"content-length"])))


def eventually(holds: Any) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_full(client: Client) -> bool:
    try:
        client.call("event.get_current_id")
    except Failure as failure:
        assert failure.description == TOO_MANY
        return True
    return False


def test_a_session_with_too_many_calls_is_refused_and_others_are_not(server: ApiServer) -> None:
    with server.client() as busy, server.client() as other, ExitStack() as stack:
        token = busy.call("event.from", ["subject"], "", 0.0)["token"]
        waiting = [stack.enter_context(waiter(server, busy.session, token)) for _ in range(CALLS)]
        eventually(lambda: is_full(busy))
        assert refusal(busy, "network.create", {"name_label": "one too many", "other_config": {}}) == TOO_MANY
        assert refusal(busy, "Async.network.create", {"name_label": "one too many", "other_config": {}}) == TOO_MANY
        assert other.call("network.get_by_name_label", "one too many") == []
        assert other.call("task.get_all") == []
        waiting[0].close()
        eventually(lambda: not is_full(busy))
        stack.enter_context(waiter(server, busy.session, token))
        eventually(lambda: is_full(busy))
        busy.call("session.logout")
        assert answer(waiting[1])["error"]["message"] == "SESSION_INVALID"


def test_a_session_with_too_many_tasks_is_refused_until_some_end(server: ApiServer) -> None:
    with server.client() as busy, server.client() as other:
        tasks = [busy.call("task.create", "mine", "") for _ in range(TASKS)]
        assert refusal(busy, "task.create", "one too many", "") == TOO_MANY
        assert refusal(busy, "Async.network.create", {"name_label": "one too many", "other_config": {}}) == TOO_MANY
        assert other.call("task.get_by_name_label", "one too many") == []
        assert other.call("network.get_by_name_label", "one too many") == []
        made = busy.call("network.create", {"name_label": "without a task", "other_config": {}})
        busy.call("task.set_status", tasks[0], "success")
        tasks.append(busy.call("Async.network.destroy", made))
        assert busy.call("task.get_status", tasks[-1]) == "success"
        busy.call("task.create", "in its place", "")
        assert refusal(busy, "task.create", "one too many", "") == TOO_MANY
        for task in other.call("task.get_all"):
            busy.call("task.destroy", task)
        assert other.call("task.get_status", busy.call("Async.network.create", {"name_label": "again", "other_config": {}})) == "success"


def test_calls_that_fail_hold_no_place(server: ApiServer) -> None:
    with server.client() as client:
        for _ in range(2 * max(CALLS, TASKS)):
            assert refusal(client, "network.get_record", "OpaqueRef:no")[0] == "HANDLE_INVALID"
            assert refusal(client, "Async.network.destroy")[0] == "MESSAGE_PARAMETER_COUNT_MISMATCH"
        assert not is_full(client)
        assert client.call("task.get_all_records")
