"""What a bridge takes from routers' advertisements: the kernel's own autoconfiguration, switched on for one device and off again.

Source: the kernel's ip-sysctl (accept_ra, accept_ra_defrtr, autoconf, addr_gen_mode), RFC 4861 and 4862.
"""

import errno
from contextlib import suppress
from pathlib import Path

from xenet.datapath.addresses import LINK, dump_addresses, remove_address, remove_prefixes, remove_route
from xenet.datapath.batch import Refused
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import EUI64, NO_ADDRESS, Link
from xenet.plan.steps import SetAdvertisements
from xenet.plan.view import AdvertisementsView

_ALWAYS = 2
"""accept_ra: also on a host that forwards, as one with containers does."""


def refuse_advertisements(bridge: str) -> None:
    """No address by router advertisements either, which addr_gen_mode does not stop. A kernel without IPv6 has nothing to refuse."""
    with suppress(FileNotFoundError):
        _write(bridge, "accept_ra", 0)


def _write(bridge: str, setting: str, value: int) -> None:
    """In the namespace of this thread. Raises FileNotFoundError for a device that has no IPv6."""
    Path(f"/proc/sys/net/ipv6/conf/{bridge}/{setting}").write_text(f"{value:d}")


class Advertisements:
    """Raises Refused for a bridge that is not ours or has no IPv6, NetlinkError for what the kernel refuses."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def set(self, step: SetAdvertisements) -> None:
        """Without a link-local address nothing is taken in and nobody asked: it goes first and comes last, and with it the kernel asks the
        routers anew. (Netlink's addr_gen_mode only says how a next one would be made; writing the setting makes it.)"""
        bridge, want = self._kernel.own(step.bridge), step.advertisements
        try:
            _write(bridge.name, "addr_gen_mode", NO_ADDRESS)
            _write(bridge.name, "accept_ra", 0)
            self._forget(bridge, want)
            if want is not None:
                self._begin(bridge.name, want)
        except FileNotFoundError:
            if want is not None:
                raise Refused(f"{bridge.name} has no IPv6: its MTU must be 1280 at least, and the kernel have it") from None
        self._kernel.ask(bridge.index)

    def _begin(self, bridge: str, want: AdvertisementsView) -> None:
        _write(bridge, "autoconf", want.autoconf)
        _write(bridge, "accept_ra_defrtr", want.router)
        _write(bridge, "accept_ra", _ALWAYS)
        _write(bridge, "addr_gen_mode", EUI64)

    def _forget(self, bridge: Link, want: AdvertisementsView | None) -> None:
        """The link-local address, and what came by advertisements and is not wanted any more: it would last for days. Asked of the kernel,
        which does not announce an address until it is sure that nobody else has it."""
        self._kernel.drain()
        addresses = [address for address in dump_addresses(self._kernel.socket) if address.index == bridge.index]
        for address in addresses:
            if (address.scope == LINK and ":" in address.cidr) or (address.advertised and not (want and want.autoconf)):
                self._kernel.run(remove_address(bridge.index, address.cidr), errno.EADDRNOTAVAIL)
        for route in list(self._kernel.table.layer3.routes[bridge.index]):
            if route.advertised and not (want and want.router):
                self._kernel.run(remove_route(bridge.index, route.view), errno.ESRCH)
        if want is None:
            kept = [address.cidr for address in addresses if address.lasting]
            for request in remove_prefixes(self._kernel.socket, bridge.index, kept):
                self._kernel.run(request, errno.ESRCH)
