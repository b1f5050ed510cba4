"""Tunnel devices: VXLAN between hosts, made for one switch, gone with it (by GRE: `gre`). The mark is their group; one without a switch is a remnant.

A frame whose receiver is not known yet goes to every peer in the device's own table; whose it was is learned from the answer. A bridge never
sends a frame back to the port that it came by, and all peers are behind this one: nobody passes a frame on, so the mesh has no loops.
The kernel tells nobody of that table but those who hear of every neighbour's coming and going: peers are read when everything is, and after
each change of xenet's own.
"""

import errno

from xenet.datapath.batch import Refused
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import Link, create_vxlan
from xenet.datapath.mark import LIVE, is_ours
from xenet.datapath.netlink import DELNEIGH, NEWNEIGH, NetlinkError
from xenet.datapath.peers import peer_request
from xenet.plan.view import TunnelView, UplinkView

LACKING = "this kernel has no VXLAN devices: load vxlan (modprobe vxlan), or use a kernel that has it"


class Tunnels:
    """Raises Refused for what is not ours, NetlinkError for what the kernel refuses."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def ensure(self, want: UplinkView, tunnel: TunnelView) -> Link | None:
        """The tunnel's device with its peers, made where it is not there."""
        link = self._kernel.ask(want.device)
        if link and not is_ours(link):
            raise Refused(f"{want.device} exists and is another's")
        if link and (link.kind, link.tag, link.local, link.group) != ("vxlan", tunnel.key, tunnel.local, LIVE):
            self._kernel.delete_together([link.index])
            link = None
        if link is None:
            self._make(want, tunnel)
            link = self._kernel.ask(want.device)
        if link:
            self._mesh(link.index, set(tunnel.peers))
        return link

    def _make(self, want: UplinkView, tunnel: TunnelView) -> None:
        try:
            self._kernel.run(create_vxlan(want.device, tunnel.key, tunnel.local, want.mtu, LIVE))
        except NetlinkError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Refused(LACKING) from error
            if error.errno == errno.EEXIST:
                raise Refused(f"VNI {tunnel.key} is on another device, which is not xenet's") from error
            raise

    def _mesh(self, device: int, peers: set[str]) -> None:
        self._kernel.look_at_peers(device)
        known = self._kernel.table.peers.get(device, frozenset())
        for peer in sorted(peers - known):
            self._kernel.run(peer_request(NEWNEIGH, device, peer), errno.EEXIST)
        for peer in sorted(known - peers):
            self._kernel.run(peer_request(DELNEIGH, device, peer), errno.ENOENT)
        self._kernel.look_at_peers(device)
