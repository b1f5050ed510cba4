"""VLAN devices `ethX.Y`: made for one switch, gone with it. The mark is their group; one without a switch is a remnant.

Source: net/8021q/vlan_netlink.c: the MTU is at most the lower device's, and the MAC is that one's.
"""

import errno

from xenet.datapath.batch import Refused
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import Link, create_vlan
from xenet.datapath.mark import LIVE, is_ours
from xenet.datapath.netlink import NetlinkError
from xenet.plan.view import UplinkView, VLANView

LACKING = "this kernel has no VLAN devices: load 8021q (modprobe 8021q), or use a kernel that has it"


class VLANs:
    """Raises Refused for what is not ours, NetlinkError for what the kernel refuses."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def ensure(self, want: UplinkView) -> Link | None:
        """The device of this VLAN, made where it is not there."""
        vlan = want.vlan
        parent = self._kernel.table.link(vlan.parent) if vlan else None
        if vlan is None or parent is None:
            raise Refused(f"there is no NIC {vlan.parent if vlan else want.device}")
        link = self._kernel.ask(want.device)
        if link and not is_ours(link):
            raise Refused(f"{want.device} exists and is another's")
        if link and link.kind == "vlan" and (link.peer, link.tag, link.group) == (parent.index, vlan.tag, LIVE):
            return link
        if link:
            self._kernel.delete_together([link.index])
        self._make(want, vlan, parent)
        return self._kernel.ask(want.device)

    def _make(self, want: UplinkView, vlan: VLANView, parent: Link) -> None:
        try:
            self._kernel.run(create_vlan(want.device, parent.index, vlan.tag, want.mtu, LIVE))
        except NetlinkError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Refused(LACKING) from error
            if error.errno == errno.EEXIST:
                raise Refused(f"{vlan.parent} has VLAN {vlan.tag} on another device, which is not xenet's") from error
            raise
