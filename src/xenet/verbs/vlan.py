"""VLAN: create and destroy, on one host or on all of a pool. The PIF below carries the tag, the one above is without it."""

from collections.abc import Iterable, Mapping
from typing import Any

from xenet.model.change import Draft
from xenet.model.derived import VLAN
from xenet.model.errors import Failure, invalid_value
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import NULL, HostRef, NetworkRef, PIFRef, Ref, VLANRef
from xenet.model.vif import VIF
from xenet.verbs.allowed import check_none_returns, check_removable, check_unheld
from xenet.verbs.attach import check_live, check_unconnected, find_pif, is_live, the_host
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.pif import check_unpluggable
from xenet.verbs.registry import message
from xenet.verbs.stack import configured_mtu, too_large, want_plugged
from xenet.verbs.trunk_check import LAST_TAG

UPPER_MAC = "fe:ff:ff:ff:ff:ff"
"""What XenServer's records say of every VLAN PIF. The devices have the MAC of the PIF below."""
EVERY_HOST = "sync_vlans"
"""A host's other_config: with `nosync` it does not get the coordinator's VLANs when it comes."""


@message("VLAN", VLANRef, needs_facts=the_host)
def create(call: Call, tagged_PIF: PIFRef, tag: int, network: NetworkRef) -> Outcome:
    """The VLAN with its PIF, plugged. Raises, in this order, NETWORK_UNMANAGED [network], NETWORK_ALREADY_CONNECTED [host, pif],
    PIF_UNMANAGED, CANNOT_ADD_VLAN_TO_BOND_SLAVE, PIF_IS_VLAN, IS_TUNNEL_ACCESS_PIF [pif], NETWORK_INCOMPATIBLE_WITH_VLAN_ON_BRIDGE [network],
    VLAN_TAG_INVALID [tag], PIF_VLAN_EXISTS [device], VLAN_IN_USE [device, tag], NETWORK_INCOMPATIBLE_WITH_TRUNKS [network],
    PIF_CONFIGURATION_ERROR [pif, text] where the network's MTU is more than the PIF's."""
    work = Work(call)
    upper = _add(work, tagged_PIF, tag, network)
    return _plugged(work, [upper], upper.VLAN_master_of)


@message("VLAN")
def destroy(call: Call, self: VLANRef) -> Outcome:
    """The network stays. Raises PIF_ALREADY_BONDED, PIF_TUNNEL_STILL_EXISTS, PIF_IS_MANAGEMENT_INTERFACE [pif], and what PIF.unplug raises."""
    vlan = call.state.get(VLAN, self)
    upper = call.state.find(PIF, vlan.untagged_PIF)
    work = Work(call)
    work.delete(vlan)
    if upper is None:
        return work.outcome()
    if upper.bond_slave_of != NULL:
        raise Failure("PIF_ALREADY_BONDED", upper.ref)
    if call.state.back(upper.ref, PIF.tunnel_transport_PIF_of):
        raise Failure("PIF_TUNNEL_STILL_EXISTS", upper.ref)
    check_unpluggable(call.state, upper)
    check_removable(call.state, upper)
    work.delete(upper)
    if not (upper.plugged or upper.currently_attached):
        return work.outcome()
    check_live(call.state, upper.host)
    work.leave(call.state.get(Network, upper.network))
    return work.await_host(upper.host, [(upper, "destroy")], lambda draft: None)


@message("PIF", PIFRef, needs_facts=lambda state, device, network, host, tag: the_host(state, host))
def create_VLAN(call: Call, device: str, network: NetworkRef, host: HostRef, VLAN: int) -> Outcome:
    """The older form of VLAN.create. Raises INVALID_VALUE ["device", device] and what that one raises."""
    call.state.get(Host, host)
    lower = next(iter(_untagged(call.state, device, host)), None)
    if lower is None:
        raise invalid_value("device", device)
    work = Work(call)
    upper = _add(work, lower.ref, VLAN, network)
    return _plugged(work, [upper], upper.ref)


@message("PIF", name="destroy")
def pif_destroy(call: Call, self: PIFRef) -> Outcome:
    """The older form of VLAN.destroy. Raises PIF_IS_PHYSICAL and what that one raises."""
    pif = call.state.get(PIF, self)
    if pif.VLAN < 0:
        raise Failure("PIF_IS_PHYSICAL")
    return destroy(call, VLANRef(pif.VLAN_master_of))


def _beside(state: PoolState, pif: Ref) -> list[PIF]:
    """The PIFs on the same network, of live hosts, by the hosts' names."""
    return _of_live_hosts(state, state.where(PIF, "network", state.get(PIF, pif).network))


def _named(state: PoolState, device: str) -> list[PIF]:
    return _of_live_hosts(state, (lower for host in state.all(Host) for lower in _untagged(state, device, host.ref)))


def _of_live_hosts(state: PoolState, below: Iterable[PIF]) -> list[PIF]:
    hosts = {host.ref: host.name_label for host in state.all(Host) if is_live(state, host)}
    return sorted((lower for lower in below if lower.host in hosts), key=lambda lower: hosts[lower.host])


@message("pool", tuple[PIFRef, ...], needs_facts=lambda state, pif, network, tag: [lower.host for lower in _beside(state, pif)])
def create_VLAN_from_PIF(call: Call, pif: PIFRef, network: NetworkRef, VLAN: int) -> Outcome:
    """On every live host that has a PIF on the same network as this one; on all of them or on none."""
    return _on_all(call, _beside(call.state, pif), network, VLAN)


@message(
    "pool", tuple[PIFRef, ...], name="create_VLAN", needs_facts=lambda state, device, network, tag: [lower.host for lower in _named(state, device)]
)
def pool_create_VLAN(call: Call, device: str, network: NetworkRef, VLAN: int) -> Outcome:
    """The same by the NIC's name."""
    return _on_all(call, _named(call.state, device), network, VLAN)


