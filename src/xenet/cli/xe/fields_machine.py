"""The field tables of host, pool, VM (with its views template and snapshot) and task.

XenServer's quirk, kept: snapshot-list's default columns snapshot_of and snapshot_time are no field names (those have hyphens).
"""

from xenet.cli.xe.fields import UUID, Table, mro, mrw, ro, rw, sro, srw

HOST = Table(
    "host",
    "host",
    ("uuid", "name-label", "name-description"),
    (
        UUID,
        rw("name-label"),
        rw("name-description"),
        sro("allowed-operations"),
        sro("current-operations", flags="operations"),
        ro("enabled"),
        ro("API-version-major"),
        ro("API-version-minor"),
        ro("API-version-vendor"),
        mro("software-version"),
        sro("capabilities"),
        mrw("other-config"),
        ro("hostname"),
        ro("address"),
        ro("memory-total", "metrics>host_metrics.memory_total"),
        ro("memory-free", "metrics>host_metrics.memory_free"),
        ro("host-metrics-live", "metrics>host_metrics.live"),
        ro("edition"),
        srw("tags", flags="commas"),
        ro("control-domain-uuid", "control_domain>VM"),
        sro("resident-vms", "resident_VMs>VM"),
        sro("features", "features>Feature"),
        rw("multipathing", kind="bool"),
        ro("tls-verification-enabled"),
    ),
)

POOL = Table(
    "pool",
    "pool",
    ("uuid", "name-label", "name-description", "master", "default-SR"),
    (
        UUID,
        rw("name-label"),
        rw("name-description"),
        ro("master", "master>host"),
        rw("default-SR", "default_SR>SR", kind="ref"),
        mrw("other-config"),
        sro("allowed-operations"),
        sro("current-operations", flags="operations"),
        ro("ha-enabled"),
        ro("ha-configuration"),
        rw("ha-allow-overcommit", kind="bool"),
        rw("wlb-enabled", kind="bool"),
        rw("igmp-snooping-enabled", kind="bool"),
        mrw("gui-config"),
        ro("vswitch-controller", flags="hidden"),
        ro("restrictions"),
        srw("tags", flags="commas"),
        mrw("guest-agent-config"),
        mro("cpu_info"),
        ro("tls-verification-enabled"),
        rw("migration-compression", kind="bool"),
    ),
)

_ON_EXIT = "destroy|restart"
_ON_CRASH = "destroy|coredump_and_destroy|restart|coredump_and_restart|preserve|rename_restart"
_DOMAIN = "hvm|pv|pv_in_pvh|pvh|unspecified"

_VM_COLUMNS = (
    UUID,
    rw("name-label"),
    rw("name-description"),
    rw("is-a-template", kind="bool"),
    ro("is-a-snapshot"),
    ro("snapshot-of", "snapshot_of>VM"),
    ro("snapshots", "snapshots>VM"),
    ro("is-control-domain"),
    ro("power-state", flags="lower"),
    ro("memory-actual", "metrics>VM_metrics.memory_actual"),
    rw("memory-static-max", kind="int"),
    rw("memory-dynamic-max", kind="int"),
    rw("memory-dynamic-min", kind="int"),
    rw("memory-static-min", kind="int"),
    rw("VCPUs-max", kind="int"),
    rw("VCPUs-at-startup", kind="int"),
    rw("actions-after-shutdown", kind=_ON_EXIT),
    rw("actions-after-reboot", kind=_ON_EXIT),
    rw("actions-after-crash", kind=_ON_CRASH),
    ro("hvm", "metrics>VM_metrics.hvm"),
    mrw("platform"),
    sro("allowed-operations"),
    sro("current-operations", flags="operations"),
    mrw("blocked-operations"),
    sro("allowed-VIF-devices", "get_allowed_VIF_devices()", flags="expensive"),
    ro("possible-hosts", "get_possible_hosts()>host", flags="expensive"),
    rw("domain-type", kind=_DOMAIN),
    rw("HVM-boot-policy"),
    mrw("HVM-boot-params"),
    ro("last-boot-record", "last_booted_record", flags="expensive"),
    ro("resident-on", "resident_on>host"),
    rw("affinity", "affinity>host", kind="ref"),
    mrw("other-config"),
    ro("dom-id", "domid"),
    ro("recommendations"),
    mrw("xenstore-data"),
    rw("ha-restart-priority"),
    ro("start-time", "metrics>VM_metrics.start_time"),
    ro("install-time", "metrics>VM_metrics.install_time"),
    ro("VCPUs-number", "metrics>VM_metrics.VCPUs_number"),
    mro("os-version", "guest_metrics>VM_guest_metrics.os_version"),
    mro("PV-drivers-version", "guest_metrics>VM_guest_metrics.PV_drivers_version"),
    mro("memory", "guest_metrics>VM_guest_metrics.memory"),
    mro("disks", "guest_metrics>VM_guest_metrics.disks"),
    sro("VBDs", "VBDs>VBD"),
    mro("networks", "guest_metrics>VM_guest_metrics.networks"),
    ro("PV-drivers-detected", "guest_metrics>VM_guest_metrics.PV_drivers_detected"),
    mro("other", "guest_metrics>VM_guest_metrics.other"),
    ro("live", "guest_metrics>VM_guest_metrics.live"),
    ro("guest-metrics-last-updated", "guest_metrics>VM_guest_metrics.last_updated"),
    ro("can-use-hotplug-vif", "guest_metrics>VM_guest_metrics.can_use_hotplug_vif"),
    srw("tags", flags="commas"),
    rw("has-vendor-device", kind="bool"),
)

VM = Table("vm", "VM", ("name-label", "uuid", "power-state"), _VM_COLUMNS, {"is-a-template": "false"})
TEMPLATE = Table("template", "VM", ("name-label", "name-description", "uuid"), _VM_COLUMNS, {"is-a-template": "true", "is-a-snapshot": "false"})
SNAPSHOT = Table(
    "snapshot",
    "VM",
    ("name-label", "name-description", "uuid", "snapshot_of", "snapshot_time", "is-vmss-snapshot"),
    _VM_COLUMNS,
    {"is-a-snapshot": "true"},
)

TASK = Table(
    "task",
    "task",
    ("uuid", "name-label", "name-description", "status", "progress"),
    (
        UUID,
        ro("name-label"),
        ro("name-description"),
        ro("subtask_of", "subtask_of>task"),
        ro("subtasks", "subtasks>task"),
        ro("resident-on", "resident_on>host"),
        ro("status"),
        ro("progress"),
        ro("type"),
        ro("result"),
        ro("created"),
        ro("finished"),
        ro("error_info"),
        ro("allowed_operations"),
        ro("current_operations"),
        mrw("other-config"),
    ),
)

TABLES = (HOST, POOL, VM, TEMPLATE, SNAPSHOT, TASK)
