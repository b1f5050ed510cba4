"""What the host has on a switch's own device, whichever datapath made that: addresses and routes. Each method does one step, and raises when
it fails."""

import errno

from xenet.datapath.addresses import LINK, add_address, add_route, remove_address, remove_route
from xenet.datapath.batch import Refused
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import Link, set_link
from xenet.datapath.mark import is_ours
from xenet.datapath.netlink import NetlinkError
from xenet.plan.steps import AddAddress, AddRoute, RemoveAddress, RemoveRoute


class Layer3:
    """Raises Refused for what is not ours or not there, NetlinkError for what the kernel refuses."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def add_address(self, step: AddAddress) -> None:
        self._kernel.run(add_address(self._holder(step.bridge).index, step.address), errno.EEXIST)

    def remove_address(self, step: RemoveAddress) -> None:
        if self._kernel.table.link(step.device):
            self._kernel.run(remove_address(self._holder(step.device).index, step.address), errno.EADDRNOTAVAIL, errno.ENODEV)

    def add_route(self, step: AddRoute) -> None:
        self._kernel.run(add_route(self._holder(step.bridge).index, step.route), errno.EEXIST)

    def remove_route(self, step: RemoveRoute) -> None:
        if self._kernel.table.link(step.bridge):
            self._kernel.run(remove_route(self._holder(step.bridge).index, step.route), errno.ESRCH, errno.ENODEV)

    def _holder(self, device: str) -> Link:
        """What may hold an address: a bridge of ours, or a NIC, to and from which addresses move. Raises Refused."""
        link = self._kernel.table.link(device)
        if link is None:
            raise Refused(f"there is no device {device}")
        if link.kind == "bridge" or is_ours(link):
            return self._kernel.own(device)
        return link

    def quieten(self, nic: int, mtu: int) -> None:
        """No link-local address on a NIC, now and later: a port has none of its own."""
        if (mode := self._kernel.no_link_local(mtu)) is not None:
            self._kernel.run(set_link(nic, addr_gen_mode=mode), errno.EAFNOSUPPORT)
        own = [cidr for cidr, address in self._kernel.table.layer3.addresses[nic].items() if address.scope == LINK and ":" in cidr]
        for cidr in own:
            self._kernel.run(remove_address(nic, cidr), errno.EADDRNOTAVAIL)

    def resize(self, nic: Link, mtu: int) -> None:
        """Of a NIC. Raises Refused where it does not take that."""
        if 0 < nic.max_mtu < mtu:
            raise Refused(f"MTU {mtu} is more than {nic.name} takes, which is {nic.max_mtu}")
        try:
            self._kernel.run(set_link(nic.index, mtu=mtu))
        except NetlinkError as error:
            if error.errno not in (errno.EINVAL, errno.ERANGE):
                raise
            raise Refused(f"{nic.name} does not take MTU {mtu}: {error.strerror}") from error
        self._kernel.drain()
