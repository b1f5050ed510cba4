"""`xenet serve`: the server in this process, the host's agent in another one, started again should it die; hosts without hardware here, too."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from xenet.cli.simulate import keep_simulated
from xenet.server.load import Limits
from xenet.server.main import Server, Settings, serve
from xenet.server.sessions import PENALTY

log = logging.getLogger("xenet")
RESTART_AFTER = 1.0
"""Seconds before an agent that died is started again."""


class AgentRefused(OSError):
    """The agent would not start; it has said why itself."""


async def serve_with_agent(options: dict[str, Any]) -> None:
    """Run until SIGTERM or SIGINT. Raises AgentRefused, OSError, StoreError."""
    state: Path = options["state"]
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    started: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(server_settings(options), started.set_result))
    serving.add_done_callback(lambda _: started.cancel())
    await asyncio.wait({started})
    if started.cancelled():
        await serving
    server = started.result()
    if server.new_password is not None:
        click.echo(f"root's password, shown this once: {server.new_password}", err=True)
    there = server.hosts.arrived
    keeping = None
    if options["datapath"] == "fake" and not options["no_agent"]:
        there = asyncio.Event()
        keeping = asyncio.create_task(keep_simulated(options, server, there))
    elif not options["no_agent"]:
        keeping = asyncio.create_task(keep_agent(agent_command(options), server))
    try:
        await _ready(server, there, serving, keeping)
        await asyncio.wait({serving, *({keeping} if keeping else ())}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if keeping is not None:
            keeping.cancel()
            await asyncio.wait({keeping})
        serving.cancel()
        await asyncio.wait({serving})
    for task in (keeping, serving):
        if task is not None and not task.cancelled() and task.exception() is not None:
            raise task.exception() or RuntimeError


def server_settings(options: dict[str, Any]) -> Settings:
    host, port = options["listen"]
    file: Path | None = options["password_file"]
    password = file.read_text().strip() if file else os.environ.get("XENET_PASSWORD", "")
    penalty = float(os.environ.get("XENET_LOGIN_PENALTY", PENALTY))  # for tests, which cannot wait that long
    return Settings(
        state=options["state"],
        host=host,
        port=port,
        store=options["store"],
        tls=options["tls"],
        password=password,
        www=options["www"],
        penalty=penalty,
        limits=Limits(options["session_calls"], options["session_tasks"]),
        log_calls=options["log_calls"],
        seed=options["seed"] if options["datapath"] == "fake" else "",
    )


async def _ready(server: Server, there: asyncio.Event, serving: asyncio.Task[None], keeping: asyncio.Task[None] | None) -> None:
    """Say that the pool answers, once its own hosts are up."""
    if keeping is not None:
        arrived = asyncio.create_task(there.wait())
        await asyncio.wait({arrived, keeping, serving}, return_when=asyncio.FIRST_COMPLETED)
        if not arrived.done():
            arrived.cancel()
            return
    click.echo(f"XENET_URL={server.url} XENET_USER=root XENET_SOCKET={server.settings.state / 'xapi'}")
    sys.stdout.flush()


def agent_command(options: dict[str, Any]) -> list[str]:
    """The command line of this host's agent."""
    state: Path = options["state"]
    command = [sys.executable, "-m", "xenet.cli.xenet", "agent", "--link", str(state / "link"), "--state", str(state / "host")]
    command += ["--parent", str(os.getpid())]
    command += ["--nics", ",".join(options["nics"]) or "all", "--name", options["name"]]
    command += ["--guests", options["guests"], "--datapath", options["datapath"]]
    command += ["--netns", options["netns"]] if options["netns"] else []
    command += ["--resolv-conf", str(options["resolv_conf"])] if options["resolv_conf"] else []
    return [*command, "--take-over"] if options["take_over"] else command


async def keep_agent(command: list[str], server: Server) -> None:
    """Run the agent, and again when it dies. Raises AgentRefused when it ends by itself, which it does when it may not go on."""
    while True:
        process = await asyncio.create_subprocess_exec(*command)
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        if status >= 0:
            raise AgentRefused("the agent of this host stopped: see the line above")
        log.warning("the agent was killed (signal %d); starting it again", -status)
        await asyncio.sleep(RESTART_AFTER)
