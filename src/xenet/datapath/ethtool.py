"""ethtool's messages by generic netlink: a device's features as sets of bits, and its link's settings; and what xenet reads of both.

A word of ethtool's (`tso`) stands for several features of the kernel's, whose numbers differ from one kernel to the next: it tells their names.
Source: linux/ethtool_netlink.h, linux/genetlink.h, Documentation/networking/ethtool-netlink.rst.
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from struct import Struct
from typing import NamedTuple

from xenet.datapath.netlink import Request, as_text, as_u32, attr, attributes, text, u32
from xenet.plan.view import Settings

GENERIC = 16
"""The protocol NETLINK_GENERIC."""
_CONTROL, _GETFAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_STRSET_GET, _LINKMODES_GET, _LINKMODES_SET, _FEATURES_GET, _FEATURES_SET = 1, 4, 5, 11, 12
_HEADER, _DEV_INDEX, _DEV_NAME, _FLAGS, _COMPACT, _OMIT_REPLY = 1, 1, 2, 3, 1, 2
_HW, _WANTED, _ACTIVE, _NOCHANGE = 2, 3, 4, 5
_BITS_SIZE, _BITS, _BITS_VALUE, _BITS_MASK, _BIT, _BIT_NAME = 2, 3, 4, 5, 1, 2
_AUTONEG, _OURS, _SPEED, _DUPLEX = 2, 3, 5, 6
_STRINGSETS, _STRINGSET, _SET_ID, _STRINGS, _STRING_INDEX, _STRING_VALUE, _FEATURES = 2, 1, 1, 3, 1, 2, 4
_NESTED = 0x8000
_GENL = Struct("=BBH")
_TLV = Struct("=HH")
_U16 = Struct("=H")
_START = 20
"""Where attributes begin: after struct nlmsghdr and struct genlmsghdr."""
_UNKNOWN = 0xFFFF_FFFF
_DUPLEXES = ("half", "full")
_NO_SPEEDS = sum(1 << bit for bit in (6, 7, 8, 9, 10, 11, 13, 14, 16, 49, 50, 51, 74))
"""Bits of a link's modes that are none: how the cable is plugged, pauses, error correction. Drivers set these by themselves."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "rx": ("rx-checksum",),
    "tx": ("tx-checksum-*",),
    "sg": ("tx-scatter-gather*",),
    "tso": ("tx-tcp*-segmentation",),
    "ufo": ("tx-udp-fragmentation",),
    "gso": ("tx-generic-segmentation",),
    "gro": ("rx-gro",),
    "lro": ("rx-lro",),
}
"""The kernel's features behind each word, as ethtool(8) has them."""


class Features(NamedTuple):
    """A device's features, a bit for each: which can be changed, which are wanted of it, and which are on."""

    changeable: int
    wanted: int
    active: int


def find_family() -> Request:
    return Request(_CONTROL, 0, _GENL.pack(_GETFAMILY, 1, 0) + text(_FAMILY_NAME, "ethtool"))


def parse_family(message: bytes) -> int:
    """The type of ethtool's messages on this kernel."""
    return int(_U16.unpack_from(attributes(message, _START)[_FAMILY_ID])[0])


def get_names(family: int) -> Request:
    """What the bits of features are called."""
    header = attr(_HEADER | _NESTED, b"")
    asked = attr(_STRINGSETS | _NESTED, attr(_STRINGSET | _NESTED, u32(_SET_ID, _FEATURES)))
    return Request(family, 0, _GENL.pack(_STRSET_GET, 1, 0) + header + asked)


def parse_names(message: bytes) -> dict[int, str]:
    """Bit -> name."""
    sets = attributes(attributes(message, _START)[_STRINGSETS], 0)
    strings = attributes(sets[_STRINGSET], 0)[_STRINGS]
    entries = (attributes(entry, 0) for entry in _items(strings))
    return {as_u32(entry.get(_STRING_INDEX, b"")): as_text(entry[_STRING_VALUE]) for entry in entries}


def masks_of(names: Mapping[int, str]) -> dict[str, int]:
    """The bits behind each of ethtool's words."""
    matching = {word: [bit for bit, name in names.items() if any(fnmatchcase(name, p) for p in patterns)] for word, patterns in NAMES.items()}
    return {word: sum(1 << bit for bit in bits) for word, bits in matching.items()}


def get_features(family: int, index: int) -> Request:
    return Request(family, 0, _GENL.pack(_FEATURES_GET, 1, 0) + _header(index, _COMPACT))


