"""Address and route messages: what the host itself has on its switches and NICs. Source: linux/if_addr.h, linux/rtnetlink.h."""

import errno
import ipaddress
import socket
from collections.abc import Iterable
from struct import Struct

import msgspec

from xenet.datapath.netlink import (
    CREATE,
    DELADDR,
    DELROUTE,
    EXCL,
    GETADDR,
    GETROUTE,
    NEWADDR,
    NEWROUTE,
    REPLACE,
    NetlinkError,
    Request,
    Socket,
    as_u32,
    attr,
    attributes,
    u32,
)
from xenet.plan.view import RouteView

GLOBAL, LINK = 0, 253
"""Scopes of an address."""
_ADDRESS, _LOCAL = 1, 2
_DST, _OIF, _GATEWAY, _PRIORITY, _TABLE = 1, 4, 5, 6, 15
_MAIN, _UNICAST, _KERNEL, _STATIC, _ROUTER = 254, 1, 2, 4, 9
_DUPLICATE, _TENTATIVE, _PERMANENT = 0x08, 0x40, 0x80
_IFADDR = Struct("=BBBBI")
_RTMSG = Struct("=BBBBBBBBI")
_FLAGS = Struct("=H")
_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}


class Address(msgspec.Struct, frozen=True):
    """An address of the device with this ifindex, as CIDR."""

    index: int
    cidr: str
    scope: int
    lasting: bool = True
    """False of one that ends by itself, as those by routers' advertisements do."""
    ready: bool = True
    """False while nobody else may turn out to have it (RFC 4862, 5.4), and if somebody has."""

    @property
    def advertised(self) -> bool:
        return not self.lasting and self.scope == GLOBAL and ":" in self.cidr


class Route(msgspec.Struct, frozen=True):
    """A unicast route of the main table through a gateway, not of the kernel's own making. metric 0 is IPv4's default."""

    index: int
    view: RouteView
    metric: int
    advertised: bool = False
    """By a router."""


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def add_address(index: int, cidr: str) -> Request:
    return Request(NEWADDR, CREATE | EXCL, _address(index, cidr))


def remove_address(index: int, cidr: str) -> Request:
    return Request(DELADDR, 0, _address(index, cidr))


def _address(index: int, cidr: str) -> bytes:
    host, _, bits = cidr.partition("/")
    family = _family(host)
    packed = socket.inet_pton(family, host)
    body = _IFADDR.pack(family, int(bits or _BITS[socket.AddressFamily(family)]), 0, 0, index)
    return body + attr(_LOCAL, packed) + attr(_ADDRESS, packed)


def add_route(index: int, route: RouteView) -> Request:
    """In place of one with the same destination, if any."""
    return Request(NEWROUTE, CREATE | REPLACE, _route(index, route, _STATIC, _UNICAST))


def remove_route(index: int, route: RouteView) -> Request:
    return Request(DELROUTE, 0, _route(index, route, 0, 0))


def _route(index: int, route: RouteView, protocol: int, kind: int) -> bytes:
    net = ipaddress.ip_network(route.destination, strict=False)
    family = _family(route.gateway)
    body = _RTMSG.pack(family, net.prefixlen, 0, 0, _MAIN, protocol, GLOBAL, kind, 0)
    destination = attr(_DST, net.network_address.packed) if net.prefixlen else b""
    return body + destination + attr(_GATEWAY, socket.inet_pton(family, route.gateway)) + u32(_OIF, index)


def parse_address(message: bytes) -> Address | None:
    """The address of an RTM_NEWADDR or RTM_DELADDR; None for other families."""
    family, bits, flags, scope, index = _IFADDR.unpack_from(message, 16)
    if family not in _BITS:
        return None
    found = attributes(message, 24)
    packed = found.get(_LOCAL) or found[_ADDRESS]
    return Address(index, f"{socket.inet_ntop(family, packed)}/{bits}", scope, bool(flags & _PERMANENT), not flags & (_TENTATIVE | _DUPLICATE))


def parse_route(message: bytes) -> Route | None:
    """The route of an RTM_NEWROUTE or RTM_DELROUTE, None for one that xenet does not keep."""
    family, bits, _, _, table, protocol, _, kind, _ = _RTMSG.unpack_from(message, 16)
    if family not in _BITS or table != _MAIN or kind != _UNICAST or protocol == _KERNEL:
        return None
    found = attributes(message, 28)
    if _GATEWAY not in found or _OIF not in found:
        return None
    packed = found.get(_DST, bytes(_BITS[socket.AddressFamily(family)] // 8))
    view = RouteView(f"{socket.inet_ntop(family, packed)}/{bits}", socket.inet_ntop(family, found[_GATEWAY]))
    return Route(as_u32(found[_OIF]), view, as_u32(found.get(_PRIORITY, b"")), protocol == _ROUTER)


def replaces(message: bytes) -> bool:
    """Whether a route's notification stands also for the end of the one before it."""
    return bool(_FLAGS.unpack_from(message, 6)[0] & REPLACE)


def dump_addresses(sock: Socket) -> list[Address]:
    """All of this namespace. Raises NetlinkError."""
    found = (parse_address(message) for message in sock.dump(Request(GETADDR, 0, _IFADDR.pack(0, 0, 0, 0, 0))))
    return [address for address in found if address]


def dump_routes(sock: Socket) -> list[Route]:
    """Those of the main table that xenet keeps; the kernel leaves the others out. Raises NetlinkError."""
    return [route for family in _BITS for message in _dump_main(sock, family) if (route := parse_route(message))]


def remove_prefixes(sock: Socket, index: int, kept: Iterable[str]) -> list[Request]:
    """What deletes the routes to the prefixes that a router said are on this device's link (RFC 4861, 6.3.4): all of the kernel's own making
    but those of the addresses (CIDRs) that are kept. Raises NetlinkError."""
    own = {ipaddress.ip_interface(cidr).network for cidr in kept}
    return [Request(DELROUTE, 0, message[16:]) for message in _dump_main(sock, socket.AF_INET6) if _prefix(message, index) not in (None, *own)]


def _prefix(message: bytes, index: int) -> ipaddress.IPv6Network | None:
    """Where a route of the kernel's own making leads; None for any other route or another device's."""
    _, bits, _, _, _, protocol, *_ = _RTMSG.unpack_from(message, 16)
    found = attributes(message, 28)
    if protocol != _KERNEL or _GATEWAY in found or as_u32(found.get(_OIF, b"")) != index or _DST not in found:
        return None
    network = ipaddress.IPv6Network((found[_DST], bits))
    return None if network.is_link_local else network


def _dump_main(sock: Socket, family: int) -> list[bytes]:
    body = _RTMSG.pack(family, 0, 0, 0, _MAIN, 0, 0, _UNICAST, 0) + u32(_TABLE, _MAIN)
    try:
        return sock.dump(Request(GETROUTE, 0, body))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:  # a namespace that never had a route has no main table yet
            return []
        raise
