"""Where a host is reached: through which device its management address is, and which gateway leads there from elsewhere."""

import msgspec

from xenet.model.network import Network
from xenet.model.pif import PIF, primary_address
from xenet.model.state import PoolState
from xenet.model.types import Ref
from xenet.plan.layer3 import gateway_pif


class Reach(msgspec.Struct, frozen=True):
    """A host's management interface."""

    pif: str
    """The PIF's uuid."""
    device: str
    """What has the address: the network's bridge; of an unmanaged PIF the NIC itself."""
    mac: str
    address: str
    """Without its prefix; empty where there is none yet: DHCP or an administrator has still to give it."""
    gateway: str
    """Of the default route, where this PIF has it; else empty."""


def reach_of(state: PoolState, host: Ref) -> Reach | None:
    """None: the host has no management interface."""
    pif = next((pif for pif in state.where(PIF, "host", host) if pif.management), None)
    if pif is None:
        return None
    device = state.get(Network, pif.network).bridge if pif.managed else pif.device
    gateway = pif.gateway if pif.primary_address_type == "IPv4" else pif.ipv6_gateway
    return Reach(pif.uuid, device, pif.MAC, primary_address(pif), gateway if gateway_pif(state, host) == pif.ref else "")
