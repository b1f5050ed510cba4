"""Limits for the userspace datapath: a pair of devices between a VIF and the switch.

Packet sockets hear a device before any filter does, so what a guest sends cannot be sent on a detour as on a bridge. Instead all of it goes into
the near end of a pair (`leg<domid>.<index>`), behind which a token bucket queues it, and the far end (`lim<domid>.<index>`) is the port of the
switch; what comes for the guest goes back the same way without a queue.
"""

import errno
import os
from collections.abc import Sequence

from xenet.datapath.kernel import Kernel
from xenet.datapath.limits import Limit, Limits
from xenet.datapath.links import GuestEnd, create_veth, set_link
from xenet.datapath.mark import HOST_MAC, LIVE, leg_alias
from xenet.datapath.netlink import Request
from xenet.datapath.openvswitch.specs import leg_of
from xenet.datapath.openvswitch.uplinks import ROOM
from xenet.datapath.tc import add_ingress, redirect, swallow
from xenet.plan.view import PortView


class Legs(Limits):
    """For the userspace datapath."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._here)

    def build(self, views: Sequence[PortView]) -> dict[str, Exception]:
        """The pairs of these ports, which nothing goes through yet."""
        links = [(view, self._kernel.table.link(view.device)) for view in views if view.rate]
        limits = [Limit(view, link.index) for view, link in links if link]
        missing = [limit for limit in limits if self._limiter(limit) is None]
        if missing:
            self._make(missing)
        return {limit.view.device: limit.error for limit in missing if limit.error}

    def _limiter_of(self, device: str) -> str:
        return f"leg{device[3:]}"

    def _create(self, limit: Limit) -> Request:
        mtu = limit.view.mtu
        far = GuestEnd(self._here, leg_of(limit.view.device), HOST_MAC, mtu)
        return create_veth(self._limiter_of(limit.view.device), HOST_MAC, mtu, LIVE, far)

    def _connect(self, limits: Sequence[Limit]) -> None:
        """The far end, and the way back. All of it is there before the port's filter is, without which the pair goes with the next `reap`."""
        mode = self._kernel.no_link_local(1500)
        self._send(limits, lambda limit: set_link(self._far(limit), group=LIVE, alias=leg_alias(limit.view), addr_gen_mode=mode))
        self._kernel.drain()
        for act in (lambda limit: add_ingress(self._far(limit), ROOM), lambda limit: swallow(self._far(limit))):
            self._send(limits, act, errno.EEXIST)
        self._send(limits, lambda limit: add_ingress(limit.limiter, ROOM), errno.EEXIST)
        self._send(limits, lambda limit: redirect(limit.limiter, limit.port), errno.EEXIST)

    def _far(self, limit: Limit) -> int:
        link = self._kernel.table.link(leg_of(limit.view.device))
        return link.index if link else 0
