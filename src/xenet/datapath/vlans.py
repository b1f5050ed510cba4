"""VLAN devices `ethX.Y`: made for one switch, gone with it. The mark is their group; one without a switch is a remnant.

Source: net/8021q/vlan_netlink.c: the MTU is at most the lower device's, and the MAC is that one's.
"""

import errno

from xenet.datapath.batch import Refused
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import Link, create_bridge, create_vlan, get_link, link_index
from xenet.datapath.mark import LIVE, is_ours
from xenet.datapath.namespaces import in_scratch
from xenet.datapath.netlink import NetlinkError, Socket
from xenet.plan.view import UplinkView, VLANView

LACKING = "this kernel has no VLAN devices: load 8021q (modprobe 8021q), or use --datapath openvswitch"


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


def find_lack() -> str:
    """What this kernel lacks for VLANs and what to do, empty where it has them: one is tried out, where nobody sees it. Raises OSError."""
    return in_scratch(_try_out)


def _try_out() -> str:
    with Socket() as kernel:
        kernel.run(create_bridge("below", "", 1500, LIVE))
        below = kernel.get(get_link("below"))
        outcome = kernel.do([create_vlan("above", link_index(below) if below else 0, 1, 1500, LIVE)])[0]
    return "" if outcome is None else LACKING if outcome.errno == errno.EOPNOTSUPP else str(outcome)
