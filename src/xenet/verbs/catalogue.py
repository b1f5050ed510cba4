"""Importing this module enters every pure message into the register."""

from xenet.verbs import (
    addresses,
    bond,
    cross_in,
    guest_address,
    host,
    inspect,
    locking,
    management,
    message,
    migrate,
    migrate_in,
    network,
    network_attach,
    nics,
    pif,
    reset,
    sizes,
    snooping,
    sriov,
    subject,
    task,
    trunks,
    tunnel,
    vif,
    vlan,
    vm,
    vm_config,
)
from xenet.verbs.empty import register_empty
from xenet.verbs.generic import register_generic
from xenet.verbs.registry import MESSAGES

__all__ = [
    "MESSAGES",
    "addresses",
    "bond",
    "cross_in",
    "guest_address",
    "host",
    "inspect",
    "locking",
    "management",
    "message",
    "migrate",
    "migrate_in",
    "network",
    "network_attach",
    "nics",
    "pif",
    "reset",
    "sizes",
    "snooping",
    "sriov",
    "subject",
    "task",
    "trunks",
    "tunnel",
    "vif",
    "vlan",
    "vm",
    "vm_config",
]

register_generic()
register_empty()
