"""What xenet keeps beside the XenAPI's classes: no client sees these records, the store keeps them like the others."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from xenet.model.types import EMPTY, EnumName, Hidden, HostRef, NetworkRef, Record, Ref, StrMap, StrSet, TaskRef, VIFRef


class Edit(msgspec.Struct, frozen=True):
    """One record's part of a change: the fields that differ, before and after. `None` stands for "no such record"."""

    cls: str
    ref: Ref
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """When a frame was heard (nanoseconds since the epoch, 0: that is not known), and a digest of its beginning."""

    time: int
    digest: int


class Heard(msgspec.Struct, frozen=True):
    """What a host heard of the frames to a VIF while its VM moved; times in nanoseconds since the epoch."""

    vif: str
    """The VIF's uuid."""
    coming: bool
    """True on the host that the VM came to."""
    seen: tuple[Frame, ...] = ()
    """On their way to the guest: at the uplink, and at the port that it left."""
    old: tuple[Frame, ...] = ()
    """At the guest, by the NIC that it had before."""
    new: tuple[Frame, ...] = ()
    since: int = 0
    until: int = 0
    switched: int = 0
    """When the switch-over began."""
    paused: int = 0
    """Milliseconds for which the guest stood still, by its hypervisor's word; 0: it has none, or did not say."""
    announced: int = 0
    whole: bool = True
    """False where some were missed."""


Mercy = Annotated[Literal["undo", "skip", "wait", "hold", "ever"], EnumName("operation_mercy")]
"""What the failure of a host means for the operation that waits for it: it fails and is undone; the host is waited for no longer, since it
makes up for it by itself once it can; it is waited for until the time is over, and then no longer; or the operation fails when the host says
that it failed, but waits for one that is silent until the time is over (hold), or for ever."""


class Phase(msgspec.Struct, frozen=True):
    """What an operation goes on to when the hosts that it waited for are done."""

    waiting: tuple[Ref, ...]
    enter: tuple[Edit, ...]
    """Committed with the end of the phase before."""
    mercy: Mercy = "undo"
    undo: tuple[Edit, ...] = ()
    """What takes back all that was done by then, this phase included."""
    back: tuple["Phase", ...] = ()
    """The way to `undo`, where one commit is not enough."""
    heeds: tuple[Ref, ...] = ()
    """Hosts that are not waited for, but whose failure counts."""
    longer: float = 0.0
    """Seconds that its hosts have beside what all have."""
    answers: bool = False
    """Whoever made the call need not wait for more than its beginning."""


class Operation(Record, frozen=True, kw_only=True):
    """A call that waits for hosts. `done` is what its success commits, `undo` what its failure does. One whose hosts must act one after
    the other has phases; `done` ends the last.

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
    mercy: Hidden[Mercy] = "undo"
    then: Hidden[tuple[Phase, ...]] = ()
    """The phases that are still to come."""
    back: Hidden[tuple[Phase, ...]] = ()
    """The phases that lead to `undo` from here."""
    heeds: Hidden[tuple[HostRef, ...]] = ()
    """Hosts that are not waited for, but whose failure counts."""
    heard: Hidden[tuple[Heard, ...]] = ()
    """Of a migration: what the hosts heard, for its result."""
    abroad: Hidden[StrMap] = EMPTY
    """Of a VM that goes to another pool while it runs: where that is asked (`url`), for which `host` of its, by which `ticket`; and which `vm` that
    was, when it is here no more and the other pool has yet to hear of that."""
    failure: Hidden[StrSet] = ()
    """On the way back: what the call fails with at the end of it."""
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
    capabilities: StrSet = ()
    """As PIF.capabilities has them."""
    vlans: tuple[int, ...] = ()
    """Tags of the VLAN devices on it that are none of ours."""


class BondLinks(msgspec.Struct, frozen=True):
    """Which slaves of a bond have a link (as the bond itself sees it, with its delays), and which of these carry frames."""

    device: str
    up: StrSet = ()
    active: StrSet = ()


class ForeignBridge(msgspec.Struct, frozen=True):
    """A bridge of the host that is none of xenet's: an unmanaged network's may be one."""

    name: str
    mtu: int
    fits: bool = True
    """False: it is of another kind than the host's switches, and VIFs cannot be its ports."""


class Lease(msgspec.Struct, frozen=True):
    """What the network gave a host, by DHCP (RFC 2131, 8415) or by router advertisements (RFC 4861): addresses in CIDR, sorted, the
    first router, the name servers. Without an address: it has ended, or nothing was given yet."""

    addresses: StrSet = ()
    gateway: str = ""
    dns: tuple[str, ...] = ()


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """An address that a guest has said is its own, and when it last did (seconds since the epoch)."""

    address: str
    heard: int


class HostFacts(Record, frozen=True, kw_only=True):
    """What a host said of itself, and the data plane that it shall have. Its uuid is the host's."""

    xenapi = "host_facts"

    host: Hidden[HostRef]
    nics: Hidden[tuple[NIC, ...]] = ()
    bonds: Hidden[tuple[BondLinks, ...]] = ()
    place: Hidden[str] = ""
    """Where its guests of namespaces are: the machine's boot id, a space, and their folder there."""
    bridges: Hidden[tuple[ForeignBridge, ...]] = ()
    backend: Hidden[str] = ""
    """The data plane that it shall have; empty: the one that it has."""
    gre: Hidden[bool] = False
    """Whether its kernel can make tunnels by GRE on a bridge."""
    lacks: Hidden[StrSet] = ()
    """Those of `VLANs` and `bonds` that its kernel cannot have on a bridge."""
    forgotten: Hidden[StrSet] = ()
    """NICs that `PIF.forget` left unmanaged: never adopted again by a restart."""


class Attachment(Record, frozen=True, kw_only=True):
    """A host has a network's switch though it has no PIF on the network and maybe no VIF: network.attach asked for it, or it stays because
    of other_config:persist."""

    xenapi = "attachment"

    network: Hidden[NetworkRef]
    host: Hidden[HostRef]


class GuestAddresses(Record, frozen=True, kw_only=True):
    """What was learned of the guest's addresses behind a VIF, for as long as the VIF is plugged into this network and its VM does not boot anew.
    Its uuid is the VIF's."""

    xenapi = "guest_addresses"

    vif: Hidden[VIFRef]
    network: Hidden[NetworkRef]
    boot: Hidden[int]
    """The domid of the VM's last boot."""
    claims: Hidden[tuple[Claim, ...]] = ()
    """In the order in which they first came."""


class Credential(Record, frozen=True, kw_only=True):
    """The hash of a user's password (argon2id); never sent to a host."""

    xenapi = "credential"

    user: Hidden[str]
    hash: Hidden[str]
    settings: Hidden[Mapping[str, str]] = EMPTY
