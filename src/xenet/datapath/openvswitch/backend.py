"""The datapath on Open vSwitch, below the same steps as the bridge's.

The database and the kernel are heard by one descriptor. An Open vSwitch of the host's own is started here, and again when one of its daemons
has died; the system's is waited for.
"""

import errno
import logging
import select
import socket
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial

from xenet.datapath.base import FDBEntry, SocketIn
from xenet.datapath.batch import Refused
from xenet.datapath.handover import Handover
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import Link
from xenet.datapath.mark import LIVE, is_ours
from xenet.datapath.namespaces import Guests
from xenet.datapath.nft import REMOVE, load
from xenet.datapath.nics import foreign_master, nic_facts
from xenet.datapath.openvswitch.acting import Acting
from xenet.datapath.openvswitch.batch import Batch
from xenet.datapath.openvswitch.board import Board
from xenet.datapath.openvswitch.bonds import find_links
from xenet.datapath.openvswitch.control import ask
from xenet.datapath.openvswitch.database import Database, Unreachable
from xenet.datapath.openvswitch.fdb import parse_fdb
from xenet.datapath.openvswitch.hubs import is_end
from xenet.datapath.openvswitch.lock_keeper import LockKeeper
from xenet.datapath.openvswitch.openflow import send_from
from xenet.datapath.openvswitch.place import Place
from xenet.datapath.openvswitch.ports import SwitchPorts
from xenet.datapath.openvswitch.programs import find_programs
from xenet.datapath.openvswitch.querier import Querier
from xenet.datapath.openvswitch.timer import Timer
from xenet.datapath.openvswitch.uplinks import Uplinks
from xenet.datapath.openvswitch.watch import AGAIN_MS, Watch
from xenet.datapath.openvswitch.write import Writer
from xenet.datapath.tc import remove_redirect
from xenet.model.hidden import NIC, BondLinks, ForeignBridge, Lease
from xenet.plan import steps as s
from xenet.plan.announcement import announcement, in_vlan
from xenet.plan.view import PortView, Settings, SwitchView
from xenet.plan.vswitch_commands import vswitch_command

log = logging.getLogger("xenet.datapath")
_REAP = 500
START_S = 30.0
"""Seconds that the database has to answer as the agent starts."""
BONDS_MS = 1000
"""Milliseconds between looks at bonds' links, where there are bonds."""


