"""Debian's fence_xenapi, unmodified: a cluster's way to see that a node is dead."""

import os
import subprocess

import pytest

from tests.clients import install
from tests.server.api_server import PASSWORD


@pytest.fixture(scope="module")
def fence(met):
    """Run the agent with an action: its exit status and what it said."""
    install.wanted(install.fence_xenapi)
    library = install.FENCE / "usr/share/fence"

    def run(*action):
        command = [*install.fence_xenapi(), "-l", "root", "-p", PASSWORD, f"--session-url={met.server.url}", *action]
        environment = {**os.environ, "PYTHONPATH": str(library)}
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout.strip(), done.stderr

    return run


def test_it_lists_nodes(met, fence):
    with met.server.client() as client:
        uuid = client.call("VM.get_uuid", met.vm)
    status, said, _ = fence("-o", "list")
    assert status == 0
    assert [line for line in said.splitlines() if line.startswith(uuid)] == [f"{uuid},vm1"]


def test_it_turns_a_node_on_and_off(met, fence):
    with met.server.client() as client:
        for action, state in (("on", "Running"), ("reboot", "Running"), ("off", "Halted")):
            status, said, errors = fence("-n", "vm1", "-o", action)
            assert status == 0, said + errors
            assert client.call("VM.get_power_state", met.vm) == state
    assert fence("-n", "vm1", "-o", "status")[1].endswith("OFF")


def test_a_node_that_is_not_there_is_an_error(fence):
    status, _, _ = fence("-n", "nobody", "-o", "off")
    assert status != 0
