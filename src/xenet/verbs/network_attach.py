"""network: have it on a host without a VIF on it, as XenServer's own services ask for; and the record alone, as a pool takes it over."""

from xenet.model.change import Draft
from xenet.model.errors import Failure
from xenet.model.network import Network, NetworkPurpose
from xenet.model.state import PoolState
from xenet.model.types import HostRef, NetworkRef, PIFRef, Ref, StrMap, VMRef
from xenet.model.vm import VM
from xenet.verbs.allowed import check_unheld
from xenet.verbs.attach import bring_up, check_live, check_networks, find_pif, hosts_using, sees, vm_networks
from xenet.verbs.attachments import hold, release
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.network import check_device_name, count_bridge_name, take_bridge_name
from xenet.verbs.pif import plug
from xenet.verbs.registry import message


@message("network", hidden=True)
def attach(call: Call, network: NetworkRef, host: HostRef) -> Outcome:
    """Have the network on a host: its PIF there is plugged, or applied anew; an internal one is there until the last VIF that comes to it
    has gone. Raises HOST_OFFLINE [host], HOST_CANNOT_ATTACH_NETWORK [host, network], BRIDGE_NOT_AVAILABLE [bridge] and what PIF.plug
    raises."""
    record = call.state.get(Network, network)
    check_live(call.state, host)
    if not sees(call.state, host, record):
        raise Failure("HOST_CANNOT_ATTACH_NETWORK", host, network)
    pif = find_pif(call.state, network, host)
    return plug(call, PIFRef(pif.ref)) if pif else _attach(call, [record], host)


@message("network", hidden=True)
def attach_for_vm(call: Call, host: HostRef, vm: VMRef) -> Outcome:
    """All networks of a VM that is about to come. Raises what `attach` does, VM_REQUIRES_NETWORK [vm, network] for one that is out of reach."""
    machine = call.state.get(VM, vm)
    check_live(call.state, host)
    check_networks(call.state, machine, host)
    return _attach(call, _unique(call.state, machine), host)


@message("network", hidden=True)
def detach_for_vm(call: Call, host: HostRef, vm: VMRef) -> Outcome:
    """The internal ones of a VM's networks leave a host, but for those that VIFs use or that persist. PIFs stay plugged."""
    machine = call.state.get(VM, vm)
    check_live(call.state, host)
    work = Work(call)
    going = [network for network in _unique(call.state, machine) if host not in hosts_using(call.state, network.ref)]
    for network in going:
        release(work, network, host)
    if not work.change().edits:
        return work.outcome()
    return work.await_host(host, [(network, "attaching") for network in going], _nothing)


def _unique(state: PoolState, vm: VM) -> list[Network]:
    return list({network.ref: network for network in vm_networks(state, vm)}.values())


def _attach(call: Call, networks: list[Network], host: Ref) -> Outcome:
    work = Work(call)
    doing: list[tuple[Network, str]] = []
    for network in networks:
        bring_up(work, host, network)
        if not network.managed:
            continue
        check_unheld(call.state, network)
        doing.append((network, "attaching"))
        if find_pif(call.state, network.ref, host) is None:
            hold(work, network, host)
    return work.await_host(host, doing, _nothing) if doing else work.outcome()


def _nothing(draft: Draft) -> None:
    """Success adds nothing."""


@message("network", NetworkRef, hidden=True)
def pool_introduce(
    call: Call,
    name_label: str,
    name_description: str,
    MTU: int,
    other_config: StrMap,
    bridge: str,
    managed: bool = True,
    purpose: tuple[NetworkPurpose, ...] = (),
) -> Outcome:
    """The record of another pool's network, as it is: its bridge may have any name that a device can have. Raises INVALID_VALUE
    ["bridge", name], BRIDGE_NAME_EXISTS [name]."""
    work = Work(call)
    if bridge:
        check_device_name(call.state, bridge)
        count_bridge_name(work, bridge)
    told = {"name_label": name_label, "name_description": name_description, "other_config": other_config, "managed": managed, "purpose": purpose}
    network = Network(uuid=call.entropy.uuid(), MTU=MTU if MTU > 0 else 1500, bridge=bridge or take_bridge_name(work), **told)  # type: ignore[arg-type]
    return work.outcome(work.put(network).ref)
