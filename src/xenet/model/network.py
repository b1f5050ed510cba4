"""network: a layer-2 segment. It owns a bridge name, the same on every host of the pool."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from xenet.model.types import EMPTY, NULL, RO, RW, BackRef, BlobRef, EnumName, Hidden, Init, Record, StrMap, StrSet, VIFRef

NetworkOperation = Annotated[Literal["attaching"], EnumName("network_operations")]
NetworkLockingMode = Annotated[Literal["unlocked", "disabled"], EnumName("network_default_locking_mode")]
NetworkPurpose = Annotated[Literal["nbd", "insecure_nbd"], EnumName("network_purpose")]


class Network(Record, frozen=True, kw_only=True):
    """A learning switch by the name `bridge` on each host where it is in use."""

    xenapi = "network"

    name_label: RW[str] = ""
    name_description: RW[str] = ""
    allowed_operations: RO[tuple[NetworkOperation, ...]] = ()
    current_operations: RO[Mapping[str, NetworkOperation]] = EMPTY
    VIFs: ClassVar[BackRef] = BackRef("VIF", "network")
    PIFs: ClassVar[BackRef] = BackRef("PIF", "network")
    MTU: RW[int] = 1500
    other_config: RW[StrMap]
    bridge: Init[str] = ""
    managed: Init[bool] = True
    blobs: RO[Mapping[str, BlobRef]] = EMPTY
    tags: RW[StrSet] = ()
    default_locking_mode: RO[NetworkLockingMode] = "unlocked"
    assigned_ips: RO[Mapping[VIFRef, str]] = EMPTY
    purpose: RO[tuple[NetworkPurpose, ...]] = ()

    mirror_to: Hidden[str] = NULL
    """The VIF that other_config:mirror-to names, which shall hear all frames of the network on its host; see `mirrors`."""
