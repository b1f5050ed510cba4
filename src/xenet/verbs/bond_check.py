"""Whether NICs may become a bond: XenServer's refusals, in its order."""

from collections.abc import Sequence

import msgspec

from xenet.model.derived import BondMode
from xenet.model.errors import Failure
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import EMPTY, NULL, Ref, StrMap
from xenet.verbs.attach import check_unconnected
from xenet.verbs.bond_properties import check_property
from xenet.verbs.stack import has_address
from xenet.verbs.vif import check_mac


class Wish(msgspec.Struct, frozen=True):
    """The bond that a caller wants. An empty MAC: the primary slave's."""

    network: Network
    members: Sequence[PIF]
    mac: str = ""
    mode: BondMode = "balance-slb"
    properties: StrMap = EMPTY

    @property
    def host(self) -> Ref:
        return self.members[0].host

    @property
    def primary(self) -> PIF:
        """The management interface, else the first with an address, else the first."""
        return min(self.members, key=lambda pif: (not pif.management, not has_address(pif)))


def wish_of(state: PoolState, network: Ref, members: Sequence[Ref], mac: str, mode: BondMode, properties: StrMap) -> Wish:
    """Raises PIF_BOND_NEEDS_MORE_MEMBERS and what `check_wish` raises. A member named twice counts once."""
    if not members:
        raise Failure("PIF_BOND_NEEDS_MORE_MEMBERS")
    pifs = tuple(state.get(PIF, ref) for ref in dict.fromkeys(members))
    wish = Wish(state.get(Network, network), pifs, mac, mode, properties)
    check_wish(state, wish)
    return wish


def check_wish(state: PoolState, wish: Wish) -> None:
    """Raises NETWORK_UNMANAGED [network], NETWORK_ALREADY_CONNECTED [host, pif], NETWORK_INCOMPATIBLE_WITH_BOND [network], MAC_INVALID [mac],
    INVALID_VALUE ["properties", "name = value"], PIF_INCOMPATIBLE_PRIMARY_ADDRESS_TYPE [pif], what `_check_member` raises,
    PIF_CANNOT_BOND_CROSS_HOST, INCOMPATIBLE_PIF_PROPERTIES, PIF_BOND_MORE_THAN_ONE_IP. There is no high availability and no FCoE here
    that could refuse."""
    _check_network(state, wish)
    if wish.mac:
        _check_mac(wish.mac)
    for name, value in wish.properties.items():
        check_property(wish.mode, name, value)
    for pif in wish.members:
        if pif.primary_address_type != wish.primary.primary_address_type:
            raise Failure("PIF_INCOMPATIBLE_PRIMARY_ADDRESS_TYPE", pif.ref)
    for pif in wish.members:
        _check_member(state, pif)
    if any(pif.host != wish.host for pif in wish.members):
        raise Failure("PIF_CANNOT_BOND_CROSS_HOST")
    if any(pif.properties != wish.members[0].properties for pif in wish.members):
        raise Failure("INCOMPATIBLE_PIF_PROPERTIES")
    if sum(map(has_address, wish.members)) > 1:
        raise Failure("PIF_BOND_MORE_THAN_ONE_IP")


def _check_network(state: PoolState, wish: Wish) -> None:
    network = wish.network
    if not network.managed:
        raise Failure("NETWORK_UNMANAGED", network.ref)
    check_unconnected(state, network, wish.host)
    if any(stands_on_another(state, pif) for pif in state.where(PIF, "network", network.ref)):
        raise Failure("NETWORK_INCOMPATIBLE_WITH_BOND", network.ref)


def stands_on_another(state: PoolState, pif: PIF) -> bool:
    """A VLAN's PIF, a tunnel's, or one of virtual functions."""
    return pif.VLAN_master_of != NULL or bool(state.back(pif.ref, PIF.tunnel_access_PIF_of) or state.back(pif.ref, PIF.sriov_logical_PIF_of))


def _check_mac(mac: str) -> None:
    """Raises MAC_INVALID [mac], also for what no device can have: nothing but zeros, or the address of a group (IEEE 802)."""
    check_mac(mac)
    if int(mac[:2], 16) & 1 or set(mac) <= {"0", ":"}:
        raise Failure("MAC_INVALID", mac)


def _check_member(state: PoolState, pif: PIF) -> None:
    """Raises PIF_UNMANAGED, PIF_ALREADY_BONDED [pif] (of a bond as well: a kernel bonds no bonds), PIF_VLAN_EXISTS [device],
    IS_TUNNEL_ACCESS_PIF, PIF_IS_SRIOV_LOGICAL [pif]."""
    if not pif.managed:
        raise Failure("PIF_UNMANAGED", pif.ref)
    if pif.bond_slave_of != NULL or state.back(pif.ref, PIF.bond_master_of):
        raise Failure("PIF_ALREADY_BONDED", pif.ref)
    if pif.VLAN_master_of != NULL:
        raise Failure("PIF_VLAN_EXISTS", pif.device)
    if state.back(pif.ref, PIF.tunnel_access_PIF_of):
        raise Failure("IS_TUNNEL_ACCESS_PIF", pif.ref)
    if state.back(pif.ref, PIF.sriov_logical_PIF_of):
        raise Failure("PIF_IS_SRIOV_LOGICAL", pif.ref)
