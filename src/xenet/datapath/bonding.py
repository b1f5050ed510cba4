"""A bond in the kernel's own words: XenServer's modes as settings of its bonding driver, and these as attributes of a link message.

balance-slb, which only XenServer's kernels have, is balance-xor with a hash over the source's MAC and VLAN, and a fence (`fence`).
The driver takes its delays in whole intervals of miimon. It changes its mode only while it is down and without slaves, and what it tells
its partner by LACP only while it is down.
Source: linux/if_link.h, linux/if_bonding.h, drivers/net/bonding/bond_options.c.
"""

from struct import Struct

import msgspec

from xenet.datapath.netlink import as_u32, attr, attributes, u32
from xenet.plan.view import BondView

ACTIVE_BACKUP, XOR, LACP = 1, 2, 4
_LAYER2, _LAYER34, _SOURCE = 0, 1, 5
_MODE, _ACTIVE_SLAVE, _MIIMON, _UPDELAY, _DOWNDELAY, _PRIMARY, _POLICY, _RATE, _KEY = 1, 2, 3, 4, 5, 11, 14, 21, 25
_STATE, _MII, _OWN_MAC = 1, 2, 4
_LAST_KEY = 1023
_U16 = Struct("=H")


class Options(msgspec.Struct, frozen=True):
    """What is set of a bond; times in milliseconds."""

    mode: int = XOR
    miimon: int = 100
    updelay: int = 0
    downdelay: int = 0
    policy: int = _SOURCE
    primary: int = 0
    """Of active-backup: the slave's ifindex."""
    fast: bool = False
    """Of LACP: the partner shall speak every second."""
    key: int | None = 0
    """Of LACP: the administrator's part of the aggregation key; None: the kernel does not tell it, as to who is root in a user namespace."""


class Slave(msgspec.Struct, frozen=True):
    """A NIC as its bond sees it."""

    active: bool
    """Whether what comes in on it is taken."""
    up: bool
    """Whether it has had its link for long enough."""
    mac: str
    """Its own; while it is a slave it has the bond's."""


def options_of(view: BondView, primary: int) -> Options:
    """The settings for this view. `primary`: the ifindex of the primary slave, 0 while it is none of the slaves."""
    miimon = max(view.miimon, 1)
    delays = view.updelay // miimon * miimon, view.downdelay // miimon * miimon
    match view.mode:
        case "active-backup":
            return Options(ACTIVE_BACKUP, miimon, *delays, policy=_LAYER2, primary=primary)
        case "lacp":
            policy = _LAYER34 if view.hashing == "tcpudp_ports" else _SOURCE
            return Options(LACP, miimon, *delays, policy, fast=view.lacp_time == "fast", key=view.lacp_key if view.lacp_key <= _LAST_KEY else 0)
    return Options(XOR, miimon, *delays, policy=_SOURCE)


def needs_down(want: Options, have: Options) -> bool:
    """Whether the way from one to the other leads over a bond that is down."""
    return (want.mode, want.fast, want.key) != (have.mode, have.fast, have.key)


def bond_data(want: Options, have: Options | None = None) -> bytes:
    """The attributes that lead there, for a new bond all of them. What must not be touched while the bond works is left out where it is so
    already."""
    data = b""
    if have is None or have.mode != want.mode:
        data += attr(_MODE, bytes((want.mode,)))
    data += u32(_MIIMON, want.miimon) + u32(_UPDELAY, want.updelay) + u32(_DOWNDELAY, want.downdelay)
    if want.mode == ACTIVE_BACKUP:
        data += u32(_PRIMARY, want.primary)
    data += attr(_POLICY, bytes((want.policy,)))
    if want.mode == LACP:
        if have is None or have.fast != want.fast:
            data += attr(_RATE, bytes((want.fast,)))
        if want.key is not None and (have is None or have.key != want.key):
            data += attr(_KEY, _U16.pack(want.key))
    return data


def active_slave(index: int) -> bytes:
    """The attribute that makes active-backup use this slave now."""
    return u32(_ACTIVE_SLAVE, index)


def parse_options(data: bytes) -> Options:
    """From a bond's own attributes."""
    said = attributes(data, 0)
    mode = said.get(_MODE, b"\0")[0]
    lacp = mode == LACP
    return Options(
        mode,
        as_u32(said.get(_MIIMON, b"")),
        as_u32(said.get(_UPDELAY, b"")),
        as_u32(said.get(_DOWNDELAY, b"")),
        said.get(_POLICY, b"\0")[0],
        as_u32(said.get(_PRIMARY, b"")) if mode == ACTIVE_BACKUP else 0,
        fast=lacp and said.get(_RATE, b"\0")[0] == 1,
        key=(_U16.unpack_from(said[_KEY])[0] if _KEY in said else None) if lacp else 0,
    )


def parse_slave(data: bytes) -> Slave:
    """From what the bond says of its slave."""
    said = attributes(data, 0)
    return Slave(said.get(_STATE) == b"\0", said.get(_MII) == b"\0", said.get(_OWN_MAC, b"").hex(":"))
