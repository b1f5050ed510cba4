"""What is known of a host's devices and limits (addresses and routes: `layer3_table`), kept from dumps and notifications, and the switches in it.

A notification of a device is only laid aside; it is decoded when somebody looks, and only the last one of each device. A SwitchView
is built anew only when its bridge, one of its ports, its addresses or its routes changed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

import msgspec

from xenet.datapath.addresses import Address, Route
from xenet.datapath.layer3_table import ADDRESSES, ROUTES, Layer3Table
from xenet.datapath.links import Link, is_up, link_index, parse_link, port_index
from xenet.datapath.mark import is_ours, is_remnant, is_switch, is_tunnel_end, limited_by, port_view, words
from xenet.datapath.netlink import DELLINK, NEWLINK
from xenet.datapath.shaping import KINDS, Shaping
from xenet.datapath.tc import bucket_for
from xenet.datapath.uplinks import bond_links, is_bond, switch_uplink
from xenet.model.hidden import BondLinks
from xenet.plan.view import LockView, MirrorView, PortView, Settings, SwitchView


class Table:
    """By ifindex, as the kernel counts them."""

    def __init__(self) -> None:
        self._links: dict[int, Link] = {}
        self._names: dict[str, int] = {}
        self._members: defaultdict[int, set[int]] = defaultdict(set)
        self._ports: dict[int, PortView] = {}
        self._switches: set[int] = set()
        self._foreign: set[int] = set()
        """Bridges of others."""
        self._remnants: set[int] = set()
        self._limiters: set[int] = set()
        self._bonds: set[int] = set()
        self._reshaped: set[int] = set()
        """Devices with news of buckets and redirections: whose limits these are is known once the devices' own news are decoded."""
        self._relocked: set[str] = set()
        """Names of ports with news of their locks, and of bonds with news of their fences."""
        self.lock_of: Callable[[str, str], LockView | None] = lambda device, mac: None
        """What a port, by its name and its guest's MAC, is locked to."""
        self.settings_of: Callable[[Link, Settings], Settings] = lambda link, asked: asked
        """Of what is asked of a device's driver, how it is."""
        self.forget_settings: Callable[[int, bool], bool] = lambda index, gone: False
        """There are news of a device, or it is gone; whether anything of it was known to `settings_of`."""
        self._heeded: dict[str, Mapping[str, Settings]] = {}
        self.mirrors_of: Callable[[Link, Set[int]], tuple[MirrorView, ...]] = lambda bridge, members: ()
        """Of a switch with these ports, what is mirrored."""
        self.ear_of: Callable[[str, Sequence[str]], str] = lambda bond, slaves: ""
        """The slave that listens for all in the fence of this bond with these slaves; empty where there is no whole one."""
        self.shaping = Shaping()
        self.peers: dict[int, frozenset[str]] = {}
        """ifindex of a tunnel's device -> the addresses of its peers."""
        self.unsure: set[int] = set()
        """Devices to a tunnel's peers of which a bridge said something: who hears of that asks for them anew."""
        self.layer3 = Layer3Table()
        self._pending: dict[int, bytes] = {}
        self._views: dict[int, SwitchView] = {}
        self._touched: set[str] = set()
        self._ours: set[str] = set()

    def load(
        self,
        links: Iterable[bytes],
        addresses: Iterable[Address],
        routes: Iterable[Route],
        qdiscs: Iterable[bytes] = (),
        filters: Iterable[bytes] = (),
    ) -> None:
        """Take full dumps in place of all that was known."""
        self._pending.clear()
        fresh = {link.index: link for link in map(parse_link, links)}
        for index in self._links.keys() - fresh.keys():
            self._put(index, None)
        for index, link in fresh.items():
            self._put(index, link)
        for index in self.layer3.load(addresses, routes):
            self._touch(index)
        self._reshaped |= self.shaping.load(qdiscs, filters)

    def take(self, kind: int, message: bytes) -> None:
        """Take a notification."""
        if kind in (NEWLINK, DELLINK):
            if index := link_index(message):
                self._pending[index] = message if kind == NEWLINK else b""
                if kind == NEWLINK and not is_up(message) and self.layer3.drop_quiet(index):  # it may be up again in the next one
                    self._touch(index)
            elif (port := self._links.get(port_index(message))) and is_tunnel_end(port):
                self.unsure.add(port.index)
        elif kind in ADDRESSES or kind in ROUTES:
            for index in self.layer3.take(kind, message):
                self._touch(index)
        elif kind in KINDS and (index := self.shaping.take(kind, message)):
            self._reshaped.add(index)

    def settle(self) -> None:
        """Decode what was laid aside."""
        if self._pending:
            pending, self._pending = self._pending, {}
            for index, message in pending.items():
                self._put(index, parse_link(message) if message else None)
        if self._reshaped:
            reshaped, self._reshaped = self._reshaped, set()
            for index in reshaped:
                self._touch(index)
        if self._relocked:
            relocked, self._relocked = self._relocked, set()
            for name in relocked & self._names.keys():
                self._touch(self._names[name])

    def relock(self, ports: Iterable[str]) -> None:
        """There are news of these ports' locks, these bonds' fences."""
        self._relocked |= set(ports)

    def mesh(self, index: int, peers: Iterable[str]) -> None:
        """Take what is known of a tunnel's peers."""
        now = frozenset(peers)
        if self.peers.get(index) != now:
            self.peers[index] = now
            self._touch(index)

    def heed(self, bridge: str, asked: Mapping[str, Settings]) -> None:
        """What is asked of drivers, by device: the views of this bridge tell of these settings."""
        if self._heeded.get(bridge, {}) != asked:
            self._heeded[bridge] = asked
            self._views.pop(self._names.get(bridge, 0), None)

    def heeded(self, bridge: str) -> Mapping[str, Settings]:
        """What is asked of the drivers of this switch, by device."""
        return self._heeded.get(bridge, {})

    def _put(self, index: int, link: Link | None) -> None:
        old = self._links.get(index)
        if link is None:
            self.shaping.forget(index)
            self.peers.pop(index, None)
        known = self.forget_settings(index, link is None)
        if old == link:
            if known:
                self._touch(index)
            return
        if old:
            self._forget(old)
        if link:
            self._links[index] = link
            self._names[link.name] = index
            self._note(link)
        if link is None or not link.up:
            self.layer3.drop_quiet(index)
        self._touch(index, old)

    def _forget(self, old: Link) -> None:
        del self._links[old.index]
        if self._names.get(old.name) == old.index:
            del self._names[old.name]
        self._members[old.master].discard(old.index)
        self._ports.pop(old.index, None)
        self._switches.discard(old.index)
        self._foreign.discard(old.index)
        self._remnants.discard(old.index)
        self._limiters.discard(old.index)
        self._bonds.discard(old.index)

    def _note(self, link: Link) -> None:
        if link.master:
            self._members[link.master].add(link.index)
        if is_ours(link):
            if port := port_view(link):
                self._ports[link.index] = port
            elif is_switch(link):
                self._switches.add(link.index)
            elif limited_by(link):
                self._limiters.add(link.index)
            elif is_bond(link):
                self._bonds.add(link.index)
            if is_remnant(link):
                self._remnants.add(link.index)
        elif link.kind == "bridge":
            self._foreign.add(link.index)

    def _touch(self, index: int, old: Link | None = None) -> None:
        for link in (old, self._links.get(index)):
            if link is None:
                continue
            self._views.pop(link.index, None)
            self._views.pop(link.master, None)
            if link.kind == "bridge" or not is_ours(link):
                self._touched.add(link.name)
            else:
                self._ours.add(link.name)
            if master := self._links.get(link.master):
                self._touched.add(master.name)
                if is_bond(master):
                    self._touch(master.index)
            if port := self._names.get(limited_by(link)):
                self._touch(port)

    def touched(self) -> set[str]:
        """The bridges and NICs that changed since this was last asked."""
        self.settle()
        touched, self._touched = self._touched, set()
        self._ours = set()
        return touched

    def touched_devices(self) -> set[str]:
        """The same by every device's own name, ours included."""
        self.settle()
        ours = self._ours
        return self.touched() | ours

    def links(self) -> list[Link]:
        self.settle()
        return list(self._links.values())

    def link(self, which: int | str) -> Link | None:
        """A device by ifindex or name."""
        self.settle()
        index = self._names.get(which, 0) if isinstance(which, str) else which
        return self._links.get(index)

    def put(self, index: int, message: bytes | None) -> None:
        """Take what the kernel answered about one device, None: it is gone."""
        self._pending[index] = message or b""

    def remnants(self) -> list[Link]:
        """Devices of ours that wait for their deletion, that were left half-made, and limiters that no port's frames go to."""
        self.settle()
        needed = {target for index, target in self.shaping.targets.items() if index in self._ports}
        return [self._links[index] for index in self._remnants | (self._limiters - needed)]

    def rate(self, port: Link) -> int:
        """What a port's guest may send, as PortView.rate has it: from the redirection, the device that it leads to, and its bucket."""
        target = self.shaping.targets.get(port.index)
        if target is None:
            return 0
        limiter, bucket = self._links.get(target), self.shaping.buckets.get(target)
        if limiter is None or not limiter.up or limited_by(limiter) != port.name or bucket is None or not bucket.rate:
            return -1
        return bucket.rate if bucket == bucket_for(bucket.rate, port.mtu) else -1

    def members(self, master: int) -> list[Link]:
        self.settle()
        return [self._links[index] for index in self._members.get(master, ())]

    def bonds(self) -> list[Link]:
        """Our bonds in service."""
        self.settle()
        return [self._links[index] for index in self._bonds]

    def bond_links(self) -> list[BondLinks]:
        """The links of these, by name."""
        return sorted((bond_links(self, link) for link in self.bonds()), key=lambda links: links.device)

    def switches(self) -> dict[str, SwitchView]:
        """Our switches, and what of others' is ours, by name."""
        self.settle()
        views = [self._view(index) for index in self._switches | set(filter(self._lodges, self._foreign))]
        return {view.bridge: view for view in views}

    def foreign(self) -> list[Link]:
        """Bridges of others, by name."""
        self.settle()
        return sorted((self._links[index] for index in self._foreign), key=lambda link: link.name)

    def _lodges(self, bridge: int) -> bool:
        """Whether a bridge has a port of ours."""
        return not self._ports.keys().isdisjoint(self._members.get(bridge, ()))

    def switch(self, name: str) -> SwitchView | None:
        link = self.link(name)
        if link and (link.index in self._switches or (link.index in self._foreign and self._lodges(link.index))):
            return self._view(link.index)
        return None

    def _view(self, index: int) -> SwitchView:
        view = self._views.get(index)
        if view is None:
            view = self._views[index] = self._build(self._links[index])
        return view

    def _build(self, link: Link) -> SwitchView:
        said = words(link.alias)
        members = self._members.get(link.index, set())
        asked = self._heeded.get(link.name, {})
        ports = {port.device: self.held(index, port, asked.get(port.device)) for index in members if (port := self._ports.get(index))}
        if link.index in self._foreign:
            return SwitchView(link.name, "", ports=ports, foreign=True)
        addresses, routes = self.layer3.of(link)
        return SwitchView(
            bridge=link.name,
            network=said["network"],
            mac=link.mac,
            mtu=link.mtu,
            up=link.up,
            uplink=switch_uplink(self, link, asked),
            ports=ports,
            addresses=addresses,
            routes=routes,
            advertisements=link.advertisements,
            ethtool=self.settings_of(link, asked.get(link.name, {})),
            mirrors=self.mirrors_of(link, members),
        )

    def held(self, index: int, port: PortView, asked: Settings | None) -> PortView:
        """With the limit and the lock that hold its guest, and what its driver was told."""
        if asked:
            port = msgspec.structs.replace(port, ethtool=self.settings_of(self._links[index], asked))
        rate = self.rate(self._links[index]) if index in self.shaping.targets else 0
        lock = self.lock_of(port.device, port.mac)
        return msgspec.structs.replace(port, rate=rate, lock=lock) if rate or lock else port

    def port_names(self) -> set[str]:
        """The devices of VIFs that are in service."""
        self.settle()
        return {port.device for port in self._ports.values()}