def parse_features(message: bytes) -> Features:
    said = attributes(message, _START)
    hw, wanted, active, never = (_bits(said[kind]) if kind in said else 0 for kind in (_HW, _WANTED, _ACTIVE, _NOCHANGE))
    return Features(hw & ~never, wanted, active)


def set_features(family: int, index: int, on: int, off: int, size: int) -> Request:
    """Want the features of these bits on and off; `size` is how many the kernel has."""
    wanted = attr(_WANTED | _NESTED, _bitset(on, on | off, size))
    return Request(family, 0, _GENL.pack(_FEATURES_SET, 1, 0) + _header(index, _COMPACT | _OMIT_REPLY) + wanted)


def turn_off(family: int, name: str, feature: str) -> Request:
    """One feature, by the kernel's own name for it, of the device of this name. EINVAL or EOPNOTSUPP where there is no such feature."""
    bit = attr(_BIT | _NESTED, text(_BIT_NAME, feature))
    header = attr(_HEADER | _NESTED, text(_DEV_NAME, name) + u32(_FLAGS, _OMIT_REPLY))
    wanted = attr(_WANTED | _NESTED, attr(_BITS | _NESTED, bit))
    return Request(family, 0, _GENL.pack(_FEATURES_SET, 1, 0) + header + wanted)


def get_link_modes(family: int, index: int) -> Request:
    return Request(family, 0, _GENL.pack(_LINKMODES_GET, 1, 0) + _header(index, _COMPACT))


def parse_link_modes(message: bytes) -> Settings:
    """By ethtool's words; what the device does not know, and how fast a link is that is down, is left out."""
    said = attributes(message, _START)
    speed, duplex, autoneg = as_u32(said.get(_SPEED, b"")), said.get(_DUPLEX, b"\xff")[0], said.get(_AUTONEG, b"\xff")[0]
    found = {
        "speed": "" if speed in (0, _UNKNOWN) else str(speed),
        "duplex": _DUPLEXES[duplex] if duplex < len(_DUPLEXES) else "",
        "autoneg": ("off", "on")[autoneg] if autoneg < 2 else "",
        "advertise": hex(_bits(said[_OURS])) if _OURS in said else "",
    }
    return {word: value for word, value in found.items() if value}


def same_modes(one: str, other: str) -> bool:
    """Whether two masks of `advertise` offer the same speeds."""
    return not (int(one, 16) ^ int(other, 16)) & ~_NO_SPEEDS


def set_link_modes(family: int, index: int, settings: Settings) -> Request:
    """All of them at once. Where autoneg is on, the kernel advertises the modes of this speed and duplex."""
    body = _header(index, 0)
    if "autoneg" in settings:
        body += attr(_AUTONEG, bytes((settings["autoneg"] == "on",)))
    if "advertise" in settings:
        mask = int(settings["advertise"], 16)
        body += attr(_OURS | _NESTED, attr(1, b"") + _bitset(mask, None, mask.bit_length()))
    if "speed" in settings:
        body += u32(_SPEED, int(settings["speed"]))
    if "duplex" in settings:
        body += attr(_DUPLEX, bytes((_DUPLEXES.index(settings["duplex"]),)))
    return Request(family, 0, _GENL.pack(_LINKMODES_SET, 1, 0) + body)


def _header(index: int, flags: int) -> bytes:
    return attr(_HEADER | _NESTED, u32(_DEV_INDEX, index) + (u32(_FLAGS, flags) if flags else b""))


def _bitset(value: int, mask: int | None, size: int) -> bytes:
    """A set of bits in its compact form: words of 32 bits in the machine's order, the lowest first. Without a mask it is the whole set."""
    words = (size + 31) // 32
    parts = u32(_BITS_SIZE, size) + attr(_BITS_VALUE, _words(value, words))
    return parts + (attr(_BITS_MASK, _words(mask, words)) if mask is not None else b"")


def _words(value: int, count: int) -> bytes:
    return b"".join(Struct("=I").pack(value >> 32 * n & 0xFFFF_FFFF) for n in range(count))


def _bits(bitset: bytes) -> int:
    data = memoryview(attributes(bitset, 0).get(_BITS_VALUE, b"")).cast("I")
    return sum(int(word) << 32 * n for n, word in enumerate(data))


def _items(data: bytes) -> Iterator[bytes]:
    """The contents of attributes that all have the same type."""
    pos = 0
    while pos + 4 <= len(data):
        size, _ = _TLV.unpack_from(data, pos)
        yield data[pos + 4 : pos + size]
        pos += (max(size, 4) + 3) & ~3
