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
    https-only memory-free-computed ssl-legacy virtual-hardware-platform-versions updates-requiring-reboot uefi-certificates
    numa-affinity-policy pending-guidances last-software-update latest-synced-updates-applied pending-guidances-recommended
    pending-guidances-full last-update-hash ssh-enabled ssh-enabled-timeout ssh-expiry console-idle-timeout ssh-auto-mode max-cstate
    secure-boot ntp-mode ntp-custom-servers timezone
"""

_POOL = """
    supported-sr-types ha-host-failures-to-tolerate ha-reboot-vm-on-internal-shutdown license-state uefi-certificates
    custom-uefi-certificates client-certificate-auth-enabled client-certificate-auth-name repositories repository-proxy-url
    repository-proxy-username https-only coordinator-bias telemetry-frequency telemetry-next-collection last-update-sync
    update-sync-frequency update-sync-day update-sync-enabled auto-update-vm-secureboot-certificates recommendations
    ext-auth-cache-enabled ext-auth-cache-size ext-auth-cache-expiry license-server ssh-enabled ssh-enabled-timeout ssh-expiry
    console-idle-timeout ssh-auto-mode limit-console-sessions vm-console-idle-timeout
"""

_VM = """
    memory-target suspend-VDI-uuid actions-after-softreboot nomigrate nested-virt numa-optimised numa-nodes numa-node-memory
    current-domain-type HVM-shadow-multiplier NVRAM last-boot-CPU-flags ha-always-run VCPUs-utilisation netbios-name
    PV-drivers-up-to-date services can-use-hotplug-vbd cooperative groups secureboot-certificates-state snapshot-schedule
    pending-guidances pending-guidances-recommended pending-guidances-full
"""


ABSENT: Mapping[str, frozenset[str]] = {
    "PIF": frozenset(_PIF.split()),
    "VIF": frozenset(_VIF.split()),
    "host": frozenset(_HOST.split()),
    "pool": frozenset(_POOL.split()),
    "VM": frozenset(_VM.split()),
}
"""Names by XenAPI class; no rate of traffic (io_read_kbs ...) is kept in a record."""
