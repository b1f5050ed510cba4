"""host: a machine of the pool; host_metrics: whether it is alive."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from xenet.model.types import (
    EMPTY,
    NULL,
    RO,
    RW,
    BackRef,
    EnumName,
    FeatureRef,
    HostMetricsRef,
    Init,
    PBDRef,
    PCIRef,
    Record,
    StrMap,
    StrSet,
    VMRef,
)

HostOperation = Annotated[
    Literal["provision", "evacuate", "shutdown", "reboot", "power_on", "vm_start", "vm_resume", "vm_migrate", "apply_updates", "enable"],
    EnumName("host_allowed_operations"),
]


class Host(Record, frozen=True, kw_only=True):
    """A machine (or, in a lab, a network namespace) whose data plane an agent keeps equal to the pool."""

    xenapi = "host"

    name_label: RW[str] = ""
    name_description: RW[str] = ""
    allowed_operations: RO[tuple[HostOperation, ...]] = ()
    current_operations: RO[Mapping[str, HostOperation]] = EMPTY
    API_version_major: RO[int]
    API_version_minor: RO[int]
    API_version_vendor: RO[str]
    enabled: RO[bool]
    software_version: Init[StrMap]
    other_config: RW[StrMap]
    capabilities: Init[StrSet]
    resident_VMs: ClassVar[BackRef] = BackRef("VM", "resident_on")
    PIFs: ClassVar[BackRef] = BackRef("PIF", "host")
    PBDs: RO[tuple[PBDRef, ...]] = ()
    hostname: RW[str]
    address: RW[str]
    metrics: RO[HostMetricsRef]
    tags: RW[StrSet] = ()
    edition: RO[str] = ""
    PCIs: RO[tuple[PCIRef, ...]] = ()
    control_domain: RO[VMRef] = NULL
    features: RO[tuple[FeatureRef, ...]] = ()
    multipathing: Init[bool] = False
    tls_verification_enabled: RO[bool] = False


class HostMetrics(Record, frozen=True, kw_only=True):
    """`live` is true exactly while the host's agent is connected. Memory is in bytes."""

    xenapi = "host_metrics"

    memory_total: RO[int] = 0
    memory_free: RO[int] = 0
    live: RO[bool] = False
    last_updated: RO[datetime]
    other_config: RW[StrMap] = EMPTY
