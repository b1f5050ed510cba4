"""Fields that XenServer's `xe` has and xenet's records do not: storage, licences, HA, updates, NUMA and the like.

They are left out of lists, and params= passes over them, so that a script that asks for one gets the others. A test compares
these names with XenServer's published list: a field that appears in a record must move from here to its table.
"""

from collections.abc import Mapping

_PIF = """
    io_read_kbs io_write_kbs
"""

_VIF = """
    io_read_kbs io_write_kbs
"""

_HOST = """
    display API-version-vendor-implementation logging suspend-image-sr-uuid crash-dump-sr-uuid cpu_info chipset-info https-only
    supported-bootloaders blobs memory-overhead memory-free-computed patches updates ha-statefiles ha-network-peers external-auth-type
    external-auth-service-name external-auth-configuration license-server power-on-mode power-on-config local-cache-sr ssl-legacy
    guest_VCPUs_params virtual-hardware-platform-versions updates-requiring-reboot iscsi_iqn uefi-certificates numa-affinity-policy
    pending-guidances last-software-update latest-synced-updates-applied pending-guidances-recommended pending-guidances-full
    last-update-hash ssh-enabled ssh-enabled-timeout ssh-expiry console-idle-timeout ssh-auto-mode max-cstate secure-boot ntp-mode
    ntp-custom-servers timezone
"""

_POOL = """
    crash-dump-SR suspend-image-SR supported-sr-types ha-statefiles ha-host-failures-to-tolerate ha-plan-exists-for ha-overcommitted
    ha-reboot-vm-on-internal-shutdown blobs wlb-url wlb-username wlb-verify-cert health-check-config license-state ha-cluster-stack
    policy-no-vendor-device live-patching-disabled uefi-certificates custom-uefi-certificates client-certificate-auth-enabled
    client-certificate-auth-name repositories repository-proxy-url repository-proxy-username https-only coordinator-bias
    telemetry-frequency telemetry-next-collection last-update-sync update-sync-frequency update-sync-day update-sync-enabled
    auto-update-vm-secureboot-certificates recommendations ext-auth-cache-enabled ext-auth-cache-size ext-auth-cache-expiry
    license-server ssh-enabled ssh-enabled-timeout ssh-expiry console-idle-timeout ssh-auto-mode limit-console-sessions
    vm-console-idle-timeout
"""

_VM = """
    user-version is-default-template snapshot-time transportable-snapshot-id snapshot-info parent children memory-target memory-overhead
    suspend-VDI-uuid suspend-SR-uuid VCPUs-params actions-after-softreboot console-uuids nomigrate nested-virt numa-optimised numa-nodes
    numa-node-memory allowed-VBD-devices current-domain-type HVM-shadow-multiplier NVRAM PV-kernel PV-ramdisk PV-args PV-legacy-args
    PV-bootloader PV-bootloader-args last-boot-CPU-flags ha-always-run blobs VCPUs-utilisation netbios-name PV-drivers-up-to-date
    services can-use-hotplug-vbd cooperative appliance groups secureboot-certificates-state snapshot-schedule is-vmss-snapshot
    start-delay shutdown-delay order version generation-id hardware-platform-version requires-reboot reference-label bios-strings
    pending-guidances vtpms pending-guidances-recommended pending-guidances-full
"""


ABSENT: Mapping[str, frozenset[str]] = {
    "PIF": frozenset(_PIF.split()),
    "VIF": frozenset(_VIF.split()),
    "host": frozenset(_HOST.split()),
    "pool": frozenset(_POOL.split()),
    "VM": frozenset(_VM.split()),
}
"""Names by XenAPI class; no rate of traffic (io_read_kbs ...) is kept in a record."""
