"""What our switches lead out by: NICs and the slaves of bonds, before and after the database has them.

A NIC of the userspace datapath is heard by a packet socket, and the host's own network stack hears it as well: it would answer for the host's
addresses a second time. So a filter before the NIC takes away what the switch has got by then.
"""

import errno
from collections.abc import Sequence

from xenet.datapath.batch import Refused
from xenet.datapath.kernel import Kernel
from xenet.datapath.layer3 import Layer3
from xenet.datapath.links import EUI64, Link, set_link
from xenet.datapath.mark import is_ours
from xenet.datapath.nics import foreign_master
from xenet.datapath.openvswitch.board import Board
from xenet.datapath.openvswitch.hubs import Hubs
from xenet.datapath.tc import add_ingress, remove_ingress, remove_swallow, swallow
from xenet.plan.steps import AttachUplink, DetachUplink
from xenet.plan.view import UplinkView

ROOM = "clsact"
"""What makes room for filters: as ovs-vswitchd takes a device, it takes away what polices it, a qdisc of the kind ingress."""
_OVS = "ovs-system"
"""The master of all ports of the kernel's datapath."""


def nics_of(uplink: UplinkView) -> tuple[str, ...]:
    """The NICs that it needs for itself: none for a VLAN, which shares its carrier's, nor for a tunnel."""
    if uplink.vlan or uplink.tunnel:
        return ()
    return uplink.bond.slaves if uplink.bond else (uplink.device,)


class Uplinks:
    """Raises Refused for what is not there or another's, NetlinkError for what the kernel refuses."""

    def __init__(self, kernel: Kernel, board: Board, userspace: bool) -> None:
        self._kernel = kernel
        self._board = board
        self._layer3 = Layer3(kernel)
        self._userspace = userspace
        self._hubs = Hubs(kernel)
        self._fresh: set[str] = set()

    def prepare(self, step: AttachUplink) -> None:
        """Its MTU, and no address by which the host would speak on the NIC itself."""
        if step.uplink.tunnel:
            self._clear_way(step.uplink.device)
            if self._userspace:
                self._make_pair(step.uplink)
        for name in nics_of(step.uplink):
            nic = self._free(name)
            if nic.mtu != step.uplink.mtu:  # many a driver resets its NIC for this
                self._layer3.resize(nic, step.uplink.mtu)
            self._layer3.quieten(nic.index, step.uplink.mtu)

    def _clear_way(self, device: str) -> None:
        """What a bridge datapath left of a tunnel has its UDP port."""
        link = self._kernel.table.link(device)
        if link and is_ours(link) and link.kind != "veth":
            self._kernel.delete_together([link.index])
            self._kernel.drain()

    def _make_pair(self, uplink: UplinkView) -> None:
        made, ends = self._hubs.ensure(uplink)
        self._fresh |= set(made)
        self.silence(*ends)

    def take_fresh(self) -> set[str]:
        """The devices that were made since the last time."""
        fresh, self._fresh = self._fresh, set()
        return fresh

    def _free(self, name: str) -> Link:
        nic = self._kernel.table.link(name)
        if nic is None:
            raise Refused(f"there is no NIC {name}")
        if is_ours(nic):
            raise Refused(f"{name} is a port or a bridge, not a NIC")
        master = foreign_master(self._kernel.table, name)
        bridge = master.name if master and master.name != _OVS else self._board.foreign(name)
        if bridge:
            raise Refused(f"{name} belongs to {bridge}, which is not xenet's")
        return nic

    def serve(self, step: AttachUplink) -> None:
        """The switch has it now: up, and silent towards the host's own stack."""
        for name in nics_of(step.uplink):
            nic = self._free(name)
            self._kernel.run(set_link(nic.index, up=step.uplink.up))
            if self._userspace:
                self.silence(nic.index)
            if settings := step.uplink.ethtool.get(name):
                self._kernel.drivers.tell(nic, settings)

    def silence(self, *indexes: int) -> None:
        """Raises NetlinkError for the first that cannot be."""
        for requests in ([add_ingress(index, ROOM) for index in indexes], [swallow(index) for index in indexes]):
            for error in self._kernel.do(requests):
                if error and error.errno not in (errno.EEXIST, errno.ENODEV):  # a device that is gone by now says nothing
                    raise error

    def listen(self, index: int) -> None:
        """The opposite of `silence`. Filters of others stay."""
        self._kernel.run(remove_swallow(index), errno.ENOENT, errno.EINVAL)
        if not self._kernel.filters(index):
            self._kernel.run(remove_ingress(index, ROOM), errno.ENOENT, errno.EINVAL)

    def release(self, names: Sequence[str]) -> None:
        """NICs that the switch does not have any more: the host hears them again, and the kernel gives them link-local addresses again."""
        for name in names:
            nic = self._kernel.table.link(name)
            if nic is None or is_ours(nic):
                continue
            self.listen(nic.index)
            if self._kernel.no_link_local(nic.mtu) is not None:
                self._kernel.run(set_link(nic.index, addr_gen_mode=EUI64), errno.EAFNOSUPPORT)

    def of(self, step: DetachUplink) -> tuple[str, ...]:
        """The NICs that this step sets free."""
        switch = self._board.asked.get(step.bridge)
        return nics_of(switch.uplink) if switch and switch.uplink and switch.uplink.device == step.device else ()
