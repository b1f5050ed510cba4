"""DHCP for the host's own interfaces: a real client on each bridge whose PIF asks for it.

The client only tells what it was given; it configures nothing. The lease goes to the server, becomes the PIF's IP, and comes back as part
of what is wanted, so an address by DHCP is put on the bridge, watched and mended as a static one is. The machine's /etc is not written.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from xenet.agent.dhcp_programs import Program, parse_lease
from xenet.model.hidden import Lease

log = logging.getLogger("xenet.agent")
PATIENCE = 20.0
"""Seconds without an answer after which the PIF counts as failed; the client goes on asking."""
AGAIN = 2.0
"""Seconds before a client that ended is started again."""
GONE = Lease()
"""A lease that has ended."""


class Asking(msgspec.Struct):
    """A client at work: for which PIF, since when without a lease (loop time)."""

    pif: str
    since: float
    task: "asyncio.Task[None] | None" = None
    lease: Lease | None = None


class Clients:
    """One client a bridge. `changed` is called when a lease came, changed or ended, and when patience is over."""

    def __init__(self, program: Program, state: Path, changed: Callable[[], None]) -> None:
        self._program = program
        self._state = state
        self._changed = changed
        self._asking: dict[str, Asking] = {}

    def follow(self, wanted: Mapping[str, tuple[str, str]]) -> None:
        """Have clients on just these bridges: bridge -> (PIF's uuid, the address to ask for again or "")."""
        for bridge in [b for b, asking in self._asking.items() if b not in wanted or wanted[b][0] != asking.pif]:
            self._stop(bridge)
        for bridge, (pif, address) in wanted.items():
            if bridge not in self._asking:
                asking = self._asking[bridge] = Asking(pif, asyncio.get_running_loop().time())
                asking.task = asyncio.create_task(self._keep(bridge, asking, address))
                asyncio.get_running_loop().call_later(PATIENCE, self._changed)

    def leases(self) -> dict[str, Lease]:
        """By the PIF's uuid, those that a server gave since the client began; GONE for one that ended."""
        return {asking.pif: asking.lease for asking in self._asking.values() if asking.lease is not None}

    def failures(self) -> dict[str, str]:
        """The PIFs that have waited too long."""
        late = asyncio.get_running_loop().time() - PATIENCE
        waiting = ((bridge, asking) for bridge, asking in self._asking.items() if asking.lease in (None, GONE) and asking.since <= late)
        return {asking.pif: f"no DHCP server answered on {bridge} within {PATIENCE:.0f} s" for bridge, asking in waiting}

    def waiting(self) -> set[str]:
        """The PIFs that have no lease and are still given time."""
        return {asking.pif for asking in self._asking.values() if asking.lease in (None, GONE)} - self.failures().keys()

    async def close(self) -> None:
        tasks = [asking.task for asking in self._asking.values() if asking.task]
        for bridge in list(self._asking):
            self._stop(bridge)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self, bridge: str) -> None:
        asking = self._asking.pop(bridge)
        if asking.task:
            asking.task.cancel()

    async def _keep(self, bridge: str, asking: Asking, address: str) -> None:
        """Run the client, and again should it end."""
        self._program.prepare(self._state)
        # The client ends with the agent, however that ends: two clients on a bridge would take turns.
        command = ["setpriv", "--pdeathsig", "TERM", *self._program.command(bridge, address, self._state)]
        while True:
            try:
                await self._run(command, asking)
            except OSError as error:
                log.warning("no DHCP client on %s: %s", bridge, error)
            await asyncio.sleep(AGAIN)

    async def _run(self, command: list[str], asking: Asking) -> None:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=pipe, stderr=nothing)
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                self._heard(asking, line.decode().strip())
            await process.wait()
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()

    def _heard(self, asking: Asking, line: str) -> None:
        lease = parse_lease(line) or (GONE if asking.lease else None)
        if lease != asking.lease:
            asking.lease = lease
            asking.since = asyncio.get_running_loop().time()
            self._changed()
