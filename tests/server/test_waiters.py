"""A thousand clients wait for events: idle they cost the server nothing, a change reaches them all, and tokens outlive a restart."""

import asyncio
import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from tests.server.api_server import serving
from xenet.client import Client

WAITERS = 1000
IDLE = 3.0


@pytest.fixture(autouse=True)
def files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4 * WAITERS), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def wait_for_events(port: int, session: str, token: str) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "event.from", "params": [session, ["network"], token, 60.0]}).encode()
    writer.write(b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length:")[2].split()[0])
    answer = json.loads(await reader.readexactly(size))
    writer.close()
    return answer["result"]["events"]


def test_a_thousand_waiters(tmp_path: Path) -> None:
    async def scenario(port: int, pid: int, client: Client) -> None:
        token = client.call("event.from", ["network"], "", 0.0)["token"]
        waiting = [asyncio.create_task(wait_for_events(port, client.session, token)) for _ in range(WAITERS)]
        await asyncio.sleep(3)
        before = cpu(pid)
        await asyncio.sleep(IDLE)
        assert not any(task.done() for task in waiting)
        assert cpu(pid) - before < IDLE / 20, "idle waiters cost CPU"
        network = client.call("network.create", {"name_label": "news", "other_config": {}})
        answers = await asyncio.wait_for(asyncio.gather(*waiting), 60)
        assert all([(event["operation"], event["ref"]) for event in events] == [("add", network)] for events in answers)

    with serving("--state", str(tmp_path / "state")) as server, server.client() as client:
        asyncio.run(scenario(server.port, server.pid, client))


def test_tokens_outlive_a_restart(tmp_path: Path) -> None:
    with serving("--state", str(tmp_path / "state")) as server, server.client() as client:
        client.call("network.create", {"name_label": "before", "other_config": {}})
        token = client.call("event.from", ["network"], "", 0.0)["token"]
        unread = client.call("network.create", {"name_label": "unread", "other_config": {}})
    with serving("--state", str(tmp_path / "state")) as server, server.client() as client:
        later = client.call("network.create", {"name_label": "later", "other_config": {}})
        events = client.call("event.from", ["network"], token, 0.0)["events"]
        assert [(event["operation"], event["ref"]) for event in events if event["operation"] == "add"] == [("add", unread), ("add", later)]
