"""The flows that hold a locked VIF to its addresses, in the words of ovs-fields(7): the same that the bridge's rules let pass, and no more.

Fragments are matched as `nx-match` has it: the first one with its ports and types, later ones without. A header that is not whole has the number
0 of no protocol. What no flow names is dropped before the switch learns anything of it.

A tag is taken off by no flow: to these words the headers behind it are the frame's, so what a guest may send in a VLAN of its trunks is held to the
same as what has no tag. All else that is tagged is dropped, a frame with a second tag too, whose headers Open vSwitch does not read as long as
`other_config:vlan-limit` says nothing else.
"""

from collections.abc import Iterator

from xenet.plan.view import LockView

COOKIE = 0x78656E65742D6C6B
"""On every flow of ours."""
_PASS, _DROP = "normal", "drop"
_TRUNKED = 2
"""The table of a port with trunks, after its tags were looked at."""


def flows_of(number: int, mac: str, lock: LockView) -> list[str]:
    """For the port with this number."""
    lines = [*_arp(mac, lock), *_ipv4(mac, lock), *_ipv6(mac, lock), (0, 4000, "", _DROP)]
    if lock.tags:
        lines = [(table or _TRUNKED, rank, match, act) for table, rank, match, act in lines]
        lines += [(0, 9500, f"dl_vlan={tag}", f"resubmit(,{_TRUNKED})") for tag in lock.tags]
        lines.append((0, 8900, "", f"resubmit(,{_TRUNKED})"))
    lines.append((0, 9000, "vlan_tci=0x1000/0x1000", _DROP))
    head = f"cookie={COOKIE:#x}"
    return [f"{head},table={table},priority={rank},in_port={number}{match and ','}{match},actions={act}" for table, rank, match, act in lines]


Line = tuple[int, int, str, str]
"""Table, priority, match, action."""


def _arp(mac: str, lock: LockView) -> Iterator[Line]:
    """A question without a sender's address is that of RFC 5227: is this address free?"""
    own = f"arp,dl_src={mac},arp_sha={mac}"
    for address in lock.ipv4:
        yield 0, 7000, f"{own},arp_spa={address}", _PASS
    yield 0, 7000, f"{own},arp_op=1,arp_spa=0.0.0.0", _PASS


def _ipv4(mac: str, lock: LockView) -> Iterator[Line]:
    yield 0, 8000, f"udp,dl_src={mac},nw_src=0.0.0.0,tp_src=68,tp_dst=67", _PASS
    yield 0, 7000, "udp,tp_dst=68", _DROP
    yield 0, 7000, "udp,tp_src=67", _DROP
    for address in lock.ipv4:
        yield 0, 6000, f"ip,dl_src={mac},nw_src={address}", _PASS


def _ipv6(mac: str, lock: LockView) -> Iterator[Line]:
    """An advertisement must be for an address of its own, and from one: the second is asked in a table of its own."""
    if not lock.ipv6:
        return
    yield 0, 8500, "ipv6,nw_proto=0", _DROP
    for kind in (134, 136, 137):
        yield 0, 7000, f"icmp6,icmp_type={kind}", _DROP
    yield 0, 7000, "udp6,tp_dst=546", _DROP
    yield 0, 7000, "udp6,tp_src=547", _DROP
    for target in lock.ipv6:
        yield 0, 8000, f"icmp6,dl_src={mac},ipv6_src=::,icmp_type=135,icmp_code=0,nd_target={target}", _PASS
        yield 0, 8000, f"icmp6,icmp_type=136,icmp_code=0,nd_target={target}", "resubmit(,1)"
    for table in (0, 1):
        for address in lock.ipv6:
            yield table, 6000, f"ipv6,dl_src={mac},ipv6_src={address}", _PASS
