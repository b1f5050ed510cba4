"""xe against xenet's own server and agent, on the fake datapath: what one sends, the other takes."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.canned_pool import CannedPool
from tests.cli.xe_runner import Runner

PATIENCE = 60
"""Seconds for the server to say that it is ready, and to stop."""
Xe = Callable[[str], str]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    state = tmp_path_factory.mktemp("state")
    command = f"{sys.executable} -m xenet.cli.xenet serve --state {state} --listen 127.0.0.1:0 --datapath fake --store memory"
    environ = {**os.environ, "XENET_PASSWORD": "secret"}
    with subprocess.Popen(shlex.split(command), env=environ, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield Runner(CannedPool(), _announced(server))
        finally:
            server.terminate()
            server.wait(PATIENCE)


def _announced(server: "subprocess.Popen[str]") -> dict[str, str]:
    """The variables of the line that the server prints when it is ready."""
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("XENET_URL="):
            return dict(word.split("=", 1) for word in line.split())
    raise AssertionError("the server ended before it was ready")


@pytest.fixture
def xe(runner: Runner) -> Xe:
    def run(line: str) -> str:
        outcome = runner(line)
        assert (outcome.status, outcome.err) == (0, ""), line
        return outcome.out.rstrip("\n")

    return run


def test_a_vm_s_life(xe: Xe, runner: Runner) -> None:
    green, red = xe("network-create name-label=green"), xe("network-create name-label=red MTU=9000")
    vm = xe("vm-create name-label=vm1")
    vif = xe(f"vif-create vm-uuid={vm} network-uuid={green} device=0 mac=random")
    xe("vm-start vm=vm1")
    assert xe("vm-list power-state=running params=name-label --minimal") == "vm1"
    xe(f"vif-unplug uuid={vif}")
    assert xe(f"vif-param-get uuid={vif} param-name=currently-attached") == "false"
    xe(f"vif-plug uuid={vif}")
    refused = runner(f"vif-plug uuid={vif}")
    assert (refused.status, refused.out, refused.err) == (1, "", f"The device is plugged already.\nvif: {vif} (0)\n")
    xe(f"vif-move uuid={vif} network-uuid={red}")
    assert xe("vm-vif-list vm=vm1 --minimal") == vif
    assert xe(f"vif-list uuid={vif} params=network-name-label --minimal") == "red"
    assert xe(f"network-fdb-list uuid={red}").split()[:6] == ["MAC", "HOST", "PORT", "OWNER", "AGE", "LOCAL"]
    assert runner(f"network-destroy uuid={red}").status == 1
    xe("vm-shutdown vm=vm1")
    xe("event-wait class=vm name-label=vm1 power-state=halted")
    xe(f"vif-destroy uuid={vif}")
    xe("vm-uninstall vm=vm1 --force")
    xe(f"network-destroy uuid={green}")
    xe(f"network-destroy uuid={red}")
    assert xe("vm-list --all --minimal") == xe("vif-list --minimal") == ""


def test_fields(xe: Xe, runner: Runner) -> None:
    network = xe("network-create name-label=blue")
    xe(f"network-param-set uuid={network} name-description=sky MTU=1400 other-config:a=b=c")
    xe(f"network-param-add uuid={network} param-name=tags param-key=x")
    assert xe(f"network-list uuid={network} other-config:a=b=c tags:contains=x params=MTU --minimal") == "1400"
    duplicate = runner(f"network-param-add uuid={network} param-name=other-config a=d")
    assert f"uuid: {network} (blue)\nkey: a\n" in duplicate.err
    xe(f"network-param-remove uuid={network} param-name=other-config param-key=a")
    xe(f"network-param-clear uuid={network} param-name=tags")
    assert xe(f"network-param-get uuid={network} param-name=tags") == ""
    assert xe(f"network-param-get uuid={network} param-name=other-config") == ""
    xe(f"network-destroy uuid={network}")


@pytest.mark.parametrize(
    "name", ["network", "pif", "vif", "bond", "vlan", "tunnel", "network-sriov", "host", "pool", "vm", "template", "snapshot", "task"]
)
def test_every_class_is_listed_with_all_its_fields(xe: Xe, name: str) -> None:
    uuids = xe(f"{name}-list --minimal").split(",")
    assert xe(f"{name}-list params=all").count("uuid ( RO)") >= (len(uuids) if uuids != [""] else 0)
    for uuid in filter(None, uuids):
        shown = xe(f"{name}-param-list uuid={uuid}")
        assert "<invalid reference>" not in shown
        assert uuid in shown


def test_over_tcp_with_a_password(runner: Runner, tmp_path: Path) -> None:
    url = runner.environ["XENET_URL"]
    remote = Runner(CannedPool(), {"XENET_URL": url, "HOME": str(tmp_path)})
    assert remote("host-list --minimal -pw secret").out == runner("host-list --minimal").out
    assert remote("host-list -pw wrong").err == "Authentication failed\n"
