"""What crosses the link. One form for state: edits. A snapshot is the edits from nothing; a delta those of one commit."""

from typing import Any

import msgspec

from xenet.model.hidden import NIC, BondLinks, Claim, Edit, ForeignBridge, Heard, Lease
from xenet.model.types import Ref

REPLICATED = frozenset({"pool", "host", "host_facts", "network", "attachment", "PIF", "Bond", "VLAN", "tunnel", "VIF", "VM", "guest_addresses"})
"""The classes whose records a host needs to know. Credentials, sessions and tasks never leave the server."""


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The agent's first word. `host` is the uuid under which it knows its host, made by itself at its first start."""

    host: str
    name: str
    backend: str
    guests: str
    nics: tuple[NIC, ...]
    place: str = ""
    gre: bool = False
    lacks: tuple[str, ...] = ()
    """All three as in HostFacts."""


class Report(msgspec.Struct, frozen=True, tag=True):
    """The host now is as `revision` wants it, but for `failures` (uuid of the object -> why) and `pending` (uuids of what still takes its
    time). `nics`, `bonds`, `bridges`, `leases` and those for IPv6 (by the PIF's uuid) only where they differ from the last report."""

    revision: int
    failures: dict[str, str] = {}
    nics: tuple[NIC, ...] | None = None
    leases: dict[str, Lease] | None = None
    leases6: dict[str, Lease] | None = None
    pending: tuple[str, ...] = ()
    bonds: tuple[BondLinks, ...] | None = None
    bridges: tuple[ForeignBridge, ...] | None = None
    heard: tuple[Heard, ...] = ()
    """Of the VIFs of VMs that have moved since the last report."""
    claims: dict[str, tuple[Claim, ...]] | None = None
    """By the VIF's uuid, what its guest was heard to claim and the server does not know yet; only where it differs from the last report."""
    lacking: dict[str, str] = {}
    """Of the failures, the VMs (by uuid) that cannot start as a file of theirs is not there or cannot be read: its kind in plan.machine.files_of."""


class Answer(msgspec.Struct, frozen=True, tag=True):
    """What the host says to an Ask; with `failure`, why it can say nothing."""

    id: int
    value: list[dict[str, str]]
    failure: str = ""


class Snapshot(msgspec.Struct, frozen=True, tag=True):
    """The server's first word: the host's reference, all replicated records as edits from nothing, and the API's TCP port."""

    host: Ref
    revision: int
    edits: tuple[Edit, ...]
    port: int = 0


class Delta(msgspec.Struct, frozen=True, tag=True):
    """What one commit changed; it leads to `revision`."""

    revision: int
    edits: tuple[Edit, ...]


class Ask(msgspec.Struct, frozen=True, tag=True):
    """A question about the host as it is. Topic `fdb`: the MAC table of the bridge that is the subject; `facts`: the NICs, looked at
    anew, which come as a Report before the (empty) answer; `plan` and `drift`: what would be done now, and wanted against observed,
    before anything is done about it."""

    id: int
    topic: str
    subject: str


FromAgent = Hello | Report | Answer
FromServer = Snapshot | Delta | Ask


def encode(message: FromAgent | FromServer) -> bytes:
    return msgspec.msgpack.encode(message)


def decode(kind: Any, body: bytes) -> Any:
    """Raises msgspec.ValidationError or DecodeError for what is no message of this kind."""
    return msgspec.msgpack.decode(body, type=kind)
