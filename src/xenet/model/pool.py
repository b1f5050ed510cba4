"""pool: one set of networks on many hosts; exactly one record."""

from collections.abc import Mapping
from typing import Annotated, Literal

from xenet.model.types import EMPTY, NULL, RO, RW, BlobRef, EnumName, Hidden, HostRef, Record, SRRef, StrMap, StrSet, VDIRef

PoolOperation = Annotated[
    Literal[
        "ha_enable",
        "ha_disable",
        "cluster_create",
        "designate_new_master",
        "configure_repositories",
        "sync_updates",
        "sync_bundle",
        "get_updates",
        "apply_updates",
        "tls_verification_enable",
        "cert_refresh",
        "exchange_certificates_on_join",
        "exchange_ca_certificates_on_join",
        "copy_primary_host_certs",
        "eject",
        "exchange_crls_on_join",
    ],
    EnumName("pool_allowed_operations"),
]


class Pool(Record, frozen=True, kw_only=True):
    """The whole; `master` is the coordinator."""

    xenapi = "pool"

    name_label: RW[str]
    name_description: RW[str]
    master: RO[HostRef]
    default_SR: RW[SRRef]
    other_config: RW[StrMap]
    ha_enabled: RO[bool] = False
    ha_configuration: RO[StrMap] = EMPTY
    ha_allow_overcommit: RW[bool] = False
    tags: RW[StrSet] = ()
    gui_config: RW[StrMap] = EMPTY
    wlb_enabled: RW[bool] = False
    redo_log_enabled: RO[bool] = False
    vswitch_controller: RO[str] = ""
    restrictions: RO[StrMap] = EMPTY
    allowed_operations: RO[tuple[PoolOperation, ...]] = ()
    current_operations: RO[Mapping[str, PoolOperation]] = EMPTY
    guest_agent_config: RO[StrMap] = EMPTY
    cpu_info: RO[StrMap] = EMPTY
    igmp_snooping_enabled: RO[bool] = False
    tls_verification_enabled: RO[bool] = False
    migration_compression: RW[bool] = False
    # What follows xenet has no use for; clients read it unasked.
    blobs: RO[Mapping[str, BlobRef]] = EMPTY
    crash_dump_SR: RW[SRRef] = NULL
    ha_cluster_stack: RO[str] = ""
    ha_overcommitted: RO[bool] = False
    ha_plan_exists_for: RO[int] = 0
    ha_statefiles: RO[StrSet] = ()
    health_check_config: RW[StrMap] = EMPTY
    live_patching_disabled: RW[bool] = False
    metadata_VDIs: RO[tuple[VDIRef, ...]] = ()
    policy_no_vendor_device: RW[bool] = False
    suspend_image_SR: RW[SRRef] = NULL
    wlb_url: RO[str] = ""
    wlb_username: RO[str] = ""
    wlb_verify_cert: RW[bool] = False

    next_xapi: Hidden[int] = 0
    """The number of the next automatic bridge name; only grows, so that no name is ever given twice."""
    next_tunnel: Hidden[int] = 0
    """The number of the next tunnel's device; only grows."""
    next_domid: Hidden[int] = 1
    """The next domain id; only grows."""
