"""network: create, destroy, purposes, locking mode, and the MAC tables that only hosts know."""

from collections.abc import Iterator
from typing import Annotated, Any

from xenet.model.errors import Failure, invalid_value
from xenet.model.guests import default_kind, kind_of, port_name
from xenet.model.hidden import Operation
from xenet.model.host import Host
from xenet.model.network import Network, NetworkLockingMode, NetworkPurpose
from xenet.model.pif import device_name
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.types import HostRef, NetworkRef, OfRecord, Ref, StrMap
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.allowed import check_unheld
from xenet.verbs.attach import find_pif, hosts_using, is_live
from xenet.verbs.call import Call, Outcome, Question, Work
from xenet.verbs.generic import construct
from xenet.verbs.mirror import check_mirror
from xenet.verbs.registry import message

BRIDGE_NAME_LIMIT = 15
"""Linux: IFNAMSIZ less the terminating zero."""
RESERVED_PREFIXES = ("xen", "xapi", "vif", "tap", "eth")
EXCLUSIVE = {"nbd": "insecure_nbd", "insecure_nbd": "nbd"}


@message("network", NetworkRef)
def create(call: Call, record: Annotated[dict[str, Any], OfRecord("network")]) -> Outcome:
    """A record only: the bridge comes into being where and when the network is used."""
    work = Work(call)
    network: Network = construct(Network, call.entropy.uuid(), record)
    check_mirror(call.state, network, network.other_config)
    bridge = network.bridge
    if bridge and not call.internal:
        check_bridge_name(call.state, bridge)
    bridge = bridge or take_bridge_name(work)
    mtu = network.MTU if network.MTU > 0 else 1500
    work.put(network)
    return work.outcome(work.update(network, bridge=bridge, MTU=mtu).ref)


def check_bridge_name(state: PoolState, bridge: str) -> None:
    """Raises INVALID_VALUE ["bridge", name], BRIDGE_NAME_EXISTS [name]."""
    if bridge.startswith(RESERVED_PREFIXES):
        raise invalid_value("bridge", bridge)
    check_device_name(state, bridge)


def check_device_name(state: PoolState, bridge: str) -> None:
    """The same for a bridge that a host or another pool has named."""
    if len(bridge) > BRIDGE_NAME_LIMIT or not _is_device_name(bridge):
        raise invalid_value("bridge", bridge)
    if state.refs_where("network", "bridge", bridge):
        raise Failure("BRIDGE_NAME_EXISTS", bridge)


def _is_device_name(name: str) -> bool:
    """What the kernel's dev_valid_name takes."""
    return name not in (".", "..") and not any(c in "/:" or c.isspace() or not c.isprintable() for c in name)


def take_bridge_name(work: Work) -> str:
    """The next `xapiN` that no network has, never one that was given before. Raises HOST_STILL_BOOTING before the first host
    has come, which brings the pool."""
    pool = next(work.state.all(Pool), None)
    if pool is None:
        raise Failure("HOST_STILL_BOOTING")
    number = pool.next_xapi
    while work.state.refs_where("network", "bridge", f"xapi{number}"):
        number += 1
    work.update(pool, next_xapi=number + 1)
    return f"xapi{number}"


def count_bridge_name(work: Work, bridge: str) -> None:
    """A name that came from elsewhere is never given again either."""
    number = bridge.removeprefix("xapi")
    for pool in work.state.all(Pool):
        if bridge.startswith("xapi") and number.isdecimal() and int(number) >= pool.next_xapi:
            work.update(pool, next_xapi=int(number) + 1)


