"""What a guest claims as its own address, read from the frames by which it says so: ARP (RFC 826, 5227) and neighbour discovery (RFC 4861).

Only what it says of itself counts: with its VIF's MAC as the frame's source and in the message, and under a lock only what the lock allows.
A question whether an address is free (an ARP probe from 0.0.0.0, a solicitation from ::, RFC 4862) claims none: the answer may be that it is
taken. An address that the guest then uses, it will have to claim: nobody could reach it otherwise.
"""

import ipaddress
from collections.abc import Iterable, Sequence

import msgspec

from xenet.model.hidden import Claim
from xenet.plan.view import LockView

MOST = 16
"""Addresses that are known of a VIF; beyond, those give way that were not heard for the longest time."""
BEGINNING = 128
"""Bytes of a frame that are enough to tell."""
_ARP, _IPV6, _ICMPV6 = b"\x08\x06", b"\x86\xdd", 58
_ARP_HEAD = b"\x00\x01\x08\x00\x06\x04"
_SOLICITATION, _ADVERTISEMENT, _ROUTERS = 135, 136, 133
_OPTIONS = {_ROUTERS: (62, 1), _SOLICITATION: (78, 1), _ADVERTISEMENT: (78, 2)}
"""ICMPv6 type -> where options begin in the frame, and the one that holds the sender's MAC."""
_HOP_LIMIT = 255


def claimed(frame: bytes, mac: str, lock: LockView | None = None) -> str:
    """The address that a frame from the guest behind a VIF with this MAC claims; empty for none."""
    own = bytes.fromhex(mac.replace(":", ""))
    if frame[6:12] != own:
        return ""
    address = _by_arp(frame, own) if frame[12:14] == _ARP else _by_discovery(frame, own) if frame[12:14] == _IPV6 else b""
    return _checked(address, lock) if address else ""


def is_answer(frame: bytes) -> bool:
    """Whether a frame that claims an address only answers who asked for it. Linux answers by ARP at each NIC that the question reaches, whichever
    has the address (arp_ignore); for IPv6 it does so at the right one alone."""
    return frame[12:14] == _ARP and frame[20:22] == b"\x00\x02" and frame[28:32] != frame[38:42]


def _by_arp(frame: bytes, own: bytes) -> bytes:
    whole = len(frame) >= 42 and frame[14:20] == _ARP_HEAD and frame[20:22] in (b"\x00\x01", b"\x00\x02")
    return frame[28:32] if whole and frame[22:28] == own else b""


def _by_discovery(frame: bytes, own: bytes) -> bytes:
    if len(frame) < 62 or frame[20] != _ICMPV6 or frame[21] != _HOP_LIMIT or frame[55] != 0 or frame[54] not in _OPTIONS:
        return b""
    start, kind = _OPTIONS[frame[54]]
    if len(frame) < start or any(said != own for said in _said(frame[start:], kind)):
        return b""
    return frame[62:78] if frame[54] == _ADVERTISEMENT else frame[22:38]


def _said(options: bytes, kind: int) -> Iterable[bytes]:
    """The values of this option; one that is not whole ends them."""
    while len(options) >= 8 and options[1]:
        if options[0] == kind:
            yield options[2:8]
        options = options[options[1] * 8 :]


def _checked(packed: bytes, lock: LockView | None) -> str:
    address = ipaddress.ip_address(packed)
    nobody = address.is_unspecified or address.is_multicast or address.is_loopback or packed in (b"\xff" * 4,) or packed[:1] == b"\0"
    return str(address) if not nobody and allows(lock, str(address)) else ""


def allows(lock: LockView | None, address: str) -> bool:
    """Whether a guest that is held to this lock may have the address."""
    if lock is None:
        return True
    own = ipaddress.ip_address(address)
    return any(own in ipaddress.ip_network(entry) for entry in (lock.ipv6 if own.version == 6 else lock.ipv4))


def joined(known: Sequence[Claim], fresh: Iterable[Claim]) -> tuple[Claim, ...]:
    """What is known with what was heard since, as many as are kept."""
    found = {claim.address: claim for claim in known}
    for claim in fresh:
        before = found.get(claim.address, claim)
        found[claim.address] = msgspec.structs.replace(claim, heard=max(claim.heard, before.heard))
    newest = sorted(found.values(), key=lambda claim: claim.heard, reverse=True)[:MOST]
    return tuple(claim for claim in found.values() if claim in newest)
