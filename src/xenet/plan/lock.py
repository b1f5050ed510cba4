"""The lock of a VIF: what its record asks for, as the elements of a few nftables sets, and the commands that lead from one lock to another.

All locks of a host share one table of the bridge family, `xenet`, whose rules never change: they ask sets in which each element begins with
a port's name. So a change of one lock is one transaction, which holds for the next frame as a whole, and a frame of an unlocked port costs
one look into a hash.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, collapse_addresses, ip_network, summarize_address_range
from typing import Any

from xenet.model.allowed import find_allowed
from xenet.model.network import Network
from xenet.model.vif import VIF, VIFLockingMode
from xenet.plan.view import LockView

TABLE = "bridge xenet"
LOCKED, MACS, IPV4, IPV6, TARGETS = SETS = ("locked", "macs", "ipv4", "ipv6", "targets")
Span = tuple[int, int]
"""First and last, as numbers: a MAC, addresses."""
Elements = Mapping[str, frozenset[Span]]
"""What one port has in the sets, by set; sets in which it has nothing are left out."""
Form = type[IPv4Address] | type[IPv6Address]
_FORMS: dict[int, Form] = {4: IPv4Address, 6: IPv6Address}
_LINK_LOCAL = 0xFE80 << 112


def mode_of(vif: VIF, network: Network) -> VIFLockingMode:
    """The VIF's own mode, or else its network's."""
    return network.default_locking_mode if vif.locking_mode == "network_default" else vif.locking_mode


def lock_of(vif: VIF, network: Network, trunks: Iterable[int] = ()) -> LockView | None:
    """What holds the guest to its addresses, None where nothing does. With an IPv6 address comes the link-local one that the guest makes of
    its MAC (RFC 4291), without which no neighbour finds another. `trunks`: those of its port (PortView)."""
    if mode_of(vif, network) != "locked":
        return None
    ipv6 = [*vif.ipv6_allowed, str(link_local(vif.MAC))] if vif.ipv6_allowed else []
    return LockView(_united(vif.ipv4_allowed, 4), _united(ipv6, 6), tuple(tag for tag in trunks if tag))


def link_local(mac: str) -> IPv6Address:
    """fe80:: and the MAC's modified EUI-64."""
    number = int(mac.replace(":", ""), 16) ^ 0x02 << 40
    return IPv6Address(_LINK_LOCAL | number >> 24 << 40 | 0xFFFE << 24 | number & 0xFFFFFF)


def _united(entries: Iterable[str], version: int) -> tuple[str, ...]:
    """As few addresses and CIDRs as say the same: a set has no elements that overlap."""
    networks: list[Any] = [network for entry in entries if (network := find_allowed(entry, version))]
    return tuple(_text(_FORMS[version], *_span(str(network))) for network in collapse_addresses(networks))


def _span(text: str) -> Span:
    network = ip_network(text)
    return int(network[0]), int(network[-1])


def _text(form: Form, first: int, last: int) -> str:
    """An address or a CIDR where the span is one, else `first-last`."""
    if first == last:
        return str(form(first))
    network, *more = summarize_address_range(form(first), form(last))
    return f"{form(first)}-{form(last)}" if more else str(network)


def elements(mac: str, lock: LockView | None) -> Elements:
    """What a port with this MAC has in the sets when it is locked so."""
    if lock is None:
        return {}
    number, ipv6 = int(mac.replace(":", ""), 16), frozenset(map(_span, lock.ipv6))
    spans = {LOCKED: frozenset({(0, 0)}), MACS: frozenset({(number, number)}), IPV4: frozenset(map(_span, lock.ipv4)), IPV6: ipv6, TARGETS: ipv6}
    return {name: found for name, found in spans.items() if found}


def observed_lock(mac: str, found: Elements) -> LockView | None:
    """The lock that a port's elements make up, not whole when they are not exactly those of a lock."""
    if not found:
        return None
    addresses = {name: sorted(found.get(name, ())) for name in (IPV4, IPV6)}
    lock = LockView(
        tuple(_text(IPv4Address, *span) for span in addresses[IPV4]),
        tuple(_text(IPv6Address, *span) for span in addresses[IPV6]),
    )
    odd = any("-" in text for text in (*lock.ipv4, *lock.ipv6))
    return lock if not odd and elements(mac, lock) == found else LockView(lock.ipv4, lock.ipv6, whole=False)


def commands(device: str, before: Elements, after: Elements) -> Iterator[str]:
    """nft's, from one lock to another, for one transaction. What stays is not touched."""
    for verb, these, others in (("delete", before, after), ("add", after, before)):
        for name in SETS:
            if spans := these.get(name, frozenset()) - others.get(name, frozenset()):
                said = ", ".join(_element(name, device, span) for span in sorted(spans))
                yield f"{verb} element {TABLE} {name} {{ {said} }}"


def _element(name: str, device: str, span: Span) -> str:
    first, last = span
    if name == LOCKED:
        return f'"{device}"'
    if name == MACS:
        return f'"{device}" . {":".join(f"{byte:02x}" for byte in first.to_bytes(6, "big"))}'
    if name == TARGETS:  # nft 1.0.6 has no name for the address in a neighbour discovery message, so it is a number
        return f'"{device}" . {first:#x}' + (f"-{last:#x}" if last != first else "")
    return f'"{device}" . {_text(IPv4Address if name == IPV4 else IPv6Address, first, last)}'