class OpenVSwitchDatapath:
    """Of the network namespace of the thread that makes it."""

    def __init__(self, netns_of: SocketIn, place: Place) -> None:
        """Starts what has to run, connects, and observes. Raises OSError."""
        self._netns_of = netns_of
        self.place = place
        if place.own:
            place.own.ensure()
        self._kernel = Kernel()
        self._database = Database(place.socket, find_programs().schema)
        self._database.connect(START_S)
        self._watch = Watch(place.control)
        self._board = Board(self._database, self._kernel, place.management)
        self._uplinks = Uplinks(self._kernel, self._board, place.userspace)
        self._locks = LockKeeper(self._database, self._board, self._watch)
        self._acting = Acting(self._kernel, self._database, self._board, self._uplinks, place)
        self._ioctl = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._bonds: dict[str, BondLinks] = {}
        self._tick = Timer()
        self._querier = Querier()
        self._epoll = select.epoll()
        for part in (self._kernel, self._database, self._watch, self._querier, self._board.monitor):
            self._epoll.register(part.fileno(), select.EPOLLIN)
        self._epoll.register(self._tick.fd, select.EPOLLIN)
        self._touched: set[str] = set()
        """What has changed, and was not told yet."""
        self.observe()
        self._locks.restore()

    def close(self) -> None:
        self._epoll.close()
        self._tick.close()
        self._querier.close()
        self._board.monitor.close()
        self._watch.close()
        self._database.close()
        self._kernel.close()
        self._ioctl.close()

    # --- hearing -----------------------------------------------------------------------------------

    def observe(self) -> None:
        self._kernel.observe()
        self._hear()
        self._locks.look()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def refresh(self) -> set[str]:
        """Also starts a daemon again that has died, where it is ours to start."""
        renewed = self._mind()
        self._hear()
        if renewed:
            self._locks.look()
            self._locks.restore()
            self._touched |= set(self._board.asked)
        self._querier.follow(self._board.snooped())
        touched, self._touched = self._touched, set()
        return touched

    def _hear(self) -> None:
        self._kernel.drain()
        devices = self._kernel.table.touched_devices()
        names = self._board.take(self._database.run()) | self._board.touch(devices) | self._board.hear_of_flows()
        self._look_at_bonds(names | devices)
        if self._locks.held_back():  # the first attempt may have come before its sockets were there
            self._locks.restore()
            self._tick.set(AGAIN_MS)
        self._touched |= names | {name for name in devices if (link := self._kernel.table.link(name)) is None or not is_ours(link)}

    def _mind(self) -> bool:
        """Whether ovs-vswitchd is another one than before."""
        if self._watch.lost():
            self._locks.hold_back()
        if self.place.own and not (self._watch.alive and self._database.connected) and self.place.own.ensure():
            self._database.hurry()
        renewed = self._watch.look()
        if renewed:  # what was known of flows was the other one's
            self._board.locks.forget()
            self._querier.forget()
        return renewed

    def heed(self, bridge: str, asked: Mapping[str, Settings]) -> None:
        if self._kernel.table.heeded(bridge) != asked:
            self._kernel.table.heed(bridge, asked)
            self._board.forget()

    def steer(self) -> set[str]:
        """ovs-vswitchd moves frames to other links, and tells the switches outside, by itself."""
        return set()

    def bridges(self) -> list[ForeignBridge]:
        """Those in the database, and the kernel's."""
        links = [link for name in sorted(self._board.others) if (link := self._kernel.table.link(name))]
        return [ForeignBridge(link.name, link.mtu) for link in links] + [
            ForeignBridge(link.name, link.mtu, fits=False) for link in self._kernel.table.foreign()
        ]

    def switches(self) -> dict[str, SwitchView]:
        return self._board.switches()

    def switch(self, bridge: str) -> SwitchView | None:
        return self._board.switch(bridge)

    def nics(self, devices: Sequence[str]) -> list[NIC]:
        return nic_facts(self._kernel.table, self._ioctl, devices)

    def bonds(self) -> list[BondLinks]:
        return [self._bonds[device] for device in sorted(self._bonds)]

    def _look_at_bonds(self, news: Set[str]) -> None:
        """Where there are news of them, and now and then: ovs-vswitchd tells nobody when a link counts again."""
        asked = {up.device: (name, up.bond) for name, switch in self._board.asked.items() if (up := switch.uplink) and up.bond}
        concerned = {part for name, bond in asked.values() for part in (name, *bond.slaves)}
        if not self._tick.take() and asked.keys() == self._bonds.keys() and news.isdisjoint(concerned):
            return
        found = {device: find_links(device, bond, self.place.control(), self._kernel.table) for device, (_, bond) in asked.items()}
        self._touched |= {asked[device][0] for device in found if found[device] != self._bonds.get(device)}
        self._bonds = found
        self._tick.set(BONDS_MS if asked else None)

    def foreign(self, bridge: str) -> bool:
        if bridge in self._board.others:
            return True
        if bridge in self._board.asked:
            return False
        link = self._kernel.table.link(bridge)
        return link is not None and not is_ours(link)

    def foreign_master(self, device: str) -> str | None:
        if device in self._board.taken():
            return None
        master = foreign_master(self._kernel.table, device)
        return self._board.foreign(device) or (master.name if master else None)

    def advertised(self, bridge: str) -> Lease:
        return self._kernel.table.layer3.advertised(self._kernel.table.link(bridge))

    def fdb(self, bridge: str) -> list[FDBEntry]:
        if bridge not in self._board.asked:
            return []
        home, tag = self._board.home(bridge)
        here = {interface.name: port.name for port in self._board.bridges[home].ports.values() for interface in port.interfaces}
        devices = {str(row.ofport[0]): here[row.name] for row in self._database.rows("Interface") if row.ofport and row.name in here}
        found = parse_fdb(ask(self.place.control(), "fdb/show", home), tag, devices, bridge)
        own = self._kernel.table.link(bridge)
        return [*found, FDBEntry(own.mac, bridge, 0.0, local=True)] if own and own.mac not in {entry.mac for entry in found} else found

    def speak(self, port: PortView, frames: Sequence[bytes]) -> None:
        place = self._board.place_of(port.device)
        if place is None:
            raise Unreachable(f"ovs-vswitchd has no port {port.device}")
        bridge, number = place
        send_from(self.place.management(bridge), number, frames)

    def hold(self, port: PortView) -> None:
        """As an administrator adds an entry. ovs-vswitchd counts frames by flows and learns from these counts when it looks through its flows:
        what it counted of the guest's frames while they came in by the uplink, it may take for news after it has heard the guest here."""
        if place := self._board.place_of(port.device):
            for tag in self._tags(port):
                ask(self.place.control(), "fdb/add", place[0], self._board.face_of(port.device), str(tag), port.mac)

    def release(self, port: PortView) -> None:
        """Learned in the same breath: frames to a MAC that is not known go everywhere."""
        self._drop(port)
        (word,) = announcement(port.mac, ())
        self.speak(port, [word, *(in_vlan(word, tag) for tag in port.trunks if tag)])

    def _tags(self, port: PortView) -> list[int]:
        """The VLANs in which the switch knows the guest's MAC, 0 for none: its network's, and its trunks."""
        return [self._board.tag_of(port.device), *(tag for tag in port.trunks if tag)]

    def _drop(self, port: PortView) -> None:
        if place := self._board.place_of(port.device):
            for tag in self._tags(port):
                self._forget(place[0], tag, port.mac)

    def _forget(self, bridge: str, tag: int, mac: str) -> None:
        with suppress(OSError):  # it was dropped before, or ovs-vswitchd is another one
            ask(self.place.control(), "fdb/del", bridge, str(tag), mac)

    def unlearn(self, port: PortView) -> Callable[[], None] | None:
        """Without this the word of its new place may come late: ovs-vswitchd learns at once from the first frame of a flow only. Once may not be
        enough: what it counted of the guest's frames while the guest was here it may take for news after it has heard the guest elsewhere."""
        place = self._board.place_of(port.device)
        if place is None:
            return None
        again = partial(self._unlearn, place[0], self._tags(port), port.mac)
        again()
        return again

    def _unlearn(self, bridge: str, tags: Sequence[int], mac: str) -> None:
        """There is no word for an entry that was learned, so it is held first, outside, where the guest is. Raises OSError."""
        for tag in tags if bridge in self._board.bridges else ():
            ask(self.place.control(), "fdb/add", bridge, self._board.outward(bridge), str(tag), mac)
            self._forget(bridge, tag, mac)

    def has_carrier(self, port: PortView) -> bool:
        link = self._kernel.table.link(port.device)
        return link is not None and link.carrier

    # --- acting ------------------------------------------------------------------------------------

    def do(self, steps: Sequence[s.Step]) -> list[s.StepFailure]:
        """Carry out the steps. Raises TypeError for one that is not a datapath's."""
        if strange := next((step for step in steps if step.where != "datapath"), None):
            raise TypeError(f"{type(strange).__name__} is not a datapath's step")
        renewed = self._mind()
        self._hear()
        if renewed:
            self._locks.look()
            self._locks.restore()
        batch = Batch(steps)
        with Guests(self._netns_of) as guests:
            ports = SwitchPorts(self._kernel, guests, self._uplinks, self._board, self.place)
            try:
                self._touched |= self._acting.carry_out(batch, ports, Handover(self._kernel, guests))
            finally:
                ports.close()
        self._hear()
        self._querier.follow(self._board.snooped())
        return batch.failures()

    def command(self, step: s.Step) -> str:
        return vswitch_command(step, self.place.userspace)

    def reap(self) -> int:
        self._kernel.drain()
        if self._kernel.guard.known.present:  # locks of a bridge datapath that was here
            with suppress(Refused):
                load(REMOVE)
        left = self._remnants()
        self._kernel.delete_together([link.index for link in left[:_REAP]])
        self._kernel.drain()
        return len(self._remnants())

    def _remnants(self) -> list[Link]:
        """Also what is left of a bridge datapath on this host."""
        serving, table = self._board.ports(), self._kernel.table
        others = [link for link in table.links() if link.group == LIVE and link.kind in ("bridge", "bond", "vlan", "vxlan", "gretap")]
        others += [link for link in table.links() if is_end(link) and link.name not in self._board.taken()]
        return [link for link in table.remnants() if link.group != LIVE or link.name not in serving] + others

    def dismantle(self) -> None:
        """Limits of VIFs go with their pairs: the next datapath sets its own."""
        ports, taken = self._board.ports(), self._board.taken()
        with suppress(Unreachable):  # then nobody serves the switches
            self._database.transact(lambda txn: Writer(txn, self._database.root()).write(self._board.bridges, {}))
        self._hear()
        for name in ports:
            if link := self._kernel.table.link(name):
                self._kernel.run(remove_redirect(link.index), errno.ENOENT, errno.EINVAL)
                self._uplinks.listen(link.index)
        self._uplinks.release(sorted(taken))
        self._kernel.delete_together([link.index for link in self._kernel.table.links() if is_end(link)])
        if self.place.own:
            self.place.own.stop()
        self._kernel.drain()
