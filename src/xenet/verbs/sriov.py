"""network_sriov: a NIC's virtual functions as a network of their own. xenet switches none on: every refusal of XenServer's is there, and
the last one says so."""

from xenet.model.derived import NetworkSriov
from xenet.model.errors import Failure
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.types import NetworkRef, PIFRef, SriovRef
from xenet.verbs.attach import find_pif
from xenet.verbs.call import Call, Outcome
from xenet.verbs.registry import message

CAPABILITY = "sriov"
LACKING = "virtual functions are no part of xenet's data plane; give the NIC a VLAN or a network of its own instead"


@message("network_sriov", SriovRef)
def create(call: Call, pif: PIFRef, network: NetworkRef) -> Outcome:
    """Raises, in XenServer's order, NETWORK_UNMANAGED [network], PIF_UNMANAGED, PIF_IS_NOT_PHYSICAL, NETWORK_SRIOV_ALREADY_ENABLED,
    PIF_IS_NOT_SRIOV_CAPABLE [pif], NETWORK_ALREADY_CONNECTED [host, pif], NETWORK_INCOMPATIBLE_WITH_SRIOV [network], and then
    NETWORK_SRIOV_ENABLE_FAILED [pif, text]."""
    state = call.state
    nic, on = state.get(PIF, pif), state.get(Network, network)
    if not on.managed:
        raise Failure("NETWORK_UNMANAGED", network)
    if not nic.managed:
        raise Failure("PIF_UNMANAGED", pif)
    if not nic.physical:
        raise Failure("PIF_IS_NOT_PHYSICAL", pif)
    if state.back(pif, PIF.sriov_physical_PIF_of):
        raise Failure("NETWORK_SRIOV_ALREADY_ENABLED", pif)
    if CAPABILITY not in nic.capabilities:
        raise Failure("PIF_IS_NOT_SRIOV_CAPABLE", pif)
    if (there := find_pif(state, network, nic.host)) is not None:
        raise Failure("NETWORK_ALREADY_CONNECTED", nic.host, there.ref)
    if any(not state.back(other.ref, PIF.sriov_logical_PIF_of) for other in state.where(PIF, "network", network)):
        raise Failure("NETWORK_INCOMPATIBLE_WITH_SRIOV", network)
    raise Failure("NETWORK_SRIOV_ENABLE_FAILED", pif, LACKING)


@message("network_sriov")
def destroy(call: Call, self: SriovRef) -> Outcome:
    """Of one that another program wrote into the database. Raises PIF_VLAN_STILL_EXISTS [pif], NETWORK_SRIOV_DISABLE_FAILED [pif, text]."""
    sriov = call.state.get(NetworkSriov, self)
    if call.state.back(sriov.logical_PIF, PIF.VLAN_slave_of):
        raise Failure("PIF_VLAN_STILL_EXISTS", sriov.logical_PIF)
    raise Failure("NETWORK_SRIOV_DISABLE_FAILED", sriov.physical_PIF, LACKING)


@message("network_sriov", int)
def get_remaining_capacity(call: Call, self: SriovRef) -> int:
    """How many VIFs it still has room for: none is ever given out."""
    call.state.get(NetworkSriov, self)
    return 0
