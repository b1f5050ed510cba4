"""A small call over keep-alive, the whole server with its sessions and dispatch, against an echo of the same HTTP server."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xmlrpc.client import dumps

from bench.harness import Row, at_most, median, paired
from bench.wire import CALLS, KINDS, ROUNDS, Caller, served
from xenet.client import Client
from xenet.wire import jsonrpc, xmlrpc

BOUND = 1.5
BRIDGE = "brbench"
OWN = jsonrpc.JSONCall("network.get_bridge", [], 0, 2)


@contextmanager
def _server() -> Iterator[tuple[int, str]]:
    """A server without hosts: its port and its socket."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "xenet.cli.xenet", "serve", "--no-agent", "--state", folder, "--listen", "127.0.0.1:0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "XENET_PASSWORD": "bench"}) as server:
            assert server.stdout
            try:
                line = server.stdout.readline()
                yield int(line.split("/ ")[0].rpartition(":")[2]), str(Path(folder) / "xapi")
            finally:
                server.terminate()


def run() -> Iterator[Row]:
    with _server() as (port, socket_path), Client.connect(socket_path).login() as client:
        network = client.call("network.create", {"name_label": "bench", "other_config": {}, "bridge": BRIDGE})
        params = (client.session, network)
        kinds = {
            "XML-RPC": ("/RPC2", dumps(params, OWN.method).encode(), xmlrpc.encode_success(BRIDGE)),
            "JSON-RPC": (
                "/jsonrpc",
                json.dumps({"jsonrpc": "2.0", "method": OWN.method, "params": params, "id": OWN.id}).encode(),
                jsonrpc.encode_success(OWN, BRIDGE),
            ),
        }
        with served() as (_, *echoes):
            for echo, (name, (path, body, answer)) in zip(echoes, kinds.items(), strict=True):
                ours, bare = Caller(port, path, body, answer), Caller(echo, path, body, KINDS[name][3])
                with ours.sock, bare.sock:
                    ratio = median(paired(ours, bare, ROUNDS))
                yield at_most(f"network.get_bridge by {name} to the whole server, against an echo", ratio, BOUND, note=f"{ROUNDS} rounds of {CALLS}")
