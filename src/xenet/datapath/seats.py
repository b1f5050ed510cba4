"""A guest's NIC changes from one veth to another: the new one takes the name, the addresses, the routes and the neighbours of the old one.

All of it is one send, which the kernel carries out to its end whatever becomes of the sender; so a guest has its NIC before or after, never
half of it. What is bound to the old device by its number (packet sockets, multicast groups that were joined) stays with that one, and so do
sysctls of the device. The order is the kernel's rules: a device must be down to be renamed (before Linux 6.2); going down, it takes its
routes and neighbours along; and the end of an address takes routes with it that prefer it as their source, on whichever device they are,
so it goes from the old device before the new one gets it. Source: linux/rtnetlink.h, linux/if_addr.h, linux/neighbour.h, net/ipv4/fib_semantics.c.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from struct import Struct

from xenet.datapath.batch import Refused
from xenet.datapath.links import Link, get_link, parse_link, set_link
from xenet.datapath.netlink import (
    CREATE,
    DELADDR,
    GETADDR,
    GETNEIGH,
    GETROUTE,
    NEWADDR,
    NEWNEIGH,
    NEWROUTE,
    REPLACE,
    Request,
    Socket,
    as_u32,
    attr,
    attributes,
    u32,
)

_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_IFADDR, _RTMSG, _NDMSG = Struct("=BBBBI"), Struct("=BBBBBBBBI"), Struct("=BxxxiHBB")
_IFA_FLAGS, _NODAD, _KEPT_FLAGS = 8, 0x02, 0x02 | 0x100 | 0x200
"""IFA_F_NODAD, IFA_F_MANAGETEMPADDR, IFA_F_NOPREFIXROUTE: the flags of an address that are somebody's wish, not the kernel's finding."""
_OIF, _MULTIPATH, _CACHEINFO, _EXPIRES = 4, 9, 12, 23
_KERNEL, _UNICAST, _ONLINK = 2, 1, 4
_DST, _LLADDR = 1, 2
_KNOWN, _PERMANENT, _STALE = 0x02 | 0x04 | 0x08 | 0x10, 0x80, 0x04
_HZ = 100
"""USER_HZ, in which route lifetimes are told."""


def swap(guest: Socket, index: int, name: str) -> list[Request]:
    """What makes the guest's device with this ifindex its NIC of this name, for the guest's socket; nothing where it is that already.
    Raises Refused, NetlinkError."""
    new, old = _find(guest, index), _find(guest, name)
    if new is None:
        raise Refused(f"the guest has lost the device that shall be its {name}")
    if old is None:
        return [set_link(index, name=name), set_link(index, up=True)]
    if old.index == index:
        return []
    addresses = _of(guest, GETADDR, _IFADDR.pack, lambda m: _IFADDR.unpack_from(m, 16)[4] == old.index)
    return [
        set_link(old.index, up=False),
        *(Request(DELADDR, 0, message[16:]) for message in addresses if message[16] == socket.AF_INET),
        set_link(old.index, name=f"old{old.index}"),
        set_link(index, name=name, mtu=old.mtu if old.mtu != new.mtu else 0),
        *(_address(message, index) for message in addresses),
        *([set_link(index, up=True)] if old.up else []),
        *_routes(guest, old.index, index),
        *_neighbours(guest, old.index, index),
    ]


def _find(guest: Socket, which: int | str) -> Link | None:
    message = guest.get(get_link(which))
    return parse_link(message) if message else None


def _of(guest: Socket, kind: int, header: Callable[..., bytes], mine: Callable[[bytes], bool]) -> list[bytes]:
    return [message for family in _FAMILIES for message in guest.dump(Request(kind, 0, header(family, 0, 0, 0, 0))) if mine(message)]


def _address(message: bytes, index: int) -> Request:
    """The same address on another device, in use at once: nobody else can have got it in the meantime."""
    family, bits, flags, scope, _ = _IFADDR.unpack_from(message, 16)
    found = attributes(message, 24)
    flags = (as_u32(found.pop(_IFA_FLAGS, b"")) or flags) & _KEPT_FLAGS | (_NODAD if family == socket.AF_INET6 else 0)
    body = _IFADDR.pack(family, bits, flags & 0xFF, scope, index) + u32(_IFA_FLAGS, flags)
    return Request(NEWADDR, CREATE | REPLACE, body + _rest(found))


def _rest(found: Mapping[int, bytes], *without: int) -> bytes:
    return b"".join(attr(kind, data) for kind, data in found.items() if kind not in without)


def _routes(guest: Socket, old: int, new: int) -> Iterator[Request]:
    """Those of every table, nearest first: a gateway must be within reach when a route through it comes. The kernel's own come by themselves."""
    found = (message for family in _FAMILIES for message in guest.dump(Request(GETROUTE, 0, _RTMSG.pack(family, *[0] * 8))))
    for message in sorted(found, key=lambda message: -message[16 + 6]):
        family, bits, source, tos, table, protocol, scope, kind, flags = _RTMSG.unpack_from(message, 16)
        own = attributes(message, 28)
        if as_u32(own.get(_OIF, b"")) != old or protocol == _KERNEL or kind != _UNICAST:
            continue
        lifetime = Struct("=IIiI").unpack_from(own[_CACHEINFO])[2] // _HZ if family == socket.AF_INET6 and len(own.get(_CACHEINFO, b"")) >= 16 else 0
        body = _RTMSG.pack(family, bits, source, tos, table, protocol, scope, kind, flags & _ONLINK) + u32(_OIF, new)
        yield Request(NEWROUTE, CREATE, body + _rest(own, _OIF, _CACHEINFO) + (u32(_EXPIRES, lifetime) if lifetime > 0 else b""))


def beyond_reach(route: Request) -> Request:
    """A route whose gateway is not within reach now, as it need not be when the route was made: added all the same."""
    *fields, flags = _RTMSG.unpack_from(route.body)
    return route._replace(body=_RTMSG.pack(*fields, flags | _ONLINK) + route.body[_RTMSG.size :])


def _neighbours(guest: Socket, old: int, new: int) -> Iterator[Request]:
    """Who is known keeps being known, so that the guest need not ask before it speaks; what it only supposes is checked as ever."""
    for family in _FAMILIES:
        for message in guest.dump(Request(GETNEIGH, 0, _NDMSG.pack(family, 0, 0, 0, 0))):
            _, index, state, flags, kind = _NDMSG.unpack_from(message, 16)
            own = attributes(message, 28)
            if index == old and state & (_KNOWN | _PERMANENT) and own.keys() >= {_DST, _LLADDR}:
                body = _NDMSG.pack(family, new, _PERMANENT if state & _PERMANENT else _STALE, flags & 0x80, kind)
                yield Request(NEWNEIGH, CREATE | REPLACE, body + attr(_DST, own[_DST]) + attr(_LLADDR, own[_LLADDR]))
