"""What moves between NICs and their bond, there and back: addresses, VLANs, tunnels, and the VIFs that are local to the host.

Each function drafts its part and returns the records that it moved: the operation holds them until the host has followed.
"""

from collections.abc import Sequence

import msgspec

from xenet.model.derived import VLAN, Tunnel
from xenet.model.errors import Failure
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import NULL, PIFRef, Record, Ref, VLANRef
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.allowed import check_unkept
from xenet.verbs.call import Work
from xenet.verbs.stack import has_address, port_mtu, vlan_pifs, want_plugged
from xenet.verbs.vm import possible_hosts

replace = msgspec.structs.replace
_ADDRESSES = ("ip_configuration_mode", "IP", "netmask", "gateway", "DNS", "ipv6_configuration_mode", "IPv6", "ipv6_gateway")
_NO_ADDRESSES = dict(zip(_ADDRESSES, ("None", "", "", "", "", "None", (), ""), strict=True))


def move_addresses(work: Work, old: PIF, new: PIF) -> None:
    """The host's own addresses of both kinds, and how it gets them."""
    settings = {name: getattr(old, name) for name in _ADDRESSES}
    work.update(new, **settings, primary_address_type=old.primary_address_type)
    work.update(old, **_NO_ADDRESSES)


def vacate(work: Work, network: Ref, host: Ref) -> None:
    """The host's PIF goes off this network. Raises OTHER_OPERATION_IN_PROGRESS while a failure may bring something back to it."""
    record = work.state.get(Network, network)
    check_unkept(work.base, record, host)
    work.leave(record)


# --- what stands on a PIF ---------------------------------------------------------------------------------


def move_stack(work: Work, before: PoolState, olds: Sequence[PIF], new: PIF) -> list[Record]:
    """The VLANs and tunnels of some PIFs stand on another one now: as new records on the same networks, with all that they had. Where two
    had the same tag, the first stays and takes the other's local VIFs; the other's network is left without a PIF here."""
    moved: list[Record] = []
    kept: dict[int, PIF] = {}
    for upper in sorted((upper for old in olds for upper in vlan_pifs(before, old)), key=_importance):
        if upper.VLAN in kept:
            moved += _merge(work, before, upper, kept[upper.VLAN])
        else:
            kept[upper.VLAN] = _move_vlan(work, upper, new)
            moved += [upper, kept[upper.VLAN], *_move_tunnels(work, before, upper, kept[upper.VLAN])]
    for old in olds:
        moved += _move_tunnels(work, before, old, new)
    return moved


def _importance(upper: PIF) -> tuple[bool, bool]:
    """What would be lost is taken first, else the members' order counts."""
    return (not upper.management, not has_address(upper))


def _move_vlan(work: Work, upper: PIF, lower: PIF) -> PIF:
    """Raises PIF_CONFIGURATION_ERROR [pif, text] where its MTU is more than the PIF's below."""
    old = work.state.get(VLAN, upper.VLAN_master_of)
    work.delete(old)
    work.delete(upper)
    vlan = replace(old, uuid=work.call.entropy.uuid(), tagged_PIF=PIFRef(lower.ref), untagged_PIF=NULL)
    moved = _put_again(work, upper, device=lower.device, metrics=lower.metrics, VLAN_master_of=VLANRef(vlan.ref))
    work.put(replace(vlan, untagged_PIF=PIFRef(moved.ref)))
    return want_plugged(work, moved) if moved.plugged else moved


def _put_again(work: Work, pif: PIF, **fields: object) -> PIF:
    return work.put(replace(pif, uuid=work.call.entropy.uuid(), currently_attached=False, **fields))


def _merge(work: Work, before: PoolState, upper: PIF, kept: PIF) -> list[Record]:
    """Raises PIF_BOND_MORE_THAN_ONE_IP where the second of two VLANs with one tag has an address as well: it would be lost."""
    if has_address(upper):
        raise Failure("PIF_BOND_MORE_THAN_ONE_IP")
    work.delete(work.state.get(VLAN, upper.VLAN_master_of))
    work.delete(upper)
    vacate(work, upper.network, upper.host)
    if upper.plugged:
        want_plugged(work, kept)
    return [upper, *_move_tunnels(work, before, upper, kept), *move_vifs(work, before, [upper.network], kept)]


def _move_tunnels(work: Work, before: PoolState, old: PIF, new: PIF) -> list[Record]:
    """Raises what `want_plugged` raises."""
    moved: list[Record] = []
    for tunnel in before.where(Tunnel, "transport_PIF", old.ref):
        access = before.get(PIF, tunnel.access_PIF)
        work.delete(tunnel)
        work.delete(access)
        again = _put_again(work, access, metrics=new.metrics)
        work.put(replace(tunnel, uuid=work.call.entropy.uuid(), access_PIF=PIFRef(again.ref), transport_PIF=PIFRef(new.ref)))
        moved += [access, want_plugged(work, again) if again.plugged else again]
    return moved


# --- VIFs -------------------------------------------------------------------------------------------------


def move_vifs(work: Work, before: PoolState, networks: Sequence[Ref], target: PIF) -> list[Record]:
    """The local VIFs of some networks are on the target's now; live ones change the switch and keep their device."""
    network = work.state.get(Network, target.network)
    moved: list[Record] = []
    for vif in local_vifs(before, target.host, networks):
        mtu = port_mtu(work.state, vif, network, target.host) if vif.plugged else vif.MTU
        moved.append(work.update(vif, network=target.network, MTU=mtu))
    return moved


def local_vifs(state: PoolState, host: Ref, networks: Sequence[Ref]) -> list[VIF]:
    """Those of VMs that are on this host, or on none and able to start only here or nowhere (XenServer's definition)."""
    found = [vif for network in networks for vif in state.where(VIF, "network", network)]
    local = {vm: _is_local(state, host, state.get(VM, vm)) for vm in {vif.VM for vif in found}}
    return [vif for vif in found if local[vif.VM]]


def _is_local(state: PoolState, host: Ref, vm: VM) -> bool:
    """One that comes or goes counts: its VIFs are held, so there is no bond until it is settled where it is."""
    homes = {home for home in (vm.running_on, vm.resident_on, vm.peer) if home != NULL}
    return host in homes if homes else {h.ref for h in possible_hosts(state, vm)} <= {host}
