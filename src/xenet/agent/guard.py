"""The guard of the way to this host: after its management interface has moved or changed, the gateway must answer, or the change fails.

Only a change can cut a host off, so nothing is asked where there was no management interface before, where there is no gateway to ask, or
at an agent's start. While it asks, the PIF's operations wait and the API stays at the old door; what it finds ends them, and the server
takes back what failed.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from xenet.agent.arp import PATIENCE
from xenet.plan.reach import Reach

SLICE = 1.0
"""Seconds of asking after which the guard looks whether it is still wanted."""
GRACE = 5.0
"""Seconds in which the server takes back a change that failed. What it has left by then has to do: no call is behind it."""
Answers = Callable[[str, str, str, str, float], bool]
"""Whether, through a device with a MAC and an address, a gateway answers within so many seconds. May block, may raise OSError."""


class Guard:
    """Calls `changed` when it knows more. Without `answers` every way is good."""

    def __init__(self, answers: Answers | None, changed: Callable[[], None], patience: float = PATIENCE, grace: float = GRACE) -> None:
        self._answers = answers
        self._changed = changed
        self._patience = patience
        self._grace = grace
        self._good: Reach | None = None
        """The last way that was found good, or that there was no reason to doubt."""
        self._doubt: Reach | None = None
        """The way whose gateway is being asked, or has not answered."""
        self._silent = False
        """It has not answered."""
        self._heard = False
        """The server knows that."""
        self._task: asyncio.Task[None] | None = None

    def follow(self, reach: Reach | None) -> None:
        """This is the way to the host now."""
        if reach is not None and reach == self._doubt:
            return
        self.close()
        if reach is None:
            self._good = None
        elif reach.address and self._is_doubtful(reach):
            self._doubt, self._silent, self._heard = reach, False, False
            self._task = asyncio.create_task(self._ask(reach))
        elif reach.address:
            self._good = reach

    def _is_doubtful(self, reach: Reach) -> bool:
        return self._answers is not None and self._good not in (None, reach) and bool(reach.gateway) and ":" not in reach.gateway

    @property
    def in_doubt(self) -> bool:
        """Whether this way may yet be taken back."""
        return self._doubt is not None

    def waiting(self) -> set[str]:
        """The PIF whose gateway is being asked."""
        return {self._doubt.pif} if self._doubt and not self._silent else set()

    def failures(self) -> dict[str, str]:
        """The PIF whose gateway did not answer."""
        if not self._doubt or not self._silent:
            return {}
        why = f"gateway {self._doubt.gateway} did not answer through {self._doubt.device} within {self._patience:.0f} s"
        return {self._doubt.pif: why}

    def reported(self) -> None:
        """The server has been told of the failures."""
        self._heard = self._silent

    def close(self) -> None:
        self._doubt = None
        if self._task:
            self._task.cancel()
            self._task = None

    async def _ask(self, reach: Reach) -> None:
        until = time.monotonic() + self._patience
        while not (answered := await self._try(reach)) and time.monotonic() < until:
            continue
        while not answered and not self._heard:
            self._silent = True
            self._changed()
            await asyncio.sleep(self._grace)
        self._good, self._doubt = reach, None
        self._changed()

    async def _try(self, reach: Reach) -> bool:
        assert self._answers is not None
        with suppress(OSError):  # the device is not there yet
            return await asyncio.to_thread(self._answers, reach.device, reach.mac, reach.address, reach.gateway, SLICE)
        await asyncio.sleep(SLICE / 10)
        return False
