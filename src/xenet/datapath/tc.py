"""Traffic control messages: the bucket of a limiter, the way of a port's frames to it, and what xenet reads of both.

What a guest sends comes in at its port, where only filters can act; a queue needs a device that it goes out of. So a filter sends it all
through an ifb, whose tbf queues it, and which puts it back as if it came in at the port.
Source: linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h, net/sched/sch_tbf.c, drivers/net/ifb.c.
"""

import socket
from struct import Struct
from typing import NamedTuple

from xenet.datapath.netlink import (
    CREATE,
    DELQDISC,
    DELTFILTER,
    EXCL,
    GETQDISC,
    GETTFILTER,
    NEWQDISC,
    NEWTFILTER,
    REPLACE,
    Request,
    as_text,
    as_u32,
    attr,
    attributes,
    text,
)
from xenet.plan.limit import burst_of, queue_of

ROOT, INGRESS = 0xFFFF_FFFF, 0xFFFF_FFF1
"""Where a qdisc is: behind the device, or before it."""
PREF = 0x5845
"""The preference of our filter among those of a port: its mark, as the group is the devices'."""
MIRROR = 0x5844
"""The preference of the filters that copy: before all others of ours."""
SWALLOW = 0x5846
"""The preference of the filter that keeps frames from the host's own stack."""
_BPF_ACT, _BPF_OPS_LEN, _BPF_OPS, _BPF_FLAGS, _BPF_DIRECT = 1, 4, 5, 8, 1
_INSTRUCTION = Struct("=HBBI")
_RETURN_SHOT = _INSTRUCTION.pack(0x06, 0, 0, 2)
"""`ret #2`: TC_ACT_SHOT."""
_ALL_FRAMES = _INSTRUCTION.pack(0x06, 0, 0, 1)
_NO_TAG = _INSTRUCTION.pack(0x20, 0, 0, 0xFFFF_F030) + _INSTRUCTION.pack(0x15, 0, 1, 1) + _INSTRUCTION.pack(0x06, 0, 0, 0) + _ALL_FRAMES
"""`ld vlan_avail; jneq #1, L; ret #0; L: ret #1`: a tag is beside the frame by now, wherever it came from."""
_INGRESS_HANDLE, _BUCKET_HANDLE = 0xFFFF_0000, 0x1_0000
BEFORE, BEHIND = 0xFFFF_FFF2, 0xFFFF_FFF3
"""Where a filter is: before the device, or behind it, where the room is of kind clsact."""
_ALL = socket.htons(0x0003)
_KIND, _OPTIONS = 1, 2
_TBF_PARMS, _TBF_RATE64 = 1, 4
_U32_SEL, _U32_ACT, _TERMINAL = 5, 7, 1
_ACT_KIND, _ACT_OPTIONS, _MIRRED_PARMS, _STOLEN, _GO_ON, _EGRESS_REDIRECT, _EGRESS_MIRROR = 1, 2, 2, 4, -1, 1, 2
_ETHERNET = 1
_TICK = 64
"""Nanoseconds: the kernel's unit for a bucket's size, which it keeps as the time to fill it."""
_TC = Struct("=BxxxiIII")
_RATE = Struct("=BBHhHI")
_TBF_REST = Struct("=III")
_SELECT_ALL = Struct("=BBBxHHhhI").pack(_TERMINAL, 0, 1, 0, 0, 0, 0, 0) + bytes(16)
"""One key, whose mask is empty."""
_MIRRED = Struct("=IIiiiiI")
_U16, _U32, _U64 = Struct("=H"), Struct("=I"), Struct("=Q")


class Bucket(NamedTuple):
    """A tbf as the kernel has it: bytes a second, the ticks that filling the bucket takes, bytes of queue."""

    rate: int
    ticks: int
    queue: int


