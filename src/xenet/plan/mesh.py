"""The mesh of a tunnelled network: each host's end knows all others', so a frame needs one hop, and nobody passes one on (split horizon)."""

from collections.abc import Iterator

from xenet.model.derived import Tunnel
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.plan.view import TunnelView


def find_tunnel(state: PoolState, access: PIF) -> TunnelView | None:
    """What joins this host's end of a network to the others'; None for a PIF of no tunnel, and while its transport has no address."""
    tunnel = next(iter(state.where(Tunnel, "access_PIF", access.ref)), None)
    local = _address(state, tunnel) if tunnel else ""
    if tunnel is None or not local:
        return None
    return TunnelView(tunnel.protocol, tunnel.key, local, tuple(sorted(_peers(state, tunnel, access))))


def _peers(state: PoolState, tunnel: Tunnel, access: PIF) -> Iterator[str]:
    """The addresses of the other hosts' ends that are up and speak the same."""
    for pif in state.where(PIF, "network", access.network):
        other = next(iter(state.where(Tunnel, "access_PIF", pif.ref)), None)
        if other and pif.plugged and pif.host != access.host and other.protocol == tunnel.protocol and (address := _address(state, other)):
            yield address


def _address(state: PoolState, tunnel: Tunnel) -> str:
    """The transport's IPv4 address, static or by DHCP, empty where it has none or is down."""
    transport = state.get(PIF, tunnel.transport_PIF)
    return transport.IP if transport.plugged and transport.ip_configuration_mode != "None" else ""
