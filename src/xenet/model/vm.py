"""VM and what is known of a running one: VM_metrics, VM_guest_metrics."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from xenet.model.hidden import Heard
from xenet.model.task import EPOCH
from xenet.model.types import (
    EMPTY,
    NULL,
    RO,
    RW,
    BackRef,
    BlobRef,
    ConsoleRef,
    CrashdumpRef,
    EnumName,
    Hidden,
    HostRef,
    Init,
    PCIRef,
    Record,
    SRRef,
    StrMap,
    StrSet,
    VBDRef,
    VDIRef,
    VGPURef,
    VMApplianceRef,
    VMGuestMetricsRef,
    VMMetricsRef,
    VMRef,
    VTPMRef,
    VUSBRef,
)

PowerState = Annotated[Literal["Halted", "Paused", "Running", "Suspended"], EnumName("vm_power_state")]
OnNormalExit = Annotated[Literal["destroy", "restart"], EnumName("on_normal_exit")]
OnCrash = Annotated[
    Literal["destroy", "coredump_and_destroy", "restart", "coredump_and_restart", "preserve", "rename_restart"], EnumName("on_crash_behaviour")
]
Crossing = Annotated[Literal["", "goes", "stays", "awaits", "arrives", "late"], EnumName("vm_crossing")]
COMES: tuple[Crossing, ...] = ("awaits", "arrives", "late")
"""Of these, what the pool has that it comes to."""
DomainType = Annotated[Literal["hvm", "pv", "pv_in_pvh", "pvh", "unspecified"], EnumName("domain_type")]
VMOperation = Annotated[
    Literal[
        "snapshot",
        "clone",
        "copy",
        "create_template",
        "revert",
        "checkpoint",
        "snapshot_with_quiesce",
        "provision",
        "start",
        "start_on",
        "pause",
        "unpause",
        "clean_shutdown",
        "clean_reboot",
        "hard_shutdown",
        "power_state_reset",
        "hard_reboot",
        "suspend",
        "csvm",
        "resume",
        "resume_on",
        "pool_migrate",
        "migrate_send",
        "get_boot_record",
        "send_sysrq",
        "send_trigger",
        "query_services",
        "shutdown",
        "call_plugin",
        "changing_memory_live",
        "awaiting_memory_live",
        "changing_dynamic_range",
        "changing_static_range",
        "changing_memory_limits",
        "changing_shadow_memory",
        "changing_shadow_memory_live",
        "changing_VCPUs",
        "changing_VCPUs_live",
        "changing_NVRAM",
        "assert_operation_valid",
        "data_source_op",
        "update_allowed_operations",
        "make_into_template",
        "import",
        "export",
        "metadata_export",
        "reverting",
        "destroy",
        "create_vtpm",
        "sysprep",
    ],
    EnumName("vm_operations"),
]


class VM(Record, frozen=True, kw_only=True):
    """A virtual machine. What stands for it on a host (a namespace, a QEMU, a tap's hypervisor) says other_config:xenet-guest. Memory is in bytes."""

    xenapi = "VM"

    allowed_operations: RO[tuple[VMOperation, ...]] = ()
    current_operations: RO[Mapping[str, VMOperation]] = EMPTY
    name_label: RW[str] = ""
    name_description: RW[str] = ""
    power_state: Init[PowerState] = "Halted"
    is_a_template: RW[bool]
    resident_on: RO[HostRef] = NULL
    scheduled_to_be_resident_on: RO[HostRef] = NULL
    affinity: RW[HostRef]
    memory_static_max: Init[int]
    memory_dynamic_max: Init[int]
    memory_dynamic_min: Init[int]
    memory_static_min: Init[int]
    VCPUs_max: Init[int]
    VCPUs_at_startup: Init[int]
    actions_after_shutdown: RW[OnNormalExit]
    actions_after_reboot: RW[OnNormalExit]
    actions_after_crash: Init[OnCrash]
    VIFs: ClassVar[BackRef] = BackRef("VIF", "VM")
    VBDs: RO[tuple[VBDRef, ...]] = ()
    HVM_boot_policy: Init[str]
    HVM_boot_params: RW[StrMap]
    platform: Init[StrMap]
    other_config: Init[StrMap]
    domid: RO[int] = -1
    is_control_domain: RO[bool] = False
    metrics: RO[VMMetricsRef] = NULL
    guest_metrics: RO[VMGuestMetricsRef] = NULL
    last_booted_record: Init[str] = ""
    recommendations: RW[str]
    xenstore_data: RW[StrMap] = EMPTY
    ha_restart_priority: Init[str] = ""
    is_a_snapshot: RO[bool] = False
    snapshot_of: RO[VMRef] = NULL
    snapshots: ClassVar[BackRef] = BackRef("VM", "snapshot_of")
    tags: RW[StrSet] = ()
    blocked_operations: Init[Mapping[VMOperation, str]] = EMPTY
    has_vendor_device: Init[bool] = True
    domain_type: Init[DomainType] = "unspecified"
    # What follows xenet has no use for; clients read it unasked.
    appliance: RO[VMApplianceRef] = NULL
    attached_PCIs: RO[tuple[PCIRef, ...]] = ()
    bios_strings: RO[StrMap] = EMPTY
    blobs: RO[Mapping[str, BlobRef]] = EMPTY
    children: ClassVar[BackRef] = BackRef("VM", "parent")
    consoles: RO[tuple[ConsoleRef, ...]] = ()
    crash_dumps: RO[tuple[CrashdumpRef, ...]] = ()
    generation_id: RO[str] = ""
    hardware_platform_version: RO[int] = 0
    is_default_template: RW[bool] = False
    is_vmss_snapshot: RO[bool] = False
    memory_overhead: RO[int] = 0
    order: RO[int] = 0
    parent: RO[VMRef] = NULL
    PCI_bus: RW[str] = ""
    PV_args: RW[str] = ""
    PV_bootloader: RW[str] = ""
    PV_bootloader_args: RW[str] = ""
    PV_kernel: RW[str] = ""
    PV_legacy_args: RW[str] = ""
    PV_ramdisk: RW[str] = ""
    reference_label: RO[str] = ""
    requires_reboot: RO[bool] = False
    shutdown_delay: RO[int] = 0
    snapshot_info: RO[StrMap] = EMPTY
    snapshot_time: RO[datetime] = EPOCH
    start_delay: RO[int] = 0
    suspend_SR: RW[SRRef] = NULL
    suspend_VDI: RO[VDIRef] = NULL
    transportable_snapshot_id: RO[str] = ""
    user_version: RW[int] = 0
    VCPUs_params: RW[StrMap] = EMPTY
    version: RO[int] = 0
    VGPUs: RO[tuple[VGPURef, ...]] = ()
    VTPMs: RO[tuple[VTPMRef, ...]] = ()
    VUSBs: RO[tuple[VUSBRef, ...]] = ()

    running_on: Hidden[HostRef] = NULL
    """Wanted: the host on which this VM shall run, as domain `domid`; null: nowhere."""
    born: Hidden[int] = -1
    """The domid of its last boot, which stays with the guest when it moves; -1: it has not moved since it was given `domid`."""
    peer: Hidden[HostRef] = NULL
    """While it migrates: the other host that has ports for it, as domain `peer_domid`; the one where it goes, and after the switch-over
    the one that it came from."""
    peer_domid: Hidden[int] = -1
    handing_over: Hidden[bool] = False
    """Wanted: both hosts are ready for the switch-over, and neither counts on having the guest."""
    taken_back: Hidden[bool] = False
    """Wanted: the switch-over is taken back, and `peer` ends what it has of the guest before `running_on` goes on with it."""
    crossing: Hidden[Crossing] = ""
    """Wanted, while it moves between two pools: the stage (plan.view.Stage) of what `running_on` has of the guest."""
    way: Hidden[str] = ""
    """Where its guest is awaited by the other pool's host: `address:port`; with that pool's record of it the same."""
    ticket: Hidden[str] = ""
    """Of one that came while it ran: the digest of what the pool that it left knows it by."""
    heard: Hidden[tuple[Heard, ...]] = ()
    """Of one that came while it ran: what its host heard meanwhile, until the pool that it left has let go of it."""
    halting: Hidden[bool] = False
    """Wanted: the guest shall end by itself, as it was asked to; it is not started again when it has."""


def born_as(vm: VM) -> int:
    """The domid of its last boot: what tells the guest that runs from one before and after it."""
    return vm.domid if vm.born < 0 else vm.born


class VMMetrics(Record, frozen=True, kw_only=True):
    """When and with what a VM runs."""

    xenapi = "VM_metrics"

    memory_actual: RO[int] = 0
    VCPUs_number: RO[int] = 0
    state: RO[StrSet] = ()
    start_time: RO[datetime]
    install_time: RO[datetime]
    last_updated: RO[datetime]
    other_config: RW[StrMap] = EMPTY
    hvm: RO[bool] = False


class VMGuestMetrics(Record, frozen=True, kw_only=True):
    """What the guest says of itself. networks has keys such as `0/ip`."""

    xenapi = "VM_guest_metrics"

    os_version: RO[StrMap] = EMPTY
    PV_drivers_version: RO[StrMap] = EMPTY
    memory: RO[StrMap] = EMPTY
    disks: RO[StrMap] = EMPTY
    networks: RO[StrMap] = EMPTY
    other: RO[StrMap] = EMPTY
    last_updated: RO[datetime]
    other_config: RW[StrMap] = EMPTY
    live: RO[bool] = False
    can_use_hotplug_vif: RO[Annotated[Literal["yes", "no", "unspecified"], EnumName("tristate_type")]] = "unspecified"
    PV_drivers_detected: RO[bool] = False