def _untagged(state: PoolState, device: str, host: Ref) -> list[PIF]:
    return [pif for pif in state.where(PIF, "host", host) if pif.device == device and pif.VLAN < 0]


def _on_all(call: Call, below: Iterable[PIF], network: Ref, tag: int) -> Outcome:
    work = Work(call)
    uppers = [_add(work, lower.ref, tag, network) for lower in below]
    return _plugged(work, uppers, tuple(upper.ref for upper in uppers)) if uppers else work.outcome(())


def _plugged(work: Work, uppers: list[PIF], result: object) -> Outcome:
    """The hosts bring the new PIFs up; where one cannot, nothing of it stays anywhere."""
    for upper in uppers:
        check_live(work.state, upper.host)
        want_plugged(work, upper)

    def done(draft: Draft) -> None:
        for upper in uppers:
            draft.update(upper, currently_attached=True)

    return work.await_hosts([upper.host for upper in uppers], [(upper, "plug") for upper in uppers], done, result)


def _add(work: Work, tagged: Ref, tag: int, network: Ref) -> PIF:
    """The VLAN's records: its PIF, without an address, not plugged."""
    lower, on = work.state.get(PIF, tagged), work.state.get(Network, network)
    _check(work.state, lower, tag, on)
    return add_records(work, lower, tag, on)


def add_records(work: Work, lower: PIF, tag: int, network: Network) -> PIF:
    """The VLAN and its PIF, which shares the metrics of the one below."""
    vlan = VLAN(uuid=work.call.entropy.uuid(), tagged_PIF=PIFRef(lower.ref), tag=tag)
    upper = work.put(
        PIF(
            uuid=work.call.entropy.uuid(),
            device=lower.device,
            network=NetworkRef(network.ref),
            host=lower.host,
            MAC=UPPER_MAC,
            MTU=lower.MTU,
            VLAN=tag,
            metrics=lower.metrics,
            currently_attached=False,
            primary_address_type=lower.primary_address_type,
            VLAN_master_of=VLANRef(vlan.ref),
            IPv6=("",),
        )
    )
    work.put(vlan)
    work.update(vlan, untagged_PIF=upper.ref)
    return upper


def _check(state: PoolState, lower: PIF, tag: int, network: Network) -> None:
    """In XenServer's order; the last one is ours, since nothing may be lost silently."""
    if not network.managed:
        raise Failure("NETWORK_UNMANAGED", network.ref)
    check_unconnected(state, network, lower.host)
    _check_lower(state, lower)
    if any(pif.VLAN_master_of == NULL for pif in state.where(PIF, "network", network.ref)):
        raise Failure("NETWORK_INCOMPATIBLE_WITH_VLAN_ON_BRIDGE", network.ref)
    if not 0 <= tag <= LAST_TAG:  # 0, a priority tag without a VLAN, is allowed as in XenServer
        raise Failure("VLAN_TAG_INVALID", str(tag))
    if any(vlan.tag == tag for vlan in state.where(VLAN, "tagged_PIF", lower.ref)):
        raise Failure("PIF_VLAN_EXISTS", lower.device)
    check_none_returns(state, lower, lambda edit: edit.cls == "VLAN" and _is(edit.after or {}, lower, tag))
    if any(nic.device == lower.device and tag in nic.vlans for nic in state.get(HostFacts, lower.host).nics):
        raise Failure("VLAN_IN_USE", lower.device, str(tag))
    if any(vif.trunks for vif in state.where(VIF, "network", network.ref)):
        raise Failure("NETWORK_INCOMPATIBLE_WITH_TRUNKS", network.ref)
    if (mtu := configured_mtu({}, network)) > lower.MTU:
        raise too_large(lower.ref, f"the network of VLAN {tag}", mtu, lower)


def _is(vlan: Mapping[str, Any], lower: PIF, tag: int) -> bool:
    return (vlan.get("tagged_PIF"), vlan.get("tag")) == (lower.ref, tag)


def _check_lower(state: PoolState, lower: PIF) -> None:
    if not lower.managed:
        raise Failure("PIF_UNMANAGED", lower.ref)
    if lower.bond_slave_of != NULL:
        raise Failure("CANNOT_ADD_VLAN_TO_BOND_SLAVE", lower.ref)
    if lower.VLAN_master_of != NULL:
        raise Failure("PIF_IS_VLAN", lower.ref)
    if state.back(lower.ref, PIF.tunnel_access_PIF_of):
        raise Failure("IS_TUNNEL_ACCESS_PIF", lower.ref)
    check_unheld(state, lower)


def copy_vlans(work: Work, host: Ref, coordinator: Ref) -> None:
    """A host that comes gets the VLANs that the coordinator has on the same networks: the records alone, its VIFs plug them (XenServer's
    rule, with the host's other_config:sync_vlans=nosync to be left alone)."""
    if host == coordinator or work.state.get(Host, host).other_config.get(EVERY_HOST) == "nosync":
        return
    for upper in work.state.where(PIF, "host", coordinator):
        vlan = work.state.find(VLAN, upper.VLAN_master_of)
        below = work.state.find(PIF, vlan.tagged_PIF) if vlan else None
        if vlan is None or below is None or find_pif(work.state, upper.network, host) is not None:
            continue
        lower = find_pif(work.state, below.network, host)
        taken = lower is None or any(other.tag == vlan.tag for other in work.state.where(VLAN, "tagged_PIF", lower.ref))
        if lower is not None and not taken and lower.managed and lower.bond_slave_of == NULL:
            add_records(work, lower, vlan.tag, work.state.get(Network, upper.network))
