"""Tunnels by GRE on a bridge: a device for each peer, and no frame from one of them to another, so the mesh has no loops (split horizon). There is
no device for the tunnel itself; what was asked for stands in the bridge's alias, as there may be no peer yet.

Open vSwitch has the same ports by the same names. The bridge speaks of its ports' isolation in messages of its own: see `Kernel.drain`.
"""

import errno
from collections.abc import Set

from xenet.datapath.batch import Refused
from xenet.datapath.kernel import Kernel
from xenet.datapath.layer3 import Layer3
from xenet.datapath.links import Link, create_gretap, set_isolated, set_link
from xenet.datapath.mark import LIVE, is_ours, is_tunnel_end
from xenet.datapath.modules import ask_quietly
from xenet.datapath.namespaces import in_scratch
from xenet.datapath.netlink import NetlinkError, Socket
from xenet.plan.view import TunnelView, UplinkView, end_name

LACKING = (
    "this kernel has no GRE devices: load ip_gre (modprobe ip_gre), make the tunnel by VXLAN (`xe tunnel-create protocol=vxlan`), "
    "or use --datapath openvswitch"
)


class Ends:
    """Raises Refused for what is not ours, NetlinkError for what the kernel refuses."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._layer3 = Layer3(kernel)

    def ensure(self, bridge: Link, want: UplinkView, tunnel: TunnelView) -> None:
        """One for each peer, in the bridge, whose alias says already what is wanted. One that fails does not stop the others."""
        self.clear(bridge, {end_name(want.device, peer) for peer in tunnel.peers})
        failures: list[Exception] = []
        for peer in tunnel.peers:
            try:
                self._join(bridge, self._made(want, tunnel, peer), want)
            except (Refused, NetlinkError) as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def clear(self, bridge: Link, kept: Set[str] = frozenset()) -> None:
        """Delete those that are in the bridge, but for these names."""
        ends = [link for link in self._kernel.table.members(bridge.index) if is_tunnel_end(link) and link.name not in kept]
        self._kernel.delete_together([link.index for link in ends])
        self._kernel.drain()

    def _made(self, want: UplinkView, tunnel: TunnelView, peer: str) -> Link:
        """The device that leads to a peer."""
        name = end_name(want.device, peer)
        link = self._kernel.ask(name)
        if link and not is_ours(link):
            raise Refused(f"{name} exists and is another's")
        if link and (not is_tunnel_end(link) or (link.tag, link.local, link.remote) != (tunnel.key, tunnel.local, peer)):
            self._kernel.delete_together([link.index])
            link = None
        if link is None:
            self._make(name, want, tunnel, peer)
            link = self._kernel.ask(name)
        if link is None:
            raise Refused(f"{name} was deleted by another")
        return link

    def _make(self, name: str, want: UplinkView, tunnel: TunnelView, peer: str) -> None:
        try:
            self._kernel.run(create_gretap(name, tunnel.key, tunnel.local, peer, want.mtu, LIVE))
        except NetlinkError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Refused(LACKING) from error
            if error.errno == errno.EEXIST:
                raise Refused(f"GRE with key {tunnel.key} to {peer} is on another device, which is not xenet's") from error
            raise

    def _join(self, bridge: Link, end: Link, want: UplinkView) -> None:
        """Isolated before it passes its first frame."""
        if end.mtu != want.mtu:
            self._layer3.resize(end, want.mtu)
        self._layer3.quieten(end.index, want.mtu)
        if end.master != bridge.index:
            self._kernel.run(set_link(end.index, up=False))
            self._kernel.run(set_link(end.index, master=bridge.index))
        self._kernel.run(set_isolated(end.index))
        self._kernel.run(set_link(end.index, up=want.up))
        self._kernel.ask(end.index)


def find_lack() -> str:
    """What this kernel lacks for GRE and what to do, empty where it has it. No module is loaded for this question."""
    return ask_quietly("ip_gre", lambda: in_scratch(_try_out))


def _try_out() -> str:
    with Socket() as kernel:
        outcome = kernel.do([create_gretap("end", 1, "192.0.2.1", "192.0.2.2", 1458, LIVE)])[0]
    return "" if outcome is None else LACKING if outcome.errno == errno.EOPNOTSUPP else str(outcome)
