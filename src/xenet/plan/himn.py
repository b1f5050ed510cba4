"""What a host does on its internal management network, beside its switch: it gives guests their addresses, and answers as API."""

import msgspec

from xenet.model.himn import BRIDGE, find_himn, guest_range, host_address, subnet
from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.plan.compile import is_attached
from xenet.plan.reach import Reach


class DHCPServer(msgspec.Struct, frozen=True):
    """A DHCP server (RFC 2131) that knows each of its clients, and answers no other."""

    bridge: str
    address: str
    netmask: str
    router: bool
    """Whether guests are told that the host is their router."""
    next_server: str = ""
    """Where guests boot from by network, empty: nowhere."""
    leases: tuple[tuple[str, str], ...] = ()
    """MAC and address, sorted."""


def dhcp_server(state: PoolState, host: Ref) -> DHCPServer | None:
    """None as long as the network is not there on this host."""
    network = find_himn(state)
    leases = _leases(state, network, host) if network else ()
    if network is None or not (leases or is_attached(state, network, host)) or not guest_range(network):
        return None
    said, net = network.other_config, subnet(network)
    return DHCPServer(
        BRIDGE,
        said["ip_begin"],
        str(net.netmask) if net else "",
        router=said.get("ip_disable_gw") != "true",
        next_server=said.get("pxe_server", ""),
        leases=leases,
    )


def guests_reach(state: PoolState, host: Ref) -> Reach | None:
    """Where guests reach the host's API; None as long as the network is not there on this host."""
    network = find_himn(state)
    if network is None or not host_address(network) or not (_vifs(state, network, host) or is_attached(state, network, host)):
        return None
    return Reach(network.uuid, BRIDGE, "", network.other_config["ip_begin"], "")


def _leases(state: PoolState, network: Network, host: Ref) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((vif.MAC.lower(), vif.lease) for vif in _vifs(state, network, host) if vif.lease))


def _vifs(state: PoolState, network: Network, host: Ref) -> list[VIF]:
    return [vif for vif in state.where(VIF, "network", network.ref) if vif.plugged and state.get(VM, vif.VM).running_on == host]
