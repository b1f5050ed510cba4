"""A pool without hardware or root: the same names at every start, an API on every host's address, and no name given twice after a restart."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import XenAPI

from tests.server.api_server import PASSWORD, serving
from xenet.client import Client

NAMES = ("uuid", "name_label", "MAC", "bridge", "device", "address", "IP", "network", "host", "VM", "resident_on")


def named(client: Client) -> dict[str, dict[str, dict[str, Any]]]:
    """What is the same at every start, of every record."""
    found = {cls: client.call(f"{cls}.get_all_records") for cls in ("pool", "host", "network", "PIF", "PIF_metrics", "VM", "VIF", "VM_metrics")}
    return {cls: {ref: {name: one[name] for name in NAMES if name in one} for ref, one in records.items()} for cls, records in found.items()}


def test_two_starts_give_the_same_names() -> None:
    seen = []
    for _ in range(2):
        with serving("--hosts", "2", "--nics", "3", "--vms", "5") as server, server.client() as client:
            seen.append(named(client))
            attached = client.call("VIF.get_all_records").values()
            assert all(vif["currently_attached"] for vif in attached)
            folder = Path(server.socket).parent
        assert not folder.exists(), "without --state nothing is kept"
    assert seen[0] == seen[1]
    assert {cls: len(records) for cls, records in seen[0].items() if cls in ("host", "network", "PIF", "VM", "VIF")} == {
        "host": 2,
        "network": 4,
        "PIF": 6,
        "VM": 5,
        "VIF": 5,
    }
    assert len({pif["MAC"] for pif in seen[0]["PIF"].values()}) == 6
    assert [host["address"] for host in sorted(seen[0]["host"].values(), key=lambda host: host["name_label"])] == ["127.0.0.1", "127.0.0.2"]


def test_another_seed_gives_other_names() -> None:
    with serving("--seed", "one") as one, serving("--seed", "two") as two, one.client() as first, two.client() as second:
        assert not set(named(first)["host"]) & set(named(second)["host"])


def test_the_api_answers_on_every_hosts_address() -> None:
    with serving("--hosts", "2") as server, XenAPI.Session(f"http://127.0.0.2:{server.port}") as session:
        session.login_with_password("root", PASSWORD)
        assert len(session.xenapi.host.get_all()) == 2


def test_a_vm_moves_to_another_host() -> None:
    with serving("--hosts", "2", "--vms", "1") as server, server.client() as client:
        [vm] = client.call("VM.get_all")
        source = client.call("VM.get_resident_on", vm)
        [target] = set(client.call("VM.get_possible_hosts", vm)) - {source}
        client.call("VM.pool_migrate", vm, target, {"live": "true"})
        assert client.call("VM.get_resident_on", vm) == target
        assert all(vif["currently_attached"] for vif in client.call("VIF.get_all_records").values())


def test_a_restart_keeps_the_pool_and_gives_no_name_twice(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path / "state"), "--vms", "2")
    with serving(*options) as server, server.client() as client:
        first = client.call("network.create", {"name_label": "first", "other_config": {}})
        before = named(client)
    with serving(*options) as server, server.client() as client:
        assert named(client) == before
        assert {vm["power_state"] for vm in client.call("VM.get_all_records").values()} == {"Running"}
        more = [client.call("network.create", {"name_label": "more", "other_config": {}}) for _ in range(20)]
        assert first not in more


def xenet(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "xenet.cli.xenet", *arguments]
    done = subprocess.run(command, check=False, env={**os.environ, **environment}, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def test_an_inventory_is_read_from_another_server_over_tls_and_served(tmp_path: Path) -> None:
    copy, again, file = str(tmp_path / "copy"), str(tmp_path / "again"), str(tmp_path / "pool.json")
    with serving("--hosts", "2", "--nics", "2", "--vms", "3", "--tls") as server, server.client() as client:
        before, revision = named(client), client.call("event.get_current_id")
        assert xenet("import", "--from", server.url, "--state", copy, XENET_PASSWORD=PASSWORD) == ""
        assert xenet("export", file, "--socket", server.socket) == ""
        assert client.call("event.get_current_id") == revision, "the server is only read"
        assert "AUTHENTICATION" in xenet("import", "--from", server.url, "--state", again, XENET_PASSWORD="no")
    assert "already" in xenet("import", file, "--state", copy)
    assert xenet("import", file, "--state", again) == ""
    for state in (copy, again):
        with serving("--state", state) as server, server.client() as client:
            assert named(client) == before
            assert all(pif["currently_attached"] for pif in client.call("PIF.get_all_records").values())
