"""The commands of `xe` beside the generated ones, one row each; the few that need more than one message name a function.

Changed on purpose: host-disable, host-reboot and the like want a selector (see `filters`); unknown parameters are warned of;
vm-create, which XenServer hides in favour of vm-install, is the way to a VM here and takes other-config:.
"""

from xenet.cli.xe import sends_server
from xenet.cli.xe.command import Arg, Command

_UUID_PIF, _PIF, _NETWORK = Arg("uuid", "ref PIF"), Arg("pif-uuid", "ref PIF"), Arg("network-uuid", "ref network")
_UUID_VIF, _HOST, _FORCE = Arg("uuid", "ref VIF"), Arg("host-uuid", "ref host"), Arg("force", "bool", "false")
_BOND_MODES = "balance-slb|active-backup|lacp"
_NO_BOND_MODE = "Invalid bond mode. Got {}"

_NETWORKS = (
    Command(
        "network-create",
        "Create a network. Without a PIF it is internal; bridge= names the bridge, else it is xapiN.",
        (
            Arg("name-label"),
            Arg("name-description", default=""),
            Arg("MTU", "int", "1500"),
            Arg("bridge", default=""),
            Arg("managed", "bool", "true"),
        ),
        run="networks.network_create",
    ),
    Command("network-destroy", "Destroy a network; its VIFs must be unplugged.", (Arg("uuid", "ref network"),), "network.destroy"),
    Command("network-attach", "Make a network available on a host.", (Arg("uuid", "ref network"), _HOST), "network.attach", hidden=True),
    Command(
        "network-fdb-list",
        "Show the MAC table of a network's switches: which address is behind which port of which host.",
        (Arg("uuid", "ref network"),),
        run="networks.network_fdb_list",
    ),
    Command(
        "network-mtu-list",
        "Show what every device of a network takes, in bytes without the Ethernet header; size= shows those that drop such frames.",
        (Arg("uuid", "ref network"), Arg("size", "int", "0")),
        run="networks.network_mtu_list",
    ),
)

_VIFS = (
    Command(
        "vif-create",
        "Create a VIF of a VM on a network. mac=random makes a random one; without mac= the VM's seed decides.",
        (Arg("device"), _NETWORK, Arg("vm-uuid", "ref VM"), Arg("mac", default="")),
        run="networks.vif_create",
    ),
    Command("vif-destroy", "Destroy a VIF.", (_UUID_VIF,), "VIF.destroy"),
    Command("vif-plug", "Plug a VIF of a running VM.", (_UUID_VIF,), "VIF.plug"),
    Command("vif-unplug", "Unplug a VIF of a running VM; --force does not wait for the guest.", (_UUID_VIF, _FORCE), run="networks.vif_unplug"),
    Command("vif-move", "Move a VIF to another network, also while the VM runs.", (_UUID_VIF, _NETWORK), "VIF.move"),
    Command(
        "vif-configure-ipv4",
        "Tell the guest an IPv4 configuration.",
        (_UUID_VIF, Arg("mode", "None|Static"), Arg("address", default=""), Arg("gateway", default="")),
        "VIF.configure_ipv4",
    ),
    Command(
        "vif-configure-ipv6",
        "Tell the guest an IPv6 configuration.",
        (_UUID_VIF, Arg("mode", "None|Static"), Arg("address", default=""), Arg("gateway", default="")),
        "VIF.configure_ipv6",
    ),
)

_PIFS = (
    Command("pif-plug", "Bring a PIF up.", (_UUID_PIF,), "PIF.plug"),
    Command("pif-unplug", "Take a PIF down.", (_UUID_PIF,), "PIF.unplug"),
    Command("pif-scan", "Introduce every NIC of a host that has no PIF.", (_HOST,), "PIF.scan"),
    Command("pif-forget", "Forget a NIC: it leaves its network and is left alone until it is introduced again.", (_UUID_PIF,), "PIF.forget"),
    Command("pif-db-forget", "Forget a PIF in the database only.", (_UUID_PIF,), "PIF.db_forget", hidden=True),
    Command(
        "pif-introduce",
        "Introduce a NIC that the pool does not know; managed=false leaves it alone.",
        (_HOST, Arg("mac", default=""), Arg("device"), Arg("managed", "bool", "true")),
        "PIF.introduce",
        "PIF",
    ),
    Command(
        "pif-reconfigure-ip",
        "Set the IPv4 configuration of a PIF.",
        (
            _UUID_PIF,
            Arg("mode", "None|DHCP|Static"),
            Arg("IP", default="", any_case=True),
            Arg("netmask", default="", any_case=True),
            Arg("gateway", default="", any_case=True),
            Arg("DNS", default="", any_case=True),
        ),
        "PIF.reconfigure_ip",
    ),
    Command(
        "pif-reconfigure-ipv6",
        "Set the IPv6 configuration of a PIF.",
        (
            _UUID_PIF,
            Arg("mode", "None|DHCP|Static|Autoconf"),
            Arg("IPv6", default="", any_case=True),
            Arg("gateway", default="", any_case=True),
            Arg("DNS", default="", any_case=True),
        ),
        "PIF.reconfigure_ipv6",
    ),
    Command(
        "pif-set-primary-address-type",
        "Say whether a PIF is addressed by IPv4 or IPv6.",
        (_UUID_PIF, Arg("primary_address_type", "IPv4|IPv6")),
        "PIF.set_primary_address_type",
    ),
)

