"""What is known of the locks on a host's ports and of the fences of its bonds, kept from dumps and notifications of nftables."""

import errno
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from xenet.datapath import nftables
from xenet.datapath.batch import Refused
from xenet.datapath.fence import layouts
from xenet.datapath.netlink import NetlinkError, Overrun, Socket
from xenet.datapath.nft import pristine
from xenet.plan.lock import Elements, Span, observed_lock
from xenet.plan.view import LockView

_BUFFER = 4 << 20
"""Bytes of notifications that may wait: an element is one of about 200."""
_NONE = (errno.EPROTONOSUPPORT, errno.EINVAL, errno.ENOENT)
"""What the kernel says when it has no nfnetlink."""


class Known:
    """By port, the elements of the table; and whether there is one, with the layout that it must have."""

    def __init__(self) -> None:
        self._ports: defaultdict[str, defaultdict[str, set[Span]]] = defaultdict(lambda: defaultdict(set))
        self.present = False
        self.intact = False

    def load(self, messages: Iterable[bytes] | None, intact: bool) -> set[str]:
        """Take full dumps (None: there is no table) in place of all that was known; the ports where something may have changed."""
        before, was = {port: self.elements(port) for port in self._ports}, self.intact
        self._ports.clear()
        self.present, self.intact = messages is not None, intact
        for message in messages or ():
            self.take(True, message)
        ports = before.keys() | self._ports.keys()
        return set(ports) if was != intact else {port for port in ports if before.get(port, {}) != self.elements(port)}

    def take(self, new: bool, message: bytes) -> set[str]:
        """Take a notification of elements; the ports that it concerns."""
        touched = set()
        for element in nftables.elements_in(message):
            spans = self._ports[element.device][element.set]
            if new:
                spans.add(element.span)
            else:
                spans.discard(element.span)
            if not any(self._ports[element.device].values()):
                del self._ports[element.device]
            touched.add(element.device)
        return touched

    def elements(self, port: str) -> Elements:
        if port not in self._ports:
            return {}
        return {name: frozenset(spans) for name, spans in self._ports[port].items() if spans}

    def ports(self) -> set[str]:
        return set(self._ports)

    def lock(self, port: str, mac: str) -> LockView | None:
        """The lock of a port whose guest has this MAC."""
        lock = observed_lock(mac, self.elements(port)) if port in self._ports else None
        return msgspec.structs.replace(lock, whole=lock.whole and self.intact) if lock else None


class Guard:
    """The kernel's side of it, in the network namespace of the thread that makes it. A kernel without nfnetlink has no locks."""

    def __init__(self) -> None:
        self.known = Known()
        self._fences: dict[str, nftables.Layout] = {}
        self._stale = False
        self._sockets: tuple[Socket, Socket] | None = None
        try:
            socket = Socket(protocol=nftables.NETLINK_NETFILTER)
            self._sockets = socket, Socket((nftables.NEWS,), _BUFFER, nftables.NETLINK_NETFILTER)
        except OSError as error:
            if error.errno not in _NONE:
                raise

    def close(self) -> None:
        for socket in self._sockets or ():
            socket.close()

    def filenos(self) -> list[int]:
        """Readable when there are news."""
        return [self._sockets[1].fileno()] if self._sockets else []

    def observe(self) -> set[str]:
        """Read everything anew; the ports and bonds where something may have changed. Raises NetlinkError."""
        if self._sockets is None:
            return set()
        self._stale = False
        try:
            elements = nftables.dump_elements(self._sockets[0])
            layout = nftables.dump_layout(self._sockets[0]) if elements is not None else None
            fences = nftables.dump_fences(self._sockets[0])
        except NetlinkError as error:
            if error.errno != errno.EPERM:  # who may not ask has made no locks
                raise
            return set()
        before, self._fences = self._fences, fences
        rebuilt = {bond for bond in before.keys() | fences.keys() if before.get(bond) != fences.get(bond)}
        return rebuilt | self.known.load(elements, layout is not None and _is_pristine(layout))

    def fenced(self) -> set[str]:
        """The bonds that have something of a fence."""
        return set(self._fences)

    def ear(self, bond: str, slaves: Sequence[str]) -> str:
        """The slave that listens for all in this bond's fence; empty where it has none of these slaves, or not as it was made."""
        layout = self._fences.get(bond)
        if layout is None:
            return ""
        try:
            return layouts(bond, tuple(slaves)).get(layout, "")
        except (Refused, OSError):  # nft is gone: what cannot be told is not as it must be
            return ""

    def drain(self) -> set[str]:
        """Take in the notifications that wait; the ports and bonds that they concern. What is no element brings everything anew."""
        if self._sockets is None:
            return set()
        touched: set[str] = set()
        try:
            for kind, message in self._sockets[1].news():
                if nftables.is_ours(kind, message):
                    if nftables.is_of_elements(kind):
                        touched |= self.known.take(nftables.adds(kind), message)
                    else:
                        self._stale = True
                elif nftables.fenced(kind, message) and not nftables.is_of_elements(kind):
                    self._stale = True
        except Overrun:
            self._stale = True
        return touched | self.observe() if self._stale else touched


def _is_pristine(layout: nftables.Layout) -> bool:
    try:
        return layout == pristine()
    except (Refused, OSError):  # nft is gone: what cannot be told is not as it must be
        return False