@message("network")
def destroy(call: Call, self: NetworkRef) -> Outcome:
    """VIFs that are not attached go with the network, as in XenServer. What is on its way off the network may come back."""
    state = call.state
    network = state.get(Network, self)
    check_unheld(state, network)
    vifs = state.where(VIF, "network", self)
    in_use = [vif.ref for vif in vifs if vif.currently_attached or vif.plugged or vif.current_operations]
    coming_back = [operation.objects[0] for operation in state.where(Operation, "keeps", self)]
    in_use += [ref for ref in coming_back if state.find(VIF, ref) is not None]
    if in_use:
        raise Failure("NETWORK_CONTAINS_VIF", *in_use)
    pifs = [*state.refs_where("PIF", "network", self), *coming_back]
    if pifs:
        raise Failure("NETWORK_CONTAINS_PIF", *pifs)
    if network.other_config.get("is_host_internal_management_network") == "true":
        raise Failure("CANNOT_DESTROY_SYSTEM_NETWORK", self)
    work = Work(call)
    for vif in vifs:
        work.delete(vif)
    work.delete(network)
    return work.outcome()


@message("network")
def set_default_locking_mode(call: Call, network: NetworkRef, value: NetworkLockingMode) -> Outcome:
    record = call.state.get(Network, network)
    for vif in call.state.where(VIF, "network", network):
        if vif.currently_attached:
            raise Failure("VIF_IN_USE", network, vif.ref)
    work = Work(call)
    work.update(record, default_locking_mode=value)
    return work.outcome()


@message("network")
def add_purpose(call: Call, self: NetworkRef, value: NetworkPurpose) -> Outcome:
    network = call.state.get(Network, self)
    if not network.managed:
        raise Failure("NETWORK_UNMANAGED", self)
    if any(EXCLUSIVE[value] in other.purpose for other in call.state.all(Network)):
        raise Failure("NETWORK_INCOMPATIBLE_PURPOSES", value, EXCLUSIVE[value])
    work = Work(call)
    work.update(network, purpose=network.purpose if value in network.purpose else (*network.purpose, value))
    return work.outcome()


@message("network")
def remove_purpose(call: Call, self: NetworkRef, value: NetworkPurpose) -> Outcome:
    network = call.state.get(Network, self)
    if not network.managed:
        raise Failure("NETWORK_UNMANAGED", self)
    work = Work(call)
    work.update(network, purpose=tuple(p for p in network.purpose if p != value))
    return work.outcome()


@message("network", tuple[StrMap, ...], ours=True)
def get_fdb(call: Call, self: NetworkRef) -> Question:
    """The MAC tables of the network's switches, asked of every live host where it has one: maps of host, mac, port, owner
    (`VIF uuid`, `PIF uuid` or empty), age (seconds since last heard) and local (true: the switch's own address). Raises CANNOT_CONTACT_HOST
    [host], and INTERNAL_ERROR [text] where a host cannot read its table."""
    state = call.state
    network = state.get(Network, self)
    hosts = tuple(host.ref for host in _having(state, self) if is_live(state, host))
    return Question(hosts, "fdb", network.bridge, lambda said: _fdb_rows(state, self, said))


@message("network", tuple[HostRef, ...], ours=True)
def get_silent_hosts(call: Call, self: NetworkRef) -> list[Ref]:
    """The hosts that have a switch of the network and are left out of its MAC tables, as their agents are not there to answer."""
    call.state.get(Network, self)
    return [host.ref for host in _having(call.state, self) if not is_live(call.state, host)]


def _having(state: PoolState, network: Ref) -> list[Host]:
    using = hosts_using(state, network)
    return [host for host in state.all(Host) if find_pif(state, network, host.ref) is not None or host.ref in using]


def _ports(state: PoolState, network: Ref) -> Iterator[tuple[str, str]]:
    default = default_kind(state)
    for vif in state.where(VIF, "network", network):
        vm = state.get(VM, vif.VM)
        for domid in (vm.domid, vm.peer_domid):
            yield port_name(vif, domid, kind_of(vm, default)), vif.uuid


def _fdb_rows(state: PoolState, network: Ref, said: dict[Ref, list[dict[str, str]]]) -> list[dict[str, str]]:
    vifs = dict(_ports(state, network))
    rows = []
    for host, lines in said.items():
        pif = find_pif(state, network, host)
        owners = {device: f"VIF {uuid}" for device, uuid in vifs.items()}
        if pif is not None:
            owners[device_name(pif)] = f"PIF {pif.uuid}"
        name = state.get(Host, host).name_label
        rows += [{"host": name, "owner": owners.get(line["port"], ""), **line} for line in lines]
    return rows