_DERIVED = (
    Command(
        "bond-create",
        "Bond NICs of a host to one PIF on a network.",
        (
            _NETWORK,
            Arg("pif-uuids", "refs PIF"),
            Arg("mac", default=""),
            Arg("mode", _BOND_MODES, "balance-slb", wrong=_NO_BOND_MODE),
            Arg("properties", "map", ""),
        ),
        "Bond.create",
        "Bond",
    ),
    Command("bond-destroy", "Take a bond apart.", (Arg("uuid", "ref Bond"),), "Bond.destroy"),
    Command("bond-set-mode", "Change the mode of a bond.", (Arg("uuid", "ref Bond"), Arg("mode", _BOND_MODES, wrong=_NO_BOND_MODE)), "Bond.set_mode"),
    Command(
        "vlan-create",
        "Put a network on a VLAN of a PIF; prints the uuid of the untagged PIF.",
        (_PIF, Arg("vlan", "int"), _NETWORK),
        "VLAN.create",
        "VLAN.untagged_PIF>PIF",
    ),
    Command(
        "vlan-destroy", "Destroy a VLAN, named by its uuid or that of its untagged PIF.", (Arg("uuid", "uuid VLAN"),), run="networks.vlan_destroy"
    ),
    Command(
        "tunnel-create",
        "Tunnel a network over a PIF; prints the uuid of the access PIF.",
        (_PIF, _NETWORK, Arg("protocol", "gre|vxlan", "gre")),
        "tunnel.create",
        "tunnel.access_PIF>PIF",
    ),
    Command("tunnel-destroy", "Destroy a tunnel.", (Arg("uuid", "ref tunnel"),), "tunnel.destroy"),
    Command("network-sriov-create", "Put a network on a NIC's virtual functions.", (_PIF, _NETWORK), "network_sriov.create", "network_sriov"),
    Command("network-sriov-destroy", "Destroy an SR-IOV network.", (Arg("uuid", "ref network_sriov"),), "network_sriov.destroy"),
)

_POOL = (
    Command(
        "pool-vlan-create",
        "Put a network on a VLAN on every host; prints the uuids of the untagged PIFs.",
        (_PIF, _NETWORK, Arg("vlan", "int")),
        "pool.create_VLAN_from_PIF",
        "PIF",
    ),
    Command("pool-management-reconfigure", "Move management of all hosts to a network.", (_NETWORK,), "pool.management_reconfigure"),
    Command(
        "pool-join",
        "Make this host a member of another pool.",
        (Arg("master-address"), Arg("master-username"), Arg("master-password"), _FORCE),
        run="pools.pool_join",
    ),
    Command("pool-eject", "Take a host out of the pool.", (_HOST, _FORCE), run="pools.pool_eject"),
    Command("pool-recover-slaves", "Tell the supporters who the coordinator is.", (), "pool.recover_slaves", "host"),
    Command("pool-designate-new-master", "Make another host the coordinator.", (_HOST,), "pool.designate_new_master"),
    Command("pool-emergency-transition-to-master", "Make this supporter the coordinator.", (_FORCE,), run="pools.emergency_transition", local=True),
    Command(
        "pool-emergency-reset-master",
        "Tell this supporter another coordinator.",
        (Arg("master-address"),),
        "pool.emergency_reset_master",
        local=True,
    ),
    Command("pool-sync-database", "Write the database to all hosts now.", (), "pool.sync_database"),
    Command("pool-set-vswitch-controller", "Set the address of a vSwitch controller.", (Arg("address"),), "pool.set_vswitch_controller", hidden=True),
)

