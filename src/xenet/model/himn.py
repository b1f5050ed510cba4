"""The host internal management network (HIMN): on each host a switch of its own, on which guests reach that host's API.

XenServer makes it at its first start, and guests that install or configure themselves use it. What it is stands in the record's
other_config, so that the same network is known again in any pool.
"""

from ipaddress import IPv4Address, IPv4Network

from xenet.model.network import Network
from xenet.model.state import PoolState

BRIDGE = "xenapi"
MAC = "fe:ff:ff:ff:ff:ff"
"""The host's own there, the same on all: a guest that migrates knows its host at once."""
IS_HIMN = "is_host_internal_management_network"
SETTINGS = {
    "is_guest_installer_network": "true",
    IS_HIMN: "true",
    "ip_begin": "169.254.0.1",
    "ip_end": "169.254.255.254",
    "netmask": "255.255.0.0",
}
"""XenServer's: link-local addresses (RFC 3927), the first of which is each host's own."""


def is_himn(network: Network) -> bool:
    return network.other_config.get(IS_HIMN) == "true" and network.bridge == BRIDGE


def find_himn(state: PoolState) -> Network | None:
    return next((network for network in state.where(Network, "bridge", BRIDGE) if is_himn(network)), None)


def subnet(network: Network) -> IPv4Network | None:
    """None where an administrator has written no sense into the record."""
    said = network.other_config
    try:
        return IPv4Network(f"{said.get('ip_begin')}/{said.get('netmask')}", strict=False)
    except ValueError:
        return None


def host_address(network: Network) -> str:
    """The host's own, in CIDR; empty where it makes no sense."""
    found = subnet(network)
    return f"{network.other_config['ip_begin']}/{found.prefixlen}" if found else ""


def guest_range(network: Network) -> tuple[IPv4Address, IPv4Address] | None:
    """The first and the last address for guests; None where they make no sense."""
    found = subnet(network)
    try:
        first, last = IPv4Address(network.other_config["ip_begin"]) + 1, IPv4Address(network.other_config["ip_end"])
    except (KeyError, ValueError):
        return None
    return (first, last) if found and first in found and last in found and first <= last else None
