"""VIF locking: its mode, and the addresses that a locked VIF may use. In any mode they can be set; what is running follows at once."""

from collections.abc import Iterable
from typing import Any

from xenet.model.allowed import find_allowed
from xenet.model.errors import Failure
from xenet.model.types import NULL, StrSet, VIFRef
from xenet.model.vif import VIF, VIFLockingMode
from xenet.model.vm import VM
from xenet.verbs.attach import check_live
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.registry import message


@message("VIF")
def set_locking_mode(call: Call, self: VIFRef, value: VIFLockingMode) -> Outcome:
    """Of a plugged VIF: done when its host has done it. Raises HOST_OFFLINE, OTHER_OPERATION_IN_PROGRESS, and INTERNAL_ERROR where the host
    has no nftables; the mode is then as it was."""
    return _change(call, self, locking_mode=value)


@message("VIF")
def set_ipv4_allowed(call: Call, self: VIFRef, value: StrSet) -> Outcome:
    """Addresses and CIDRs. Raises INVALID_IP_ADDRESS_SPECIFIED ["ipv4_allowed"] and what set_locking_mode raises."""
    return _change(call, self, ipv4_allowed=checked_ipv4(value))


@message("VIF")
def add_ipv4_allowed(call: Call, self: VIFRef, value: str) -> Outcome:
    return _change(call, self, ipv4_allowed=checked_ipv4((*call.state.get(VIF, self).ipv4_allowed, value)))


@message("VIF")
def remove_ipv4_allowed(call: Call, self: VIFRef, value: str) -> Outcome:
    """Of an entry that is not there: no error."""
    return _change(call, self, ipv4_allowed=_without(call.state.get(VIF, self).ipv4_allowed, value))


@message("VIF")
def set_ipv6_allowed(call: Call, self: VIFRef, value: StrSet) -> Outcome:
    """Addresses and CIDRs. Raises INVALID_IP_ADDRESS_SPECIFIED ["ipv6_allowed"] and what set_locking_mode raises."""
    return _change(call, self, ipv6_allowed=checked_ipv6(value))


@message("VIF")
def add_ipv6_allowed(call: Call, self: VIFRef, value: str) -> Outcome:
    return _change(call, self, ipv6_allowed=checked_ipv6((*call.state.get(VIF, self).ipv6_allowed, value)))


@message("VIF")
def remove_ipv6_allowed(call: Call, self: VIFRef, value: str) -> Outcome:
    """Of an entry that is not there: no error."""
    return _change(call, self, ipv6_allowed=_without(call.state.get(VIF, self).ipv6_allowed, value))


def checked_ipv4(entries: Iterable[str]) -> tuple[str, ...]:
    """Each once. Raises INVALID_IP_ADDRESS_SPECIFIED ["ipv4_allowed"]."""
    return _checked("ipv4_allowed", entries, 4)


def checked_ipv6(entries: Iterable[str]) -> tuple[str, ...]:
    """Each once. Raises INVALID_IP_ADDRESS_SPECIFIED ["ipv6_allowed"]."""
    return _checked("ipv6_allowed", entries, 6)


def _checked(field: str, entries: Iterable[str], version: int) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(entries))
    if any(find_allowed(entry, version) is None for entry in found):
        raise Failure("INVALID_IP_ADDRESS_SPECIFIED", field)
    return found


def _without(entries: tuple[str, ...], gone: str) -> tuple[str, ...]:
    return tuple(entry for entry in entries if entry != gone)


def _change(call: Call, self: VIFRef, **fields: Any) -> Outcome:
    vif = call.state.get(VIF, self)
    work = Work(call)
    changed = work.update(vif, **fields)
    in_force = vif.plugged and (changed.locking_mode != vif.locking_mode or (changed != vif and vif.locking_mode == "locked"))
    host = call.state.get(VM, vif.VM).running_on
    if not in_force or host == NULL:
        return work.outcome()
    check_live(call.state, host)
    return work.await_host(host, [(vif, "plug")], lambda draft: None)
