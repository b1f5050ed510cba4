"""The peers of a tunnel's device, in the kernel's words: entries of its own table for all that is in no other entry.

Source: linux/neighbour.h, drivers/net/vxlan.
"""

import socket
from struct import Struct

from xenet.datapath.netlink import CREATE, GETNEIGH, NEWNEIGH, Request, Socket, attr, attributes

_NDMSG = Struct("=BxxxiHBB")
_DST, _LLADDR = 1, 2
_SELF, _PERMANENT, _APPEND = 0x02, 0x80, 0x800
_EVERY_OTHER = bytes(6)


def peer_request(kind: int, device: int, peer: str) -> Request:
    """Add (NEWNEIGH) or take out (DELNEIGH) a peer of the device with this ifindex."""
    body = _NDMSG.pack(socket.AF_BRIDGE, device, _PERMANENT, _SELF, 0)
    return Request(kind, CREATE | _APPEND if kind == NEWNEIGH else 0, body + attr(_DST, socket.inet_aton(peer)) + attr(_LLADDR, _EVERY_OTHER))


def dump_peers(sock: Socket, device: int) -> set[str]:
    """Raises NetlinkError."""
    found = sock.dump(Request(GETNEIGH, 0, _NDMSG.pack(socket.AF_BRIDGE, device, 0, 0, 0)))
    return {peer for message in found if (peer := _peer(message, device))}


def _peer(message: bytes, device: int) -> str:
    _, index, _, flags, _ = _NDMSG.unpack_from(message, 16)
    found = attributes(message, 28)
    if index != device or not flags & _SELF or found.get(_LLADDR) != _EVERY_OTHER or _DST not in found:
        return ""
    return socket.inet_ntoa(found[_DST])
