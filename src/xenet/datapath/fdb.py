"""A switch's MAC table. Source: linux/neighbour.h, net/bridge/br_fdb.c."""

import os
import socket
from struct import Struct

from xenet.datapath.base import FDBEntry
from xenet.datapath.netlink import CREATE, DELNEIGH, GETNEIGH, NEWNEIGH, REPLACE, Request, Socket, attr, attributes, u32
from xenet.datapath.table import Table

_LLADDR, _CACHEINFO, _MASTER = 2, 3, 9
_NTF_SELF, _NTF_MASTER, _NUD_REACHABLE, _NUD_PERMANENT = 0x02, 0x04, 0x02, 0x80
_NDMSG = Struct("=BxxxiHBB")
_CACHE = Struct("=IIII")


def dump_fdb(sock: Socket, table: Table, bridge: int) -> list[FDBEntry]:
    """The entries of the bridge with this ifindex. Raises NetlinkError."""
    ticks = os.sysconf("SC_CLK_TCK")
    entries = []
    for message in sock.dump(Request(GETNEIGH, 0, _NDMSG.pack(socket.AF_BRIDGE, 0, 0, 0, 0) + u32(_MASTER, bridge))):
        _, index, state, flags, _ = _NDMSG.unpack_from(message, 16)
        found, link = attributes(message, 28), table.link(index)
        if flags & _NTF_SELF or _LLADDR not in found or link is None:  # NTF_SELF: a device's own filter, not the bridge's table
            continue
        _, _, updated, _ = _CACHE.unpack(found[_CACHEINFO])
        entries.append(FDBEntry(found[_LLADDR].hex(":"), link.name, updated / ticks, bool(state & _NUD_PERMANENT)))
    return entries


def learned(port: int, mac: str) -> Request:
    """What makes the bridge of the port with this ifindex know a MAC there, as if a frame from it had just come: until it is heard elsewhere,
    or ages. The kernel refuses (EPERM) for a port that does not forward, as one without a carrier."""
    header = _NDMSG.pack(socket.AF_BRIDGE, port, _NUD_REACHABLE, _NTF_MASTER, 0)
    return Request(NEWNEIGH, CREATE | REPLACE, header + attr(_LLADDR, bytes.fromhex(mac.replace(":", ""))))


def unlearned(port: int, mac: str) -> Request:
    """What makes the bridge forget a MAC at the port with this ifindex; refused (ENOENT) where it does not know it there."""
    header = _NDMSG.pack(socket.AF_BRIDGE, port, 0, _NTF_MASTER, 0)
    return Request(DELNEIGH, 0, header + attr(_LLADDR, bytes.fromhex(mac.replace(":", ""))))
