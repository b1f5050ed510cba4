"""Addresses for guests on the host internal management network: a real DHCP server (dnsmasq) in the host's namespace, on that one bridge.

Who gets which address the pool has decided; the server has it in a file, which it reads again when told. It ends with the agent, however
that ends, and the next agent starts another.
"""

import asyncio
import logging
import signal
from pathlib import Path

import msgspec

from xenet.plan.himn import DHCPServer

log = logging.getLogger("xenet.agent")
AGAIN = 2.0
"""Seconds before a server that ended is started again."""
LEASE_TIME = "1h"


class GuestDHCP:
    """One server at most, with its files in the agent's folder."""

    def __init__(self, state: Path) -> None:
        self._hosts = state / "himn.hosts"
        self._leases = state / "himn.leases"
        self._wanted: DHCPServer | None = None
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._behind = False
        """Whether the process that begins may have read the clients of before."""
        self._said = ""
        self._port = asyncio.Lock()
        """Whose process it is that may listen."""

    def follow(self, wanted: DHCPServer | None) -> None:
        """Have a server as wanted, None: none. One that is at work is only told of other clients."""
        before, self._wanted = self._wanted, wanted
        if wanted == before:
            return
        if wanted:
            self._hosts.write_text("".join(f"{mac},{address}\n" for mac, address in wanted.leases))
        if wanted and before and _alike(wanted, before):
            self._tell_of_others()
            return
        if self._task:
            self._task.cancel()
        self._task = asyncio.create_task(self._keep(wanted)) if wanted else None

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._port.acquire()  # nobody is left at work, and nobody begins

    def _tell_of_others(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)
        else:
            self._behind = True

    async def _keep(self, server: DHCPServer) -> None:
        """Run it, and again should it end; after the one before has ended."""
        while True:
            try:
                async with self._port:
                    self._say(await self._run(command(server, self._hosts, self._leases)))
            except OSError as error:
                self._say(str(error))
            await asyncio.sleep(AGAIN)

    def _say(self, text: str) -> None:
        """Why there is no server, once: it may stay away for long."""
        if text and text != self._said:
            log.warning("no DHCP server for guests: %s", text)
            self._said = text

    async def _run(self, argv: list[str]) -> str:
        """What it had to complain of, when it has ended."""
        nothing, self._process, self._behind = asyncio.subprocess.DEVNULL, None, False
        process = self._process = await asyncio.create_subprocess_exec(*argv, stdin=nothing, stdout=nothing, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        if self._behind:
            self._tell_of_others()
        try:
            said = await process.stderr.read()
            await process.wait()
            return said.decode(errors="replace").strip()
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()


def _alike(one: DHCPServer, other: DHCPServer) -> bool:
    return msgspec.structs.replace(one, leases=()) == msgspec.structs.replace(other, leases=())


def command(server: DHCPServer, hosts: Path, leases: Path) -> list[str]:
    """dnsmasq(8): DHCP alone, no DNS; none of the machine's own settings; nobody it does not know gets an answer. It is deaf to SIGHUP until it
    listens itself, which is before it reads who its clients are."""
    return [
        *("sh", "-c", 'trap "" HUP; exec "$@"', "sh"),
        *("setpriv", "--pdeathsig", "TERM", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--user=root", "--group=root"),
        *("--port=0", "--no-hosts", "--no-resolv", f"--interface={server.bridge}", "--except-interface=lo", "--bind-dynamic"),
        *("--dhcp-authoritative", "--no-ping", f"--dhcp-range={server.address},static,{server.netmask},{LEASE_TIME}"),
        *(f"--dhcp-hostsfile={hosts}", f"--dhcp-leasefile={leases}"),
        f"--dhcp-option=option:router{f',{server.address}' if server.router else ''}",
        *([f"--dhcp-boot=pxelinux.0,,{server.next_server}"] if server.next_server else []),
    ]
