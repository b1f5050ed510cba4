"""Which host can reach which network, and what must be up there before a VIF can be a port of it."""

from xenet.model.errors import Failure, not_allowed
from xenet.model.hidden import Operation
from xenet.model.himn import is_himn
from xenet.model.host import Host, HostMetrics
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import NULL, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.allowed import check_unheld, check_unleft
from xenet.verbs.call import Work
from xenet.verbs.stack import check_size, find_by_name, find_foreign, want_plugged
from xenet.verbs.trunk_check import check_carries


def find_pif(state: PoolState, network: Ref, host: Ref) -> PIF | None:
    """The host's PIF on a network; there is at most one."""
    return next((pif for pif in state.where(PIF, "network", network) if pif.host == host), None)


def check_unconnected(state: PoolState, network: Network, host: Ref) -> None:
    """One PIF a network and host, one that may yet come back counted. Raises NETWORK_ALREADY_CONNECTED [host, pif],
    OTHER_OPERATION_IN_PROGRESS."""
    if (there := find_pif(state, network.ref, host)) is not None:
        raise Failure("NETWORK_ALREADY_CONNECTED", host, there.ref)
    check_unleft(state, network, host)


def sees(state: PoolState, host: Ref, network: Network) -> bool:
    """Whether a VM on this host can be on this network.

    With a PIF anywhere: the host must have one too, and not as a bond's slave. Without: such a network lives inside one
    host, so all running VMs on it must be on this one (XenServer's rule; other_config:assume_network_is_shared lifts it). The host internal
    management network is each host's own, on every host.
    """
    if state.refs_where("PIF", "network", network.ref):
        pif = find_pif(state, network.ref, host)
        return pif is not None and not is_slave(pif)
    if not network.managed or is_himn(network) or network.other_config.get("assume_network_is_shared") == "true":
        return True
    homes = hosts_using(state, network.ref)
    return not homes or host in homes


def hosts_using(state: PoolState, network: Ref) -> set[Ref]:
    """The hosts of running VMs with a plugged VIF on the network, wanted as well as real, so that two starts at once agree;
    and those where a VIF on its way off it may come back."""
    homes = {host for operation in state.where(Operation, "keeps", network) for host in operation.waiting}
    for vif in state.where(VIF, "network", network):
        vm = state.get(VM, vif.VM)
        if vif.plugged or vif.currently_attached:
            homes |= {host for host in (vm.running_on, vm.resident_on, vm.peer) if host != NULL}
    return homes


def vm_networks(state: PoolState, vm: VM) -> list[Network]:
    """The networks of a VM's VIFs, in the order of their devices."""
    vifs = sorted(state.where(VIF, "VM", vm.ref), key=lambda vif: int(vif.device))
    return [state.get(Network, vif.network) for vif in vifs]


def check_networks(state: PoolState, vm: VM, host: Ref) -> None:
    """Whether a VM can be on this host. Raises HOST_CANNOT_ATTACH_NETWORK [host, network] where the host's PIF is a bond's slave, else
    VM_REQUIRES_NETWORK [vm, network]; OPENVSWITCH_NOT_ACTIVE where a VIF has trunks and the host bridges."""
    for network in vm_networks(state, vm):
        if is_slave(find_pif(state, network.ref, host)):
            raise Failure("HOST_CANNOT_ATTACH_NETWORK", host, network.ref)
        if not sees(state, host, network):
            raise Failure("VM_REQUIRES_NETWORK", vm.ref, network.ref)
    check_carries(state, state.where(VIF, "VM", vm.ref), host)


def is_slave(pif: PIF | None) -> bool:
    """Of a bond: no VIF can be on its network here."""
    return pif is not None and pif.bond_slave_of != NULL


def the_host(state: PoolState, ref: Ref, *_: object) -> tuple[Ref]:
    """The host that a message's first argument names, itself or by a PIF of its. Raises HANDLE_INVALID, HOST_OFFLINE [host]."""
    pif = state.find(PIF, ref)
    host = pif.host if pif else state.get(Host, ref).ref
    check_live(state, host)
    return (host,)


def is_live(state: PoolState, host: Host) -> bool:
    metrics = state.find(HostMetrics, host.metrics)
    return metrics is not None and metrics.live


def check_live(state: PoolState, host: Ref) -> None:
    """Raises HOST_OFFLINE [host] when the host's agent is not there to act."""
    if not is_live(state, state.get(Host, host)):
        raise Failure("HOST_OFFLINE", host)


def bring_up(work: Work, host: Ref, network: Network) -> None:
    """Want the host's PIF on this network plugged. Raises BRIDGE_NOT_AVAILABLE [bridge] for an unmanaged network whose bridge nobody has made
    there, OPERATION_NOT_ALLOWED [text] for one of another kind than the host's switches; for an internal one BRIDGE_NAME_EXISTS [bridge] where
    somebody has its bridge, OPERATION_NOT_ALLOWED [text] where no switch can have its MTU; CANNOT_PLUG_BOND_SLAVE [pif],
    OTHER_OPERATION_IN_PROGRESS, also while a PIF that goes off it here may yet come back."""
    if not network.managed:
        bridge = find_foreign(work.state, network, host)
        if bridge is None:
            raise Failure("BRIDGE_NOT_AVAILABLE", network.bridge)
        if not bridge.fits:
            raise not_allowed(f"{bridge.name} is a bridge of the kernel, and this host's VIFs are ports of Open vSwitch")
        return
    pif = find_pif(work.state, network.ref, host)
    if pif is None:
        if find_by_name(work.state, network.bridge, host):
            raise Failure("BRIDGE_NAME_EXISTS", network.bridge)
        check_unleft(work.state, network, host)
        check_size(network, network.MTU)
        return
    if pif.bond_slave_of != NULL:
        raise Failure("CANNOT_PLUG_BOND_SLAVE", pif.ref)
    check_unheld(work.state, pif)
    work.need(pif)
    if pif.managed and not pif.plugged:
        want_plugged(work, pif)