def bucket_for(rate: int, mtu: int) -> Bucket:
    """What holds a port of this MTU to this rate."""
    return Bucket(rate, burst_of(rate, mtu) * 1_000_000_000 // rate // _TICK, queue_of(rate, mtu))


def set_bucket(index: int, bucket: Bucket) -> Request:
    """Behind the device, in place of what is there; a tbf keeps what waits in it."""
    low = min(bucket.rate, 0xFFFF_FFFF)
    parms = _RATE.pack(0, _ETHERNET, 0, 0, 0, low) + _RATE.pack(0, 0, 0, 0, 0, 0) + _TBF_REST.pack(bucket.queue, bucket.ticks, 0)
    options = attr(_TBF_PARMS, parms) + (attr(_TBF_RATE64, _U64.pack(bucket.rate)) if low != bucket.rate else b"")
    return Request(NEWQDISC, CREATE | REPLACE, _TC.pack(0, index, _BUCKET_HANDLE, ROOT, 0) + text(_KIND, "tbf") + attr(_OPTIONS, options))


def add_ingress(index: int, kind: str = "ingress") -> Request:
    """Room for filters before the device. EEXIST where there is. Of kind clsact it is room behind the device, too."""
    return Request(NEWQDISC, CREATE | EXCL, _TC.pack(0, index, _INGRESS_HANDLE, INGRESS, 0) + text(_KIND, kind))


def remove_ingress(index: int, kind: str = "ingress") -> Request:
    """With all its filters. EINVAL where another kind makes the room, ENOENT where nothing does."""
    return Request(DELQDISC, 0, _TC.pack(0, index, _INGRESS_HANDLE, INGRESS, 0) + text(_KIND, kind))


def redirect(index: int, target: int) -> Request:
    """All that comes in at the device goes out of the target instead. The kernel chooses the filter's handle: which ones it takes depends on
    what other filters are there."""
    mirred = attr(_MIRRED_PARMS, _MIRRED.pack(0, 0, _STOLEN, 0, 0, _EGRESS_REDIRECT, target))
    action = attr(1, text(_ACT_KIND, "mirred") + attr(_ACT_OPTIONS, mirred))
    options = attr(_U32_SEL, _SELECT_ALL) + attr(_U32_ACT, action)
    return Request(NEWTFILTER, CREATE | EXCL, _filter(index) + text(_KIND, "u32") + attr(_OPTIONS, options))


def remove_redirect(index: int) -> Request:
    """ENOENT or EINVAL where there is none."""
    return Request(DELTFILTER, 0, _filter(index) + text(_KIND, "u32"))


def swallow(index: int) -> Request:
    """All that comes in at the device ends there: packet sockets have had it by then, the host's own stack gets nothing. A classic BPF program of
    one instruction, since kernels without act_gact have no other way to drop."""
    program = attr(_BPF_OPS_LEN, _U16.pack(1)) + attr(_BPF_OPS, _RETURN_SHOT) + attr(_BPF_FLAGS, _U32.pack(_BPF_DIRECT))
    return Request(NEWTFILTER, CREATE | EXCL, _filter(index, SWALLOW) + text(_KIND, "bpf") + attr(_OPTIONS, program))


def remove_swallow(index: int) -> Request:
    """ENOENT or EINVAL where there is none."""
    return Request(DELTFILTER, 0, _filter(index, SWALLOW) + text(_KIND, "bpf"))


def _filter(index: int, pref: int = PREF, parent: int = BEFORE) -> bytes:
    return _TC.pack(0, index, 0, parent, pref << 16 | _ALL)


def get_qdiscs() -> Request:
    """As a dump: those of all devices."""
    return Request(GETQDISC, 0, _TC.pack(0, 0, 0, 0, 0))


def get_filters(index: int, parent: int = BEFORE) -> Request:
    """As a dump: those before or behind the device."""
    return Request(GETTFILTER, 0, _TC.pack(0, index, 0, parent, 0))


class Copy(NamedTuple):
    """What a filter of ours copies: to which device (0: none that exists), and whether frames without a tag alone."""

    target: int
    untagged: bool


def copy_to(index: int, parent: int, copy: Copy) -> Request:
    """What passes there goes to the target as well. The filters behind this one still see it."""
    program = _NO_TAG if copy.untagged else _ALL_FRAMES
    mirred = attr(_MIRRED_PARMS, _MIRRED.pack(0, 0, _GO_ON, 0, 0, _EGRESS_MIRROR, copy.target))
    action = attr(1, text(_ACT_KIND, "mirred") + attr(_ACT_OPTIONS, mirred))
    options = attr(_BPF_OPS_LEN, _U16.pack(len(program) // _INSTRUCTION.size)) + attr(_BPF_OPS, program) + attr(_BPF_ACT, action)
    return Request(NEWTFILTER, CREATE, _filter(index, MIRROR, parent) + text(_KIND, "bpf") + attr(_OPTIONS, options))


def remove_copies(index: int, parent: int) -> Request:
    """All that are there. ENOENT or EINVAL where there are none."""
    return Request(DELTFILTER, 0, _filter(index, MIRROR, parent) + text(_KIND, "bpf"))


class FilterAt(NamedTuple):
    """Of which device a filter is, where, with which preference; its number there, 0 for all of them."""

    device: int
    parent: int
    pref: int
    handle: int


def filter_at(message: bytes) -> FilterAt:
    _, index, handle, parent, info = _TC.unpack_from(message, 16)
    return FilterAt(index, parent, info >> 16, handle)


def parse_copy(message: bytes) -> Copy | None:
    """Of an RTM_NEWTFILTER with the preference MIRROR; None for a message about its surroundings."""
    options = attributes(attributes(message, 36).get(_OPTIONS, b""), 0)
    if _BPF_OPS not in options:
        return None
    return Copy(_mirred_to(options.get(_BPF_ACT, b"")), options[_BPF_OPS] != _ALL_FRAMES)


def _mirred_to(actions: bytes) -> int:
    """The device that an action of kind mirred sends frames to; 0 for any other."""
    action = attributes(attributes(actions, 0).get(1, b""), 0)
    parms = attributes(action.get(_ACT_OPTIONS, b""), 0).get(_MIRRED_PARMS, b"")
    return as_u32(parms[_MIRRED.size - 4 :]) if as_text(action.get(_ACT_KIND, b"")) == "mirred" else 0


class Place(NamedTuple):
    """Where something is: the device's ifindex, and behind it (ROOT), before it (INGRESS), or within another (that one's handle)."""

    device: int
    handle: int
    parent: int


def kind_of(message: bytes) -> str:
    """Of a qdisc or a filter."""
    return as_text(attributes(message, 36).get(_KIND, b""))


def place_of(message: bytes) -> Place:
    """Of a qdisc."""
    _, index, handle, parent, _ = _TC.unpack_from(message, 16)
    return Place(index, handle, parent)


def parse_bucket(message: bytes) -> Bucket | None:
    """The tbf of an RTM_NEWQDISC, None for any other kind."""
    found = attributes(message, 36)
    if as_text(found.get(_KIND, b"")) != "tbf":
        return None
    options = attributes(found[_OPTIONS], 0)
    rate = _RATE.unpack_from(options[_TBF_PARMS])[5]
    queue, ticks, _ = _TBF_REST.unpack_from(options[_TBF_PARMS], 2 * _RATE.size)
    return Bucket(_U64.unpack(options[_TBF_RATE64])[0] if _TBF_RATE64 in options else rate, ticks, queue)


def parse_redirect(message: bytes) -> int | None:
    """Where our filter of an RTM_NEWTFILTER sends frames: an ifindex, 0 where it loses them. None for a message about its surroundings."""
    options = attributes(attributes(message, 36).get(_OPTIONS, b""), 0)
    if _U32_SEL not in options:
        return None
    return _mirred_to(options.get(_U32_ACT, b""))
