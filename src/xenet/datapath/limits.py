"""Limits: what the guests behind some ports may send, set, changed and removed, a chunk of ports at a time.

A port's limiter (an ifb with a bucket) is made first and the filter that sends frames through it comes last, so a limit that took effect
is whole, whenever its maker was killed; what comes before the filter changes nothing for the guest, and belongs to nobody without it: it is
used by whoever tries again, or reaped. A new rate changes the bucket in place, so what waits in the queue stays there.
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress

from xenet.datapath.batch import Refused
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import Link, create_ifb, set_link
from xenet.datapath.mark import LIVE, is_ours, limited_by, limiter_alias
from xenet.datapath.netlink import NetlinkError, Request
from xenet.datapath.tc import add_ingress, bucket_for, redirect, remove_ingress, remove_redirect, set_bucket
from xenet.plan.limit import limiter_of
from xenet.plan.view import PortView


class Limit:
    """A port's limit on its way, and what stopped it. `port` and `limiter` are ifindexes, 0 while there is no limiter."""

    def __init__(self, view: PortView, port: int) -> None:
        self.view = view
        self.port = port
        self.limiter = 0
        self.error: Exception | None = None


class Limits:
    """Of the ports that a kernel knows."""

    room = "clsact"
    """What makes room for the filter, and for those that copy behind the device."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def _limiter_of(self, device: str) -> str:
        """The limiter's name."""
        return limiter_of(device)

    def _create(self, limit: Limit) -> Request:
        """A limiter, down."""
        return create_ifb(self._limiter_of(limit.view.device), LIVE)

    def _connect(self, limits: Sequence[Limit]) -> None:
        """Limiters that are up, with what lies behind them. An ifb gives frames back by itself."""

    def apply(self, views: Sequence[PortView]) -> dict[str, Exception]:
        """Bring ports that exist to their rates; those that could not be, by device. Nothing is sent for one that is as wanted."""
        found = [Limit(view, link.index) for view in views if (link := self._kernel.table.link(view.device))]
        limits = [limit for limit in found if limit.view.rate and not self._as_wanted(limit)]
        freed = [limit for limit in found if not limit.view.rate and limit.port in self._kernel.table.shaping.targets]
        self._set(limits)
        self._remove(freed)
        return {limit.view.device: limit.error for limit in limits + freed if limit.error}

    def _as_wanted(self, limit: Limit) -> bool:
        """Also finds the limiter in use."""
        limiter = self._limiter(limit)
        if limiter is None or not limiter.up or self._kernel.table.shaping.targets.get(limit.port) != limiter.index:
            return False
        limit.limiter = limiter.index
        return self._kernel.table.shaping.buckets.get(limiter.index) == bucket_for(limit.view.rate, limit.view.mtu)

    def _limiter(self, limit: Limit) -> Link | None:
        """The port's own limiter, in use or not."""
        link = self._kernel.table.link(self._limiter_of(limit.view.device))
        return link if link and limited_by(link) == limit.view.device else None

    def _set(self, limits: Sequence[Limit]) -> None:
        fresh = [limit for limit in limits if not limit.limiter]
        if fresh:
            self._make(fresh)
        self._send(limits, lambda limit: set_bucket(limit.limiter, bucket_for(limit.view.rate, limit.view.mtu)))
        self._send(fresh, lambda limit: add_ingress(limit.port, self.room), errno.EEXIST)
        broken = [limit for limit in fresh if limit.port in self._kernel.table.shaping.targets]
        self._send(broken, lambda limit: remove_redirect(limit.port), errno.ENOENT, errno.EINVAL)
        self._send(fresh, lambda limit: redirect(limit.port, limit.limiter))

    def _make(self, limits: Sequence[Limit]) -> None:
        """Limiters that are up; what is left of an earlier one of the same name is used, or makes way."""
        self._make_way(limits)
        missing = [limit for limit in limits if self._limiter(limit) is None]
        self._send(missing, self._create)
        self._kernel.drain()
        for limit in limits:
            link = self._kernel.table.link(self._limiter_of(limit.view.device))
            if link and not limit.error:
                limit.limiter = link.index
        mode = self._kernel.no_link_local(1500)
        self._send(limits, lambda limit: set_link(limit.limiter, alias=limiter_alias(limit.view), addr_gen_mode=mode))
        self._send(limits, lambda limit: set_link(limit.limiter, up=True))
        self._connect(limits)

    def _make_way(self, limits: Sequence[Limit]) -> None:
        """For a limiter's name: what is ours and of no use goes, anything else stays, and is the limit's error."""
        useless = {link.index for link in self._kernel.table.remnants()}
        obstacles = []
        for limit in limits:
            link = self._kernel.table.link(self._limiter_of(limit.view.device))
            if link is None or self._limiter(limit):
                continue
            if is_ours(link) and link.index in useless:
                obstacles.append(link.index)
            else:
                limit.error = Refused(f"{link.name} exists already")
        with suppress(NetlinkError):  # then the name is still taken, and making the limiter says so
            self._kernel.delete_together(obstacles)
        self._kernel.drain()

    def _remove(self, limits: Sequence[Limit]) -> None:
        """The limiter itself is of no use then, and goes with the next `reap`."""
        self._send(limits, lambda limit: remove_redirect(limit.port), errno.ENOENT, errno.EINVAL)
        bare = [limit for limit in limits if not limit.error and not self._kernel.filters(limit.port)]
        self._send(bare, lambda limit: remove_ingress(limit.port, self.room), errno.ENOENT, errno.EINVAL)

    def _send(self, limits: Sequence[Limit], request: Callable[[Limit], Request], *settled: int) -> None:
        """To the kernel, for those that nothing has stopped; an errno in `settled` says that it was so already."""
        well = [limit for limit in limits if limit.error is None]
        for limit, error in zip(well, self._kernel.do([request(limit) for limit in well]), strict=True):
            limit.error = error if error and error.errno not in settled else None
