"""A small call over keep-alive to the whole server with its sessions and dispatch, against an echo endpoint in the same process.

In the same one, because the same application in two processes differs by up to half with where the kernel puts them.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xmlrpc.client import dumps

import uvloop

from bench.harness import Row, at_most, median, paired
from bench.wire import CALLS, KINDS, ROUNDS, Caller, echo_apps
from xenet.client import Client
from xenet.server.listeners import Listeners
from xenet.server.main import Server, Settings
from xenet.wire import jsonrpc, xmlrpc

BOUND = 1.5
BRIDGE = "brbench"
OWN = jsonrpc.JSONCall("network.get_bridge", [], 0, 2)


async def _serve(folder: str) -> None:
    """A server without hosts, and the echoes: their ports on one line; ends with its standard input."""
    server = Server(Settings(Path(folder), "127.0.0.1", 0, password="bench"))
    await server.start()
    print(server.port, *[await Listeners(app).open_tcp("127.0.0.1", 0) for app in echo_apps()], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.close()


@contextmanager
def _served() -> Iterator[tuple[list[int], str]]:
    """The ports of the server and of each kind's echo, and the server's socket."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.api", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            assert server.stdin
            try:
                yield [int(port) for port in server.stdout.readline().split()], str(Path(folder) / "xapi")
            finally:
                server.stdin.close()


def run() -> Iterator[Row]:
    with _served() as ((port, *echoes), socket_path), Client.connect(socket_path).login() as client:
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
        for echo, (name, (path, body, answer)) in zip(echoes, kinds.items(), strict=True):
            ours, bare = Caller(port, path, body, answer), Caller(echo, path, body, KINDS[name][3])
            with ours.sock, bare.sock:
                ratio = median(paired(ours, bare, ROUNDS))
            yield at_most(f"network.get_bridge by {name} to the whole server, against an echo", ratio, BOUND, note=f"{ROUNDS} rounds of {CALLS}")


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
