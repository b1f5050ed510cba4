"""The datapath on the Linux bridge: the reference, works on any kernel and without root's rights in a user namespace.

One bridge a network, one veth pair or tap a VIF, the NIC as a port. What belongs to xenet says `mark`; what the host looks like is
kept in `table` from notifications; `ports` and `switches` do the steps.
"""

import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from xenet.datapath.advertisements import Advertisements
from xenet.datapath.announcement import Voice
from xenet.datapath.base import FDBEntry, SocketIn
from xenet.datapath.batch import TROUBLE, carry_out, failure_of
from xenet.datapath.bonds import Bonds
from xenet.datapath.fdb import dump_fdb, learned, unlearned
from xenet.datapath.handover import Handover
from xenet.datapath.kernel import Kernel
from xenet.datapath.layer3 import Layer3
from xenet.datapath.locks import Locks
from xenet.datapath.mark import is_ours
from xenet.datapath.mirrors import Mirrors, seen_mirrors
from xenet.datapath.namespaces import Guests
from xenet.datapath.netlink import NetlinkError
from xenet.datapath.nics import foreign_master, nic_facts
from xenet.datapath.ports import Ports
from xenet.datapath.switches import Switches
from xenet.datapath.uplinks import ways_of
from xenet.model.hidden import NIC, BondLinks, ForeignBridge, Lease
from xenet.plan import steps as s
from xenet.plan.view import PortView, Settings, SwitchView

_REAP = 500
"""Devices deleted at one go: longer, and the kernel's lock is held for more than about 0.3 s."""


