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
    BlobRef,
    CertificateRef,
    EnumName,
    FeatureRef,
    HostCPURef,
    HostCrashdumpRef,
    HostMetricsRef,
    HostPatchRef,
    Init,
    PBDRef,
    PCIRef,
    PGPURef,
    PoolUpdateRef,
    PUSBRef,
    Record,
    SRRef,
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
    # What follows xenet has no use for; clients read it unasked.
    API_version_vendor_implementation: RO[StrMap] = EMPTY
    bios_strings: RO[StrMap] = EMPTY
    blobs: RO[Mapping[str, BlobRef]] = EMPTY
    certificates: RO[tuple[CertificateRef, ...]] = ()
    chipset_info: RO[StrMap] = EMPTY
    cpu_configuration: RO[StrMap] = EMPTY
    cpu_info: RO[StrMap] = EMPTY
    crash_dump_sr: RW[SRRef] = NULL
    crashdumps: RO[tuple[HostCrashdumpRef, ...]] = ()
    display: RO[Annotated[Literal["enabled", "disable_on_reboot", "disabled", "enable_on_reboot"], EnumName("host_display")]] = "enabled"
    external_auth_configuration: RO[StrMap] = EMPTY
    external_auth_service_name: RO[str] = ""
    external_auth_type: RO[str] = ""
    guest_VCPUs_params: RW[StrMap] = EMPTY
    ha_network_peers: RO[StrSet] = ()
    ha_statefiles: RO[StrSet] = ()
    host_CPUs: RO[tuple[HostCPURef, ...]] = ()
    iscsi_iqn: RW[str] = ""
    license_params: RO[StrMap] = EMPTY
    license_server: RW[StrMap] = EMPTY
    local_cache_sr: RO[SRRef] = NULL
    logging: RW[StrMap] = EMPTY
    memory_overhead: RO[int] = 0
    patches: RO[tuple[HostPatchRef, ...]] = ()
    PGPUs: RO[tuple[PGPURef, ...]] = ()
    power_on_config: RO[StrMap] = EMPTY
    power_on_mode: RO[str] = ""
    PUSBs: RO[tuple[PUSBRef, ...]] = ()
    sched_policy: RO[str] = ""
    supported_bootloaders: RO[StrSet] = ()
    suspend_image_sr: RW[SRRef] = NULL
    updates: RO[tuple[PoolUpdateRef, ...]] = ()


class HostMetrics(Record, frozen=True, kw_only=True):
    """`live` is true exactly while the host's agent is connected. Memory is in bytes."""

    xenapi = "host_metrics"

    memory_total: RO[int] = 0
    memory_free: RO[int] = 0
    live: RO[bool] = False
    last_updated: RO[datetime]
    other_config: RW[StrMap] = EMPTY
