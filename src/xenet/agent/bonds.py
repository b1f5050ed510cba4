"""When a bond has come, or is no more, what its slaves carried goes another way, and the switches outside must hear of it: who says nothing, a VM
or the host itself, could not be reached before their tables age, and no datapath tells them all by itself.
"""

import asyncio
import logging
import os
from collections.abc import Sequence
from contextlib import suppress

from xenet.agent.failover import Announce, on
from xenet.datapath.base import Datapath
from xenet.model.hidden import BondLinks
from xenet.plan.announcement import announcement, herald
from xenet.plan.view import SwitchView

log = logging.getLogger("xenet.agent")
PAUSES = (0.3, 1.0, 3.0)
"""Seconds between one time and the next: a NIC that has left a bond may have to find its link."""


class Bonds:
    """Speaks for all behind bonds that are new and NICs that a bond has left, as the event loop's time goes on."""

    def __init__(self, datapath: Datapath, announce: Announce) -> None:
        self._datapath = datapath
        self._announce = announce
        self._links: list[BondLinks] = []
        self._slaves: dict[str, tuple[str, ...]] = {}
        """Of each bond that was there."""
        self._changed: set[str] = set()
        """The bonds that have come and the NICs that were let go, as long as they are told of."""
        self._timer: asyncio.TimerHandle | None = None

    def follow(self) -> None:
        links = self._datapath.bonds()
        if links == self._links:
            return
        before, uplinks = self._slaves, [switch.uplink for switch in self._datapath.switches().values()]
        self._links, self._slaves = links, {uplink.device: uplink.bond.slaves for uplink in uplinks if uplink and uplink.bond}
        freed = {slave for device, slaves in before.items() if device not in self._slaves for slave in slaves}
        if changed := freed | (self._slaves.keys() - before.keys()):
            self.close()
            self._changed |= changed
            self._tell(PAUSES)

    def _tell(self, pauses: Sequence[float]) -> None:
        for switch in on(self._changed, self._datapath.switches().values()):
            log.info("%s: telling the switches outside who is on it", switch.bridge)
            self._tell_of(switch)
        if pauses:
            self._timer = asyncio.get_running_loop().call_later(pauses[0], self._tell, pauses[1:])
        else:
            self._changed = set()

    def _tell_of(self, switch: SwitchView) -> None:
        """The host speaks by the switch's own device, which both datapaths have, and so takes the way of its other frames: with the VLAN's tag, on
        the link of the bond that carries its MAC. What is gone by then is no trouble."""
        with suppress(OSError):
            own = [address.partition("/")[0] for address in switch.addresses]
            self._announce(switch.bridge, {switch.mac: own})
        for port in switch.ports.values():
            with suppress(OSError):
                if port.up:
                    self._datapath.speak(port, [*announcement(port.mac, ()), herald(port.mac, os.urandom(5))])

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
