"""Port mirroring: what a VIF or a whole network sends and hears is copied to another VIF of the same network, which hears nothing else.

XenServer's API has no message for it; here a key of other_config says it, `mirror-to=<VIF uuid>`, of a VIF or of a network. A key that has lost its
sense (the target has moved to another network, or is gone) does nothing until it has sense again.
"""

from collections.abc import Mapping

from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.types import NULL, Ref, ref_of
from xenet.model.vif import VIF
from xenet.model.vm import VM

KEY = "mirror-to"
Source = VIF | Network


def named_by(other_config: Mapping[str, str]) -> str:
    """The reference that the key names; NULL without it."""
    return ref_of(other_config[KEY]) if other_config.get(KEY) else NULL


def why_not(state: PoolState, source: Source, target: VIF) -> str:
    """Why a source cannot be mirrored to this VIF, whatever runs where; empty: it can."""
    if target.ref == source.ref:
        return "a VIF is not mirrored to itself"
    if target.network != (source.ref if isinstance(source, Network) else source.network):
        return f"VIF {target.uuid} is on another network"
    if target.mirror_to != NULL:
        return f"VIF {target.uuid} is mirrored itself"
    network = state.find(Network, target.network)
    return "" if network is not None and network.managed else f"VIF {target.uuid} is on a bridge that is not xenet's"


def sources_of(state: PoolState, target: VIF) -> list[Source]:
    """All that is mirrored to a VIF, wherever it is."""
    named: list[Source] = [*state.where(Network, "mirror_to", target.ref), *state.where(VIF, "mirror_to", target.ref)]
    return [source for source in named if not why_not(state, source, target)]


def is_named(state: PoolState, network: Network, vif: Ref) -> bool:
    """Whether a key names this VIF, be there sense in it or not: a quick look."""
    return network.mirror_to == vif or ("VIF", "mirror_to", vif) in state.index


def home_of(state: PoolState, vif: VIF) -> Ref:
    """The host on which a VIF is attached, else NULL."""
    vm = state.find(VM, vif.VM)
    return vm.resident_on if vm is not None and vif.currently_attached else NULL
