"""What xenet reads of nftables by netlink: the elements of the sets in its table, and its tables' layouts, that is all that is no element.

Written is by `nft`, which knows how a rule becomes the kernel's expressions; read is by netlink, as the kernel's own words can be compared
byte by byte, and come as notifications, too.
Source: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h.
"""

import errno
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from xenet.datapath.netlink import NetlinkError, Request, Socket, as_text, attributes, text
from xenet.plan.lock import IPV4, LOCKED, MACS, SETS, TABLE, Span

NETLINK_NETFILTER, NEWS = 12, 7
"""The protocol, and its group NFNLGRP_NFTABLES."""
FENCE = "xenet_"
"""What the names of the tables of fences begin with; a bond's device follows."""
_SUBSYSTEM, BRIDGE, NETDEV = 10 << 8, 7, 5
_GETTABLE, _GETCHAIN, _GETRULE, _GETSET = 1, 4, 7, 10
_NEWSETELEM, _GETSETELEM, _DELSETELEM, _NEWGEN = 12, 13, 14, 15
_TABLE_FLAGS, _CHAIN, _CHAIN_PARTS, _RULE_CHAIN, _EXPRESSIONS, _SET, _SET_PARTS = 2, 3, (4, 5, 7, 10), 2, 4, 2, (3, 5)
_ELEMENTS, _KEY, _KEY_END, _VALUE = 3, 1, 10, 1
_START = 20
"""Where attributes begin: after struct nlmsghdr and struct nfgenmsg."""
_GENERIC = Struct("=BBH")
_TLV = Struct("=HH")
_NAME = 16
"""Bytes of a device's name in a key."""
_NAME_OF_TABLE = TABLE.split()[1]

Layout = frozenset[tuple[object, ...]]


class Element(NamedTuple):
    """In which set, of which port, and what."""

    set: str
    device: str
    span: Span


def ask(kind: int, *attrs: bytes, family: int = BRIDGE) -> Request:
    return Request(_SUBSYSTEM | kind, 0, _GENERIC.pack(family, 0, 0) + b"".join(attrs))


def is_of_elements(kind: int) -> bool:
    """Whether a notification tells of elements alone; any other one of ours says that the layout may have changed."""
    return kind & 0xFF in (_NEWSETELEM, _DELSETELEM)


def adds(kind: int) -> bool:
    return kind & 0xFF == _NEWSETELEM


def is_ours(kind: int, message: bytes, family: int = BRIDGE, table: str = _NAME_OF_TABLE) -> bool:
    """Whether a notification concerns the table of this name. It is attribute 1 of all."""
    return table == _table(kind, message, family)


def fenced(kind: int, message: bytes) -> str:
    """The bond whose fence a notification concerns; empty for any other."""
    table = _table(kind, message, NETDEV)
    return table.removeprefix(FENCE) if table.startswith(FENCE) else ""


def _table(kind: int, message: bytes, family: int) -> str:
    """Of this family; empty for others."""
    if kind >> 8 != _SUBSYSTEM >> 8 or kind & 0xFF == _NEWGEN or message[16] != family:
        return ""
    return as_text(attributes(message, _START).get(1, b""))


def elements_in(message: bytes) -> Iterator[Element]:
    """Those of one message of a dump or a notification."""
    said = attributes(message, _START)
    name, pos, raw = as_text(said.get(_SET, b"")), 0, said.get(_ELEMENTS, b"")
    while pos + 4 <= len(raw) and name in SETS:
        size, _ = _TLV.unpack_from(raw, pos)
        parts = attributes(raw[pos + 4 : pos + size], 0)
        first = _data(parts[_KEY])
        last = _data(parts[_KEY_END]) if _KEY_END in parts else first
        yield Element(name, as_text(first[:_NAME].partition(b"\0")[0]), (_number(name, first), _number(name, last)))
        pos += (size + 3) & ~3


def _data(nested: bytes) -> bytes:
    return attributes(nested, 0)[_VALUE]


def _number(name: str, key: bytes) -> int:
    if name == LOCKED:
        return 0
    length = 6 if name == MACS else 4 if name == IPV4 else 16
    return int.from_bytes(key[_NAME : _NAME + length], "big")


def dump_elements(socket: Socket) -> list[bytes] | None:
    """The messages, None where there is no such table. Raises NetlinkError."""
    found: list[bytes] = []
    for name in SETS:
        try:
            found += socket.dump(ask(_GETSETELEM, text(1, _NAME_OF_TABLE), text(_SET, name)))
        except NetlinkError as error:
            if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
                raise
    return found if found or _has_table(socket) else None


def _has_table(socket: Socket) -> bool:
    return any(is_ours(_SUBSYSTEM, message) for message in _tables(socket, BRIDGE))


def _tables(socket: Socket, family: int) -> list[bytes]:
    """All tables of a family; none where the kernel has no nftables or no such family."""
    try:
        return socket.dump(ask(_GETTABLE, family=family))
    except NetlinkError as error:
        if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL):
            raise
        return []


def dump_fences(socket: Socket) -> dict[str, Layout]:
    """The layout of each bond's fence. Raises NetlinkError."""
    bonds = [bond for message in _tables(socket, NETDEV) if (bond := fenced(_SUBSYSTEM, message))]
    return {bond: dump_layout(socket, NETDEV, f"{FENCE}{bond}") for bond in bonds}


def dump_layout(socket: Socket, family: int = BRIDGE, table: str = _NAME_OF_TABLE) -> Layout:
    """Flags, chains with their hooks, rules in their order, sets: what must be as it was made. Raises NetlinkError."""

    def dump(kind: int) -> Iterator[dict[int, bytes]]:
        messages = socket.dump(ask(kind, family=family))
        return (attributes(message, _START) for message in messages if is_ours(_SUBSYSTEM, message, family, table))

    return frozenset(
        (
            *(("table", said.get(_TABLE_FLAGS)) for said in dump(_GETTABLE)),
            *(("chain", said.get(_CHAIN), *map(said.get, _CHAIN_PARTS)) for said in dump(_GETCHAIN)),
            *(("set", said.get(_SET), *map(said.get, _SET_PARTS)) for said in dump(_GETSET)),
            *(("rule", number, said.get(_RULE_CHAIN), said.get(_EXPRESSIONS)) for number, said in enumerate(dump(_GETRULE))),
        )
    )
