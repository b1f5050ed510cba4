"""The kernel as a datapath sees it: a socket for requests, one for notifications, and the table that both feed; the same for locks and fences."""

import errno
import os
import select
import time
from collections.abc import Sequence

from xenet.datapath.addresses import dump_addresses, dump_routes
from xenet.datapath.batch import Refused
from xenet.datapath.drivers import Drivers
from xenet.datapath.guard import Guard
from xenet.datapath.links import NO_ADDRESS, Link, delete_group, delete_link, get_link, is_operational, link_index, set_link
from xenet.datapath.mark import DOOMED, is_ours, is_switch
from xenet.datapath.netlink import (
    IPV4_ADDR_NEWS,
    IPV4_ROUTE_NEWS,
    IPV6_ADDR_NEWS,
    IPV6_ROUTE_NEWS,
    LINK_NEWS,
    TC_NEWS,
    NetlinkError,
    Overrun,
    Request,
    Socket,
)
from xenet.datapath.peers import dump_peers
from xenet.datapath.table import Table
from xenet.datapath.tc import BEFORE, BEHIND, INGRESS, get_filters, get_qdiscs, kind_of, place_of

_NEWS = (LINK_NEWS, TC_NEWS, IPV4_ADDR_NEWS, IPV6_ADDR_NEWS, IPV4_ROUTE_NEWS, IPV6_ROUTE_NEWS)
_BUFFER = 8 << 20
"""Bytes of notifications that may wait: a port's creation brings about 16 of 2-4 kB each."""
_IPV6_MIN_MTU = 1280


class Kernel:
    """Of the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self.socket = Socket()
        self.news = Socket(_NEWS, _BUFFER)
        self.table = Table()
        self.guard = Guard()
        self.table.lock_of = self.guard.known.lock
        self.drivers = Drivers()
        self.table.settings_of, self.table.forget_settings = self.drivers.seen, self.drivers.forget
        self.table.ear_of = self.guard.ear
        self._poll = select.epoll()
        for fileno in (self.news.fileno(), *self.guard.filenos()):
            self._poll.register(fileno, select.EPOLLIN)
        self._ipv6 = os.path.exists("/proc/sys/net/ipv6")
        self.netns = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        """A descriptor of the namespace."""

    def close(self) -> None:
        self.socket.close()
        self.news.close()
        self.guard.close()
        self.drivers.close()
        self._poll.close()
        os.close(self.netns)

    def fileno(self) -> int:
        """Readable when there are notifications."""
        return self._poll.fileno()

    def observe(self) -> None:
        """Read everything anew. What is notified meanwhile is taken afterwards, so the newest word on each device stands."""
        qdiscs = self._dump(get_qdiscs(), errno.EOPNOTSUPP)  # a kernel without them has no limits either
        rooms = {place_of(qdisc).device: kind_of(qdisc) for qdisc in qdiscs if place_of(qdisc).parent == INGRESS}
        filters = [message for index, kind in rooms.items() for message in self.filters(index, kind)]
        self.table.load(self.socket.dump(get_link(0)), dump_addresses(self.socket), dump_routes(self.socket), qdiscs, filters)
        self.look_at_locks()
        for link in self.table.links():
            if link.kind == "vxlan" and is_ours(link):
                self.look_at_peers(link.index)

    def look_at_peers(self, device: int) -> None:
        """Read a tunnel's peers anew. Raises NetlinkError."""
        self.table.mesh(device, dump_peers(self.socket, device))

    def look_at_locks(self) -> None:
        """Read the locks and fences anew. Raises NetlinkError."""
        self.table.relock(self.guard.observe())

    def filters(self, index: int, room: str = "clsact") -> list[bytes]:
        """Those before a device, which may be gone by now, and behind it, where what makes room for them is of this kind. Raises NetlinkError."""
        sides = (BEFORE, BEHIND) if room == "clsact" else (BEFORE,)
        return [message for side in sides for message in self._dump(get_filters(index, side), errno.ENODEV, errno.EINVAL)]

    def _dump(self, request: Request, *nothing: int) -> list[bytes]:
        """An errno in `nothing` says that there is nothing to list. Raises NetlinkError."""
        try:
            return self.socket.dump(request)
        except NetlinkError as error:
            if error.errno not in nothing:
                raise
            return []

    def drain(self) -> None:
        """Take in the notifications that wait; after an overrun, everything."""
        self.table.relock(self.guard.drain())
        try:
            for kind, message in self.news.news():
                self.table.take(kind, message)
            while self.table.unsure:
                index = self.table.unsure.pop()
                self.table.put(index, self.socket.get(get_link(index)))
        except Overrun:
            self._throw_away()
            self.observe()
            self.drain()

    def _throw_away(self) -> None:
        """What waits is older than what was lost: taken after a dump, it would undo newer facts for good."""
        try:
            for _ in self.news.news():
                pass
        except Overrun:
            self._throw_away()

    def do(self, requests: Sequence[Request], through: Socket | None = None) -> list[NetlinkError | None]:
        """The outcome of each; through another namespace's socket where one is given."""
        return (through or self.socket).do(requests)

    def run(self, request: Request, *settled: int) -> None:
        """Carry out one request; an errno in `settled` says that it was so already. Raises NetlinkError."""
        try:
            self.socket.run(request)
        except NetlinkError as error:
            if error.errno not in settled:
                raise

    def ask(self, which: int | str) -> Link | None:
        """A device as it is now. The kernel notifies nobody of a new alias or group of a device that is down."""
        self.drain()
        known = self.table.link(which)
        message = self.socket.get(get_link(which))
        if known and (message is None or link_index(message) != known.index):
            self.table.put(known.index, None)
        if message:
            self.table.put(link_index(message), message)
        return self.table.link(which)

    def await_operation(self, names: Sequence[str], seconds: float) -> None:
        """Until these devices, which are up, have their carrier, so long at most. The kernel tells a bridge of its port's carrier by a work of
        its own, which may be a second late; until then frames are lost."""
        until = time.monotonic() + seconds
        while names and time.monotonic() < until:
            found = {name: self.socket.get(get_link(name)) for name in names}
            names = [name for name, message in found.items() if message and not is_operational(message)]
            if names:
                time.sleep(seconds / 200)

    def own(self, bridge: str) -> Link:
        """Our bridge of this name. Raises Refused."""
        link = self.table.link(bridge)
        if link is None:
            raise Refused(f"there is no bridge {bridge}")
        if not is_switch(link):
            raise Refused(f"{bridge} is not xenet's")
        return link

    def theirs(self, bridge: str) -> Link:
        """Somebody else's bridge of this name. Raises Refused."""
        link = self.table.link(bridge)
        if link is None:
            raise Refused(f"there is no bridge {bridge}")
        if link.kind != "bridge" or is_ours(link):
            raise Refused(f"{bridge} is no bridge of somebody else's")
        return link

    def no_link_local(self, mtu: int) -> int | None:
        """The addr_gen_mode to ask for: none where a device of this MTU has no IPv6 that could be told."""
        return NO_ADDRESS if self._ipv6 and mtu >= _IPV6_MIN_MTU else None

    def delete_together(self, indexes: Sequence[int]) -> None:
        """Delete these devices at one go; those that are gone already do not matter. Raises NetlinkError."""
        if len(indexes) == 1:
            self.run(delete_link(indexes[0]), errno.ENODEV)
        elif indexes:
            self.do([set_link(index, group=DOOMED) for index in indexes])
            self.run(delete_group(DOOMED), errno.ENODEV)
