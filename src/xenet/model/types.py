"""The words in which a XenAPI class is declared.

A field's annotation says everything: its type, where a reference points, the name of its enum and its
qualifier. `RW[str]` is a string that a client may set, `Init[NetworkRef]` a reference that only the
constructor takes, `Hidden[bool]` what xenet keeps for itself and no client ever sees.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, NewType, TypeVar

import msgspec


class Qualifier(Enum):
    """Who may write a field, in the words of the XenAPI reference."""

    RO = "RO/runtime"
    INIT = "RO/constructor"
    RW = "RW"
    HIDDEN = "hidden"


class To(NamedTuple):
    """The class that a reference points to."""

    cls: str


class OfRecord(NamedTuple):
    """The class whose struct a constructor takes."""

    cls: str


class EnumName(NamedTuple):
    """The XenAPI name of an enumeration."""

    name: str


class BackRef(NamedTuple):
    """A set (or, where `many` is false, a single reference) computed from another class's field, never stored."""

    cls: str
    field: str
    many: bool = True


T = TypeVar("T")
RO = Annotated[T, Qualifier.RO]
Init = Annotated[T, Qualifier.INIT]
RW = Annotated[T, Qualifier.RW]
Hidden = Annotated[T, Qualifier.HIDDEN]

Ref = NewType("Ref", str)
NULL = Ref("OpaqueRef:NULL")
PREFIX = "OpaqueRef:"

NetworkRef = Annotated[Ref, To("network")]
PIFRef = Annotated[Ref, To("PIF")]
PIFMetricsRef = Annotated[Ref, To("PIF_metrics")]
VIFRef = Annotated[Ref, To("VIF")]
VIFMetricsRef = Annotated[Ref, To("VIF_metrics")]
VMRef = Annotated[Ref, To("VM")]
VMMetricsRef = Annotated[Ref, To("VM_metrics")]
VMGuestMetricsRef = Annotated[Ref, To("VM_guest_metrics")]
HostRef = Annotated[Ref, To("host")]
HostMetricsRef = Annotated[Ref, To("host_metrics")]
PoolRef = Annotated[Ref, To("pool")]
BondRef = Annotated[Ref, To("Bond")]
VLANRef = Annotated[Ref, To("VLAN")]
TunnelRef = Annotated[Ref, To("tunnel")]
SriovRef = Annotated[Ref, To("network_sriov")]
TaskRef = Annotated[Ref, To("task")]
SessionRef = Annotated[Ref, To("session")]
# Classes that xenet does not have: their references are declared, since clients read the fields, and always null or empty.
BlobRef = Annotated[Ref, To("blob")]
PCIRef = Annotated[Ref, To("PCI")]
PBDRef = Annotated[Ref, To("PBD")]
SRRef = Annotated[Ref, To("SR")]
VBDRef = Annotated[Ref, To("VBD")]
FeatureRef = Annotated[Ref, To("Feature")]
UserRef = Annotated[Ref, To("user")]
RoleRef = Annotated[Ref, To("role")]
SubjectRef = Annotated[Ref, To("subject")]
CertificateRef = Annotated[Ref, To("Certificate")]
ConsoleRef = Annotated[Ref, To("console")]
CrashdumpRef = Annotated[Ref, To("crashdump")]
HostCPURef = Annotated[Ref, To("host_cpu")]
HostCrashdumpRef = Annotated[Ref, To("host_crashdump")]
HostPatchRef = Annotated[Ref, To("host_patch")]
PGPURef = Annotated[Ref, To("PGPU")]
PoolUpdateRef = Annotated[Ref, To("pool_update")]
PUSBRef = Annotated[Ref, To("PUSB")]
VDIRef = Annotated[Ref, To("VDI")]
VGPURef = Annotated[Ref, To("VGPU")]
GPUGroupRef = Annotated[Ref, To("GPU_group")]
VMApplianceRef = Annotated[Ref, To("VM_appliance")]
VTPMRef = Annotated[Ref, To("VTPM")]
VUSBRef = Annotated[Ref, To("VUSB")]

StrMap = Mapping[str, str]
StrSet = tuple[str, ...]
EMPTY: Mapping[Any, Any] = {}
PrimaryAddressType = Annotated[Literal["IPv4", "IPv6"], EnumName("primary_address_type")]


def ref_of(uuid: str) -> Ref:
    """The reference of the record with this uuid: identity is the uuid alone, so both lookups cost one step."""
    return Ref(PREFIX + uuid)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the pool's database: frozen, so that a state once read never changes under its reader."""

    xenapi: ClassVar[str] = ""
    """The class's name in the XenAPI, as clients write it."""
    persistent: ClassVar[bool] = True
    """False for what a restart forgets (tasks), as in XenServer."""
    removed: ClassVar[frozenset[str]] = frozenset()
    """Fields that the XenAPI keeps for old clients only; they always have their default."""

    uuid: RO[str]

    @property
    def ref(self) -> Ref:
        return ref_of(self.uuid)
