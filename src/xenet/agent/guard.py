"""The guard of the way to this host: after its management interface has moved or changed, the gateway must answer, or the change fails.

Only a change can cut a host off, so nothing is asked where there was no management interface before, where there is no gateway to ask, or
at an agent's start. While it asks, the PIF's operations wait and the API stays at the old door; what it finds ends them, and the server
takes back what failed.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from xenet.agent.arp import PATIENCE
from xenet.plan.reach import Reach

log = logging.getLogger("xenet.agent")
SLICE = 1.0
"""Seconds of asking after which the guard looks whether it is still wanted."""
Answers = Callable[[str, str, str, str, float], bool]
"""Whether, through a device with a MAC and an address, a gateway answers within so many seconds. May block, may raise OSError."""


class Guard:
    """Calls `changed` when it has an answer. Without `answers` every way is good."""

    def __init__(self, answers: Answers | None, changed: Callable[[], None], patience: float = PATIENCE) -> None:
        self._answers = answers
        self._changed = changed
        self._patience = patience
        self._good: Reach | None = None
        """The last way that was found good, or that there was no reason to doubt."""
        self._asking: tuple[Reach, asyncio.Task[None]] | None = None
        self._failed: Reach | None = None
        self._heard = False
        """Whether the server knows of the failure."""

    def follow(self, reach: Reach | None) -> None:
        """This is the way to the host now. One that failed has to do when the server, which heard of it, has left it as it is."""
        if (self._asking and self._asking[0] == reach) or (self._failed and self._failed == reach and not self._heard):
            return
        self.close()
        failed, self._failed, self._heard = self._failed, None, False
        if reach is None:
            self._good = None
        elif reach.address and self._is_doubtful(reach) and reach != failed:
            self._asking = reach, asyncio.create_task(self._ask(reach))
        elif reach.address:
            self._good = reach

    def _is_doubtful(self, reach: Reach) -> bool:
        return self._answers is not None and self._good not in (None, reach) and bool(reach.gateway) and ":" not in reach.gateway

    def waiting(self) -> set[str]:
        """The PIF whose gateway is being asked."""
        return {self._asking[0].pif} if self._asking else set()

    def failures(self) -> dict[str, str]:
        """The PIF whose gateway did not answer."""
        if self._failed is None:
            return {}
        return {self._failed.pif: f"gateway {self._failed.gateway} did not answer through {self._failed.device} within {self._patience:.0f} s"}

    def reported(self) -> None:
        """The server has been told of the failures."""
        self._heard = self._failed is not None

    def close(self) -> None:
        if self._asking:
            self._asking[1].cancel()
            self._asking = None

    async def _ask(self, reach: Reach) -> None:
        until = time.monotonic() + self._patience
        answered = False
        while not answered and time.monotonic() < until:
            answered = await self._try(reach)
        self._good, self._failed = (reach, None) if answered else (self._good, reach)
        self._asking = None
        self._changed()

    async def _try(self, reach: Reach) -> bool:
        assert self._answers is not None
        with suppress(OSError):  # the device is not there yet
            return await asyncio.to_thread(self._answers, reach.device, reach.mac, reach.address, reach.gateway, SLICE)
        await asyncio.sleep(SLICE / 10)
        return False
