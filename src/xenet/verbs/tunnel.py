"""tunnel: create and destroy. The access PIF joins a network to the one that the transport PIF's address reaches; the agents of the pool's
hosts mesh the links between all access PIFs of a network (XenServer leaves that to an outside controller)."""

import msgspec

from xenet.model.change import Draft
from xenet.model.derived import VLAN, Tunnel, TunnelProtocol
from xenet.model.errors import Failure
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.types import NULL, NetworkRef, PIFRef, Ref, TunnelRef
from xenet.verbs.allowed import check_unheld
from xenet.verbs.attach import check_live, check_unconnected
from xenet.verbs.call import Call, Entropy, Outcome, Work
from xenet.verbs.pif import check_unpluggable
from xenet.verbs.registry import message
from xenet.verbs.stack import want_plugged

INACTIVE = {"active": "false"}


@message("tunnel", TunnelRef)
def create(call: Call, transport_PIF: PIFRef, network: NetworkRef, protocol: TunnelProtocol = "gre") -> Outcome:
    """The tunnel with its access PIF, plugged. Raises, in this order, NETWORK_UNMANAGED [network], NETWORK_ALREADY_CONNECTED [host, pif],
    PIF_UNMANAGED, CANNOT_ADD_TUNNEL_TO_BOND_SLAVE, IS_TUNNEL_ACCESS_PIF, CANNOT_ADD_TUNNEL_TO_SRIOV_LOGICAL,
    CANNOT_ADD_TUNNEL_TO_VLAN_ON_SRIOV_LOGICAL [pif], NETWORK_INCOMPATIBLE_WITH_TUNNEL [network], OPENVSWITCH_NOT_ACTIVE (for gre: where a
    host with bridges has no ip_gre in its kernel; vxlan does the same), TRANSPORT_PIF_NOT_CONFIGURED [pif]."""
    work = Work(call)
    transport, on = call.state.get(PIF, transport_PIF), call.state.get(Network, network)
    _check(call.state, transport, on, protocol)
    check_live(call.state, transport.host)
    tunnel = add_records(work, transport, on, protocol)
    access = want_plugged(work, work.state.get(PIF, tunnel.access_PIF))
    return work.await_host(transport.host, [(access, "plug")], lambda draft: set_attached(draft, access), tunnel.ref)


def set_attached(draft: Draft, access: PIF) -> None:
    draft.update(access, currently_attached=True)


@message("tunnel")
def destroy(call: Call, self: TunnelRef) -> Outcome:
    """The network stays. Raises what PIF.unplug of the access PIF raises."""
    tunnel = call.state.get(Tunnel, self)
    access = call.state.get(PIF, tunnel.access_PIF)
    check_unpluggable(call.state, access)
    check_unheld(call.state, access)
    work = Work(call)
    work.delete(tunnel)
    work.delete(access)
    if not (access.plugged or access.currently_attached):
        return work.outcome()
    check_live(call.state, access.host)
    work.leave(call.state.get(Network, access.network))
    return work.await_host(access.host, [(access, "destroy")], lambda draft: None)


def add_records(work: Work, transport: PIF, network: Network, protocol: TunnelProtocol) -> Tunnel:
    """The tunnel and its access PIF, which shares the metrics of the one below. Not plugged."""
    pool = next(work.state.all(Pool))
    number = pool.next_tunnel
    tunnel = Tunnel(
        uuid=work.call.entropy.uuid(),
        transport_PIF=PIFRef(transport.ref),
        status=INACTIVE,
        protocol=protocol,
        key=_key(work.state, network.ref) or number + 1,
    )
    work.update(pool, next_tunnel=number + 1)
    access = work.put(
        PIF(
            uuid=work.call.entropy.uuid(),
            device=f"tunnel{number}",
            network=NetworkRef(network.ref),
            host=transport.host,
            MAC=_local_mac(work.call.entropy),
            MTU=-1,
            VLAN=-1,
            metrics=transport.metrics,
            currently_attached=False,
            primary_address_type=transport.primary_address_type,
            IPv6=("",),
        )
    )
    return work.put(msgspec.structs.replace(tunnel, access_PIF=PIFRef(access.ref)))


def _key(state: PoolState, network: Ref) -> int:
    """The one by which the network's tunnels know each other, 0 where it has none yet."""
    return next((tunnel.key for tunnel in tunnels_on(state, network)), 0)


def tunnels_on(state: PoolState, network: Ref) -> list[Tunnel]:
    """The tunnels that a network's members are joined by, of all hosts."""
    return [tunnel for pif in state.where(PIF, "network", network) for tunnel in state.where(Tunnel, "access_PIF", pif.ref)]


def _local_mac(entropy: Entropy) -> str:
    """Random, locally administered, unicast (IEEE 802)."""
    raw = bytearray(entropy.bytes(6))
    raw[0] = raw[0] & ~1 | 2
    return raw.hex(":")


def _check(state: PoolState, transport: PIF, network: Network, protocol: TunnelProtocol) -> None:
    """In XenServer's order."""
    if not network.managed:
        raise Failure("NETWORK_UNMANAGED", network.ref)
    check_unconnected(state, network, transport.host)
    _check_transport(state, transport)
    if any(not state.back(pif.ref, PIF.tunnel_access_PIF_of) for pif in state.where(PIF, "network", network.ref)):
        raise Failure("NETWORK_INCOMPATIBLE_WITH_TUNNEL", network.ref)
    if protocol == "gre" and not all(_does_gre(state, host) for host in state.all(Host)):
        raise Failure("OPENVSWITCH_NOT_ACTIVE")


def _does_gre(state: PoolState, host: Host) -> bool:
    facts = state.find(HostFacts, host.ref)
    return host.software_version.get("network_backend") == "openvswitch" or (facts is not None and facts.gre)


def _check_transport(state: PoolState, pif: PIF) -> None:
    if not pif.managed:
        raise Failure("PIF_UNMANAGED", pif.ref)
    if pif.bond_slave_of != NULL:
        raise Failure("CANNOT_ADD_TUNNEL_TO_BOND_SLAVE", pif.ref)
    if state.back(pif.ref, PIF.tunnel_access_PIF_of):
        raise Failure("IS_TUNNEL_ACCESS_PIF", pif.ref)
    if state.back(pif.ref, PIF.sriov_logical_PIF_of):
        raise Failure("CANNOT_ADD_TUNNEL_TO_SRIOV_LOGICAL", pif.ref)
    vlan = state.find(VLAN, pif.VLAN_master_of)
    if vlan is not None and state.back(vlan.tagged_PIF, PIF.sriov_logical_PIF_of):
        raise Failure("CANNOT_ADD_TUNNEL_TO_VLAN_ON_SRIOV_LOGICAL", pif.ref)
    check_unheld(state, pif)


def note_tunnels(draft: Draft, host: Ref) -> None:
    """tunnel.status says whether a host's end is up, and by which key: what a controller would say on a XenServer."""
    for pif in draft.state.where(PIF, "host", host):
        for tunnel in draft.state.where(Tunnel, "access_PIF", pif.ref):
            others = {name: value for name, value in tunnel.status.items() if name not in ("active", "key")}
            status = {**others, **({"active": "true", "key": str(tunnel.key)} if pif.currently_attached else INACTIVE)}
            if status != tunnel.status:
                draft.update(tunnel, status=status)
