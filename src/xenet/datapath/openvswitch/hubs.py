"""Pairs of devices for tunnels of the userspace datapath.

A guest leaves checksums and the cutting of large TCP segments to whoever sends its frames at last, and ovs-vswitchd can do neither for what it
puts into a tunnel: it drops such frames (lib/netdev.c, netdev_push_header). So a tunnelled network's switch has one end of a pair for its uplink,
which has the kernel do both for what goes through it; the other end is a port of a bridge that has the tunnel's ports, and nothing else.
"""

from typing import Protocol

from xenet.datapath.batch import Refused
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import GuestEnd, Link, create_veth, set_link
from xenet.datapath.mark import HOST_MAC, LIVE, is_ours, tunnel_alias, words
from xenet.datapath.openvswitch.mesh import far_of
from xenet.plan.view import Settings, UplinkView

PLAIN: Settings = {"tx": "off", "sg": "off", "tso": "off", "gso": "off"}
"""What has the kernel send frames as they go over a wire."""


class Known(Protocol):
    def link(self, which: int | str) -> Link | None: ...
    def settings_of(self, link: Link, asked: Settings) -> Settings: ...


def is_end(link: Link) -> bool:
    """Whether this is an end of such a pair in service."""
    return link.group == LIVE and link.kind == "veth" and "tunnel" in words(link.alias)


def is_whole(table: Known, device: str) -> bool:
    """Whether a tunnel's pair does all that it is for."""
    near, far = table.link(device), table.link(far_of(device))
    if near is None or far is None or not (is_end(near) and is_end(far) and near.up and far.up):
        return False
    return near.mtu == far.mtu and table.settings_of(near, PLAIN) == PLAIN


class Hubs:
    """Raises Refused for what is another's, NetlinkError for what the kernel refuses."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def ensure(self, uplink: UplinkView) -> tuple[list[str], list[int]]:
        """The names of devices that had to be made, and both ends' ifindexes."""
        names = [uplink.device, far_of(uplink.device)]
        ends = [link for name in names if (link := self._kernel.ask(name)) and is_end(link)]
        made = names if len(ends) < len(names) else []
        if made:
            self._make(uplink)
        for name in names:
            self._kernel.run(set_link(name, mtu=uplink.mtu, up=True, group=LIVE, alias=tunnel_alias(uplink.device)))
        self._kernel.drain()
        ends = [link for name in names if (link := self._kernel.ask(name))]
        self._kernel.drivers.tell(ends[0], PLAIN)
        return made, [link.index for link in ends]

    def _make(self, uplink: UplinkView) -> None:
        names = (uplink.device, far_of(uplink.device))
        there = [link for name in names if (link := self._kernel.ask(name))]
        ours = {link.index for link in there if is_ours(link)}
        if strange := next((link.name for link in there if not {link.index, link.peer} & ours), ""):  # the far end is born without the mark
            raise Refused(f"{strange} exists and is another's")
        self._kernel.delete_together([link.index for link in there])
        near, far = names
        self._kernel.run(create_veth(near, HOST_MAC, uplink.mtu, LIVE, GuestEnd(None, far, HOST_MAC, uplink.mtu, up=False)))
        mode = self._kernel.no_link_local(uplink.mtu)
        for name in names:
            self._kernel.run(set_link(name, group=LIVE, alias=tunnel_alias(near), addr_gen_mode=mode))