_HOSTS = (
    Command("host-management-reconfigure", "Move management of a host to a PIF.", (_PIF,), "host.management_reconfigure"),
    Command(
        "host-management-disable",
        "Leave this host without a management interface; its local socket stays open.",
        (),
        "host.management_disable",
        local=True,
    ),
    Command(
        "host-emergency-management-reconfigure",
        "Move management of this host to an interface, in emergency mode.",
        (Arg("interface"),),
        "host.local_management_reconfigure",
        local=True,
    ),
    Command(
        "host-signal-networking-change",
        "Tell this host that its network changed.",
        (),
        "host.signal_networking_change",
        local=True,
        hidden=True,
    ),
    Command("host-is-in-emergency-mode", "Say whether this host is in emergency mode.", (), "host.is_in_emergency_mode", "text", local=True),
    Command("host-enable", "Let VMs start on a host.", (), "host.enable", selector="host"),
    Command("host-disable", "Let no VM start on a host.", (Arg("auto-enable", "bool", "true"),), "host.disable", selector="host"),
    Command("host-reboot", "Reboot a disabled host.", (), "host.reboot", selector="host"),
    Command("host-shutdown", "Shut a disabled host down.", (), "host.shutdown", selector="host"),
    Command("host-sync-data", "Copy the coordinator's data to a host.", (), "host.sync_data", selector="host"),
    Command(
        "host-evacuate",
        "Move all VMs away from a host.",
        (Arg("network-uuid", "ref network", ""), Arg("batch-size", "int", "0")),
        "host.evacuate",
        selector="host",
    ),
    Command("host-set-hostname-live", "Rename a host.", (_HOST, Arg("host-name")), "host.set_hostname_live"),
    Command(
        "host-reset-networking",
        "Take all PIFs, bonds, VLANs and tunnels of a host out of the database; pif-scan begins anew. Asks, unless --force.",
        (_HOST, _FORCE),
        run="pools.host_reset_networking",
    ),
    Command("host-forget", "Forget a host that is gone for good.", (Arg("uuid", "ref host"), _FORCE), run="pools.host_forget"),
    Command("host-declare-dead", "Say that a host is certainly down.", (Arg("uuid", "ref host"), _FORCE), run="pools.host_declare_dead"),
    Command(
        "host-call-plugin",
        "Call a function of a host's plugin.",
        (_HOST, Arg("plugin"), Arg("fn"), Arg("args", "map", "")),
        "host.call_plugin",
        "text",
    ),
)

_VMS = (
    Command(
        "vm-create",
        "Create a VM. other-config:xenet-guest= says what stands for it (namespace, tap, qemu).",
        (Arg("name-label"), Arg("name-description", default=""), Arg("other-config", "map", "")),
        run="vms.create",
    ),
    Command("vm-destroy", "Destroy a halted VM.", (Arg("uuid", "ref VM"),), "VM.destroy"),
    Command("vm-uninstall", "Destroy a VM, shutting it down by force first; asks, unless --force.", (_FORCE,), run="vms.uninstall", selector="vm"),
    Command(
        "vm-start",
        "Start a VM, on the host that on= names.",
        (Arg("on", "host", ""), Arg("paused", "bool", "false"), _FORCE),
        run="vms.start",
        selector="vm",
    ),
    Command("vm-shutdown", "Shut a VM down; --force without asking the guest.", (_FORCE,), run="vms.shutdown", selector="vm"),
    Command("vm-reboot", "Reboot a VM; --force without asking the guest.", (_FORCE,), run="vms.reboot", selector="vm"),
    Command(
        "vm-memory-limits-set",
        "Set how much memory a halted VM has: all limits at once, in bytes or as 1GiB.",
        tuple(Arg(name, "bytes") for name in ("static-min", "static-max", "dynamic-min", "dynamic-max")),
        "VM.set_memory_limits",
        selector="vm",
    ),
    Command(
        "vm-migrate",
        "Move a running VM to another host of the pool, or a VM to another pool (remote-master=, vif:<VIF uuid>=<network uuid there>).",
        (
            Arg("host", "host", ""),
            Arg("host-uuid", "host", ""),
            Arg("live", "bool", "false"),
            _FORCE,
            Arg("copy", "bool", "false"),
            Arg("compress", default=""),
            Arg("remote-master", default=""),
            Arg("remote-username", default=""),
            Arg("remote-password", default=""),
            Arg("remote-network", default=""),
            Arg("vif", "map", ""),
            Arg("vdi", "map", ""),
            Arg("image-format", "map", ""),
        ),
        run="vms.migrate",
        selector="vm",
    ),
    Command(
        "vm-reset-powerstate",
        "Call a VM halted whose host is gone for good; if the host still runs it, the VM may then run twice. Needs --force.",
        (_FORCE,),
        run="vms.reset_powerstate",
        selector="vm",
    ),
    Command("vm-suspend", "Suspend a VM.", (), "VM.suspend", selector="vm"),
    Command("vm-resume", "Resume a suspended VM.", (Arg("on", "host", ""), _FORCE), run="vms.resume", selector="vm"),
    Command("vm-pause", "Stop a VM's processors.", (), "VM.pause", selector="vm"),
    Command("vm-unpause", "Let a VM's processors run again.", (), "VM.unpause", selector="vm"),
    Command("vm-vif-list", "List the VIFs of VMs; filters choose the VMs.", (), run="vms.vif_list", selector="vm"),
)

COMMANDS = (*_NETWORKS, *_VIFS, *_PIFS, *_DERIVED, *_POOL, *_HOSTS, *_VMS, *sends_server.COMMANDS)