class BridgeDatapath:
    """Of the network namespace of the thread that makes it; taps need that `do` is called in that namespace too."""

    def __init__(self, netns_of: SocketIn) -> None:
        """Opens its sockets, and observes. Raises OSError."""
        self._netns_of = netns_of
        self._kernel = Kernel()
        self._kernel.table.mirrors_of = partial(seen_mirrors, self._kernel.table)
        self._bonds = Bonds(self._kernel)
        self._switches = Switches(self._kernel, self._bonds)
        self._advertisements = Advertisements(self._kernel)
        self._voice = Voice()
        self._ioctl = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        layer3 = Layer3(self._kernel)
        self._single: dict[type[s.Step], Callable[[Any], None]] = {
            s.CreateSwitch: self._switches.create,
            s.SetSwitch: self._switches.change,
            s.AttachUplink: self._switches.attach,
            s.DetachUplink: self._switches.detach,
            s.SetAdvertisements: self._advertisements.set,
            s.SetMirrors: Mirrors(self._kernel).ensure,
            s.AddAddress: layer3.add_address,
            s.RemoveAddress: layer3.remove_address,
            s.AddRoute: layer3.add_route,
            s.RemoveRoute: layer3.remove_route,
        }
        self.observe()

    def close(self) -> None:
        self._kernel.close()
        self._voice.close()
        self._ioctl.close()

    def observe(self) -> None:
        """Read everything anew."""
        self._kernel.observe()

    def fileno(self) -> int:
        """Readable when the kernel has news."""
        return self._kernel.fileno()

    def refresh(self) -> set[str]:
        """Take in the news; the bridges and NICs that changed since the last call, what `do` changed included."""
        self._kernel.drain()
        return self._kernel.table.touched()

    def heed(self, bridge: str, asked: Mapping[str, Settings]) -> None:
        self._kernel.table.heed(bridge, asked)

    def switches(self) -> dict[str, SwitchView]:
        return self._kernel.table.switches()

    def switch(self, bridge: str) -> SwitchView | None:
        return self._kernel.table.switch(bridge)

    def nics(self, devices: Sequence[str]) -> list[NIC]:
        return nic_facts(self._kernel.table, self._ioctl, devices)

    def bonds(self) -> list[BondLinks]:
        return self._kernel.table.bond_links()

    def steer(self) -> set[str]:
        return self._bonds.steer()

    def bridges(self) -> list[ForeignBridge]:
        return [ForeignBridge(link.name, link.mtu) for link in self._kernel.table.foreign()]

    def foreign(self, bridge: str) -> bool:
        """Whether a device of this name exists that is not ours."""
        link = self._kernel.table.link(bridge)
        return link is not None and not is_ours(link)

    def foreign_master(self, device: str) -> str | None:
        """The device that holds this NIC as its port, when that is none of ours."""
        master = foreign_master(self._kernel.table, device)
        return master.name if master else None

    def advertised(self, bridge: str) -> Lease:
        return self._kernel.table.layer3.advertised(self._kernel.table.link(bridge))

    def fdb(self, bridge: str) -> list[FDBEntry]:
        """Empty where there is no such switch with a part of ours. Raises NetlinkError."""
        link = self._kernel.table.link(bridge)
        if not link or not self._kernel.table.switch(bridge):
            return []
        try:
            return dump_fdb(self._kernel.socket, self._kernel.table, link.index)
        except NetlinkError as error:
            if error.errno == errno.ENODEV:  # gone meanwhile
                return []
            raise

    def speak(self, port: PortView, frames: Sequence[bytes]) -> None:
        """Out of the uplink: what the bridge itself sent would reach the guest as well. Of somebody else's bridge the uplink is not known, so
        all its ports have it. Nothing is learned from what a host sends, so the bridge is told."""
        table = self._kernel.table
        link = table.link(port.device)
        master = table.link(link.master) if link else None
        if link is None or master is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), port.device)
        with suppress(NetlinkError):  # a port that does not forward yet: then the bridge learns from the guest's first frame
            self._kernel.run(learned(link.index, port.mac))
        switch = table.switch(master.name)
        if switch and switch.uplink:
            for device in ways_of(table, master, switch.uplink):
                self._voice.say(device, frames)
        elif switch and switch.foreign:
            self._voice.say(switch.bridge, frames)

    def hold(self, port: PortView) -> None:
        """A bridge learns from each frame at once."""

    def release(self, port: PortView) -> None:
        """Nothing is held."""

    def unlearn(self, port: PortView) -> Callable[[], None] | None:
        if link := self._kernel.table.link(port.device):
            self._kernel.run(unlearned(link.index, port.mac), errno.ENOENT)
        return None

    def has_carrier(self, port: PortView) -> bool:
        link = self._kernel.table.link(port.device)
        return link is not None and link.carrier

    def do(self, steps: Sequence[s.Step]) -> list[s.StepFailure]:
        """Carry out the steps. Raises TypeError for one that is not a datapath's."""
        leaving = self._leaving(steps)
        self._bonds.prepare(step.uplink for step in steps if isinstance(step, s.AttachUplink))
        with Guests(self._netns_of) as guests:
            failures = carry_out(steps, partial(self._run, Ports(self._kernel, guests), Handover(self._kernel, guests)))
        self._kernel.drain()
        self._bonds.forget(leaving)
        return failures

    def _leaving(self, steps: Sequence[s.Step]) -> list[str]:
        """The MACs whose ports leave a switch by these steps."""
        table = self._kernel.table
        gone = [step.port.mac for step in steps if isinstance(step, s.RemovePort)]
        moved = [(step.port, table.link(step.bridge)) for step in steps if isinstance(step, s.SetPort)]
        return gone + [port.mac for port, switch in moved if (link := table.link(port.device)) and switch and link.master != switch.index]

    def _run(self, ports: Ports, handover: Handover, run: Sequence[Any]) -> list[s.StepFailure]:
        self._kernel.drain()
        together: dict[type[s.Step], Callable[[Sequence[Any]], list[s.StepFailure]]] = {
            s.CreatePort: ports.create,
            s.SetPort: ports.move,
            s.OfferPort: handover.offer,
            s.SeatPort: handover.seat,
            s.RemovePort: ports.remove,
            s.DeleteSwitch: self._switches.delete,
        }
        kind = type(run[0])
        if kind in together:
            return together[kind](run)
        if kind not in self._single:
            raise TypeError(f"{kind.__name__} is not a datapath's step")
        return self._one_by_one(self._single[kind], run)

    def _one_by_one(self, act: Callable[[Any], None], run: Sequence[s.Step]) -> list[s.StepFailure]:
        failures = []
        for step in run:
            try:
                act(step)
            except TROUBLE as error:
                failures.append(failure_of(step, error))
        return failures

    def command(self, step: s.Step) -> str:
        return step.text

    def reap(self) -> int:
        """Delete devices that are out of service or half-made, 500 at most at one go, and the locks of such; how many are left.
        Raises NetlinkError."""
        self._kernel.drain()
        remnants = self._kernel.table.remnants()[:_REAP]
        self._bonds.reap(remnants)
        self._kernel.delete_together([link.index for link in remnants])
        self._kernel.drain()
        Locks(self._kernel).reap()
        return len(self._kernel.table.remnants())

    def dismantle(self) -> None:
        uplinks = [(switch, switch.uplink) for switch in self.switches().values() if switch.uplink]
        for switch, uplink in sorted(uplinks, key=lambda pair: pair[1].vlan is None):  # what stands on another goes before that one
            self.do([s.DetachUplink(object=switch.network, bridge=switch.bridge, device=uplink.device, made=uplink.made)])
        links = [self._kernel.table.link(name) for name, switch in self.switches().items() if not switch.foreign]
        self._kernel.delete_together([link.index for link in links if link])
        self._kernel.drain()
