"""What xenet keeps beside the XenAPI's classes: no client sees these records, the store keeps them like the others."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from xenet.model.types import EMPTY, Hidden, HostRef, NetworkRef, Record, Ref, StrSet, TaskRef


class Edit(msgspec.Struct, frozen=True):
    """One record's part of a change: the fields that differ, before and after. `None` stands for "no such record"."""

    cls: str
    ref: Ref
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Operation(Record, frozen=True, kw_only=True):
    """A call that waits for hosts. `done` is what its success commits, `undo` what its failure does.

    It is a record, so that a server that was killed finds the calls in flight and ends them by the same path.
    """

    xenapi = "operation"

    objects: Hidden[tuple[Ref, ...]]
    """The records that no other verb may touch meanwhile."""
    needs: Hidden[tuple[Ref, ...]] = ()
    """Records that are not locked, but whose failure is the operation's too: the PIF that a VIF's network needs."""
    keeps: Hidden[tuple[NetworkRef, ...]] = ()
    """Networks that a failure brings back into use: a VIF is on its way off them."""
    verb: Hidden[str]
    """The message, such as `VIF.plug`."""
    task: Hidden[TaskRef]
    waiting: Hidden[tuple[HostRef, ...]]
    """The hosts whose report is still to come."""
    since: Hidden[int]
    """Only a report on this revision or a later one counts."""
    done: Hidden[tuple[Edit, ...]]
    undo: Hidden[tuple[Edit, ...]]
    deadline: Hidden[datetime]
    """When the hosts must have answered."""
    result: Hidden[str] = ""
    """The call's result as a task shows it: the XML text of a value, empty for void."""
    keep_task: Hidden[bool] = False
    """True for an asynchronous call, whose client comes back to read the task."""


class NIC(msgspec.Struct, frozen=True):
    """A NIC as its host sees it. speed is in Mbit/s, 0 when unknown."""

    device: str
    mac: str
    mtu: int = 1500
    max_mtu: int = 0
    """What the NIC takes at most, 0 when it does not say."""
    carrier: bool = False
    speed: int = 0
    duplex: bool = False
    addresses: StrSet = ()
    """CIDR addresses that the NIC had when it was adopted with --take-over."""
    gateway: str = ""
    dns: StrSet = ()
    vendor_id: str = ""
    vendor_name: str = ""
    device_id: str = ""
    device_name: str = ""
    pci_bus_path: str = ""
    vlans: tuple[int, ...] = ()
    """Tags of the VLAN devices on it that are none of ours."""


class BondLinks(msgspec.Struct, frozen=True):
    """Which slaves of a bond have a link (as the bond itself sees it, with its delays), and which of these carry frames."""

    device: str
    up: StrSet = ()
    active: StrSet = ()


class Lease(msgspec.Struct, frozen=True):
    """What the network gave a host, by DHCP (RFC 2131, 8415) or by router advertisements (RFC 4861): addresses in CIDR, sorted, the
    first router, the name servers. Without an address: it has ended, or nothing was given yet."""

    addresses: StrSet = ()
    gateway: str = ""
    dns: tuple[str, ...] = ()


class HostFacts(Record, frozen=True, kw_only=True):
    """What a host said of itself; written only from its reports. Its uuid is the host's."""

    xenapi = "host_facts"

    host: Hidden[HostRef]
    nics: Hidden[tuple[NIC, ...]] = ()
    bonds: Hidden[tuple[BondLinks, ...]] = ()
    forgotten: Hidden[StrSet] = ()
    """NICs that `PIF.forget` left unmanaged: never adopted again by a restart."""


class Credential(Record, frozen=True, kw_only=True):
    """The hash of a user's password (argon2id); never sent to a host."""

    xenapi = "credential"

    user: Hidden[str]
    hash: Hidden[str]
    settings: Hidden[Mapping[str, str]] = EMPTY
