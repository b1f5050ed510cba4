"""The messages of XenServer that xenet does not have, each with its reason: the one list that says so.

A client gets MESSAGE_METHOD_UNKNOWN for them. The conformance test fails for a message that is neither implemented nor listed
here, and for one that is both.
"""

_POOL = "a pool has one server, its master, and its hosts are those whose agents come to it: none joins, leaves or takes over"
_NO_RATES = "no round-robin databases here: counters are the kernel's, read there"
_NO_DISKS = "xenet keeps no disks, nor a guest's memory: nothing can be suspended, copied or snapshot"
_NO_PAUSE = "a namespace or a tap cannot stand still, and a machine of QEMU's does so only while it moves"
_NO_HA = "no high availability here: a pool has one server"
_NO_BLOBS = "no blobs here: icons and notes belong to the user interface"
_NO_POWER = "xenet rules a machine's networks, not its power"
_NO_CONTROLLER = "xenet's agents are the switches' only controller, which also meshes the tunnels; a second one would undo their flows"
_NO_SECRETS = "a secret is a password for storage or for a host's power, of which xenet has none; passwords of users are kept as hashes"
_INTERNAL = "for calls between XenServer's own hosts; xenet's hosts hear from the pool by the link"

UNIMPLEMENTED: dict[str, dict[str, str]] = {
    "session": {"create_from_db_file": "there is no XenServer database file to read", "slave_login": _INTERNAL, "slave_local_login": _INTERNAL},
    "network": {"create_new_blob": _NO_BLOBS},
    "PIF": {"pool_introduce": _INTERNAL},
    "VLAN": {"pool_introduce": _INTERNAL},
    "VM": {
        "assert_agile": _NO_HA,
        "query_data_source": _NO_RATES,
        "get_data_sources": _NO_RATES,
        "pause": _NO_PAUSE,
        "unpause": _NO_PAUSE,
        "suspend": _NO_DISKS,
        "resume": _NO_DISKS,
        "resume_on": _NO_DISKS,
        "provision": _NO_DISKS,
        "checkpoint": _NO_DISKS,
        "revert": _NO_DISKS,
        "copy": _NO_DISKS,
        "clone": _NO_DISKS,
        "snapshot": _NO_DISKS,
    },
    "SDN_controller": {"introduce": _NO_CONTROLLER, "forget": _NO_CONTROLLER},
    "secret": {"create": _NO_SECRETS, "introduce": _NO_SECRETS},
    "host": {
        "sync_data": _POOL,
        "declare_dead": _POOL,
        "destroy": _POOL,
        "query_data_source": _NO_RATES,
        "get_data_sources": _NO_RATES,
        "set_multipathing": "no storage here",
        "restart_agent": "an agent that dies is started again by itself",
        "power_on": _NO_POWER,
        "reboot": _NO_POWER,
        "shutdown": _NO_POWER,
        "sync_vlans": _INTERNAL,
        "sync_tunnels": _INTERNAL,
        "sync_pif_currently_attached": _INTERNAL,
        "signal_networking_change": _INTERNAL,
        "notify": _INTERNAL,
    },
    "pool": {
        "set_vswitch_controller": _NO_CONTROLLER,
        "join": _POOL,
        "join_force": _POOL,
        "eject": _POOL,
        "designate_new_master": _POOL,
        "sync_database": _POOL,
        "recover_slaves": _POOL,
        "emergency_reset_master": _POOL,
        "emergency_transition_to_master": _POOL,
        "enable_ha": _NO_HA,
        "disable_ha": _NO_HA,
        "enable_redo_log": _NO_HA,
        "disable_redo_log": _NO_HA,
    },
}
"""Class -> message -> why it is not there."""
