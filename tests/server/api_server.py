"""A pool server as a user starts it: `xenet serve` in a process of its own, with an agent whose host is a model in memory."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import XenAPI

from xenet.client import Client

PASSWORD = "a password for tests"
PENALTY = 1.0
"""Seconds that a wrong password costs here."""
NULL = "OpaqueRef:NULL"
ABSENT = "OpaqueRef:absent"


class ApiServer:
    """Where a running server answers."""

    def __init__(self, url: str, socket: str, pid: int) -> None:
        self.url = url
        self.socket = socket
        self.pid = pid

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    @contextmanager
    def sdk(self, *, unix: bool = False) -> Iterator[Any]:
        """The published SDK, not logged in."""
        if unix:
            made = XenAPI.Session(f"http://{self.socket.replace('/', '_')}", transport=XenAPI.XenAPI.UDSTransport())
        else:
            made = XenAPI.Session(self.url, ignore_ssl=True)
        with made:
            yield made

    def bare(self) -> Client:
        """JSON-RPC, not logged in. It never logs in again by itself, so refusals come as they are."""
        return Client.connect(self.url)

    def client(self) -> Client:
        """The same, logged in."""
        return self.bare().login("root", PASSWORD)


@contextmanager
def serving(*options: str) -> Iterator[ApiServer]:
    """`xenet serve --datapath fake` with these options, from start to orderly end."""
    command = [sys.executable, "-m", "xenet.cli.xenet", "serve", "--datapath", "fake", *options]
    environment = {**os.environ, "XENET_PASSWORD": PASSWORD, "XENET_LOGIN_PENALTY": str(PENALTY)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = dict(pair.split("=", 1) for pair in process.stdout.readline().split())
            yield ApiServer(said["XENET_URL"], said["XENET_SOCKET"], process.pid)
        finally:
            process.terminate()
            status = process.wait(30)
        assert status == 0, "the server did not end in order"


@contextmanager
def api_server(*options: str) -> Iterator[ApiServer]:
    """A server with a host of two NICs, and a folder that is gone at the end."""
    # The SDK reads each underscore of a socket's path as a slash, so pytest's own folders will not do.
    state = Path(tempfile.gettempdir(), f"xenetapi{secrets.token_hex(6)}")
    try:
        with serving("--state", str(state), "--nics", "eth0,eth1", *options) as server:
            yield server
    finally:
        shutil.rmtree(state, ignore_errors=True)


def vm_record(**more: Any) -> dict[str, Any]:
    """The least that VM.create takes, numbers as clients send them."""
    return {
        **dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min", "VCPUs_max", "VCPUs_at_startup"), "1"),
        **{name: {} for name in ("HVM_boot_params", "platform", "other_config")},
        **dict.fromkeys(("HVM_boot_policy", "recommendations"), ""),
        "is_a_template": False,
        "affinity": NULL,
        "actions_after_shutdown": "destroy",
        "actions_after_reboot": "restart",
        "actions_after_crash": "restart",
        **more,
    }


def vif_record(vm: str, network: str, device: str = "0", **more: Any) -> dict[str, Any]:
    """What Xen Orchestra sends to VIF.create."""
    base = {"VM": vm, "network": network, "device": device, "MAC": "", "MTU": "1500"}
    return {**base, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}, **more}
