"""From the pool's state to the HostView that one host must have. Compiled bridge by bridge, so that a change costs only the bridges it touches."""

from collections.abc import Iterator

from xenet.model.guests import GuestKind, default_kind, kind_of, port_name
from xenet.model.hidden import Edit
from xenet.model.netmask import prefix_of
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.plan.view import GuestView, HostView, PortView, RouteView, SwitchView, UplinkView

DEFAULT_ROUTE = "0.0.0.0/0"


def compile_host(state: PoolState, host: Ref) -> HostView:
    """All that this host must have."""
    bridges = {network.bridge for network in state.all(Network)}
    switches = {bridge: switch for bridge in bridges if (switch := compile_switch(state, host, bridge)) is not None}
    return HostView(switches, {guest.vm: guest for guest in compile_guests(state, host)})


def compile_switch(state: PoolState, host: Ref, bridge: str) -> SwitchView | None:
    """The switch that this host must have by this name; None: none.

    An external network's switch is there while its PIF is plugged; an internal one's while a VIF is plugged here.
    """
    network = next(iter(state.where(Network, "bridge", bridge)), None)
    if network is None or not network.managed:
        return None
    pif = next((p for p in state.where(PIF, "network", network.ref) if p.host == host), None)
    ports = {port.device: port for port in _ports(state, host, network)}
    if pif is None:
        return SwitchView(bridge, network.uuid, mtu=network.MTU, ports=ports) if ports else None
    if not pif.plugged or not pif.managed:
        return None
    return SwitchView(
        bridge,
        network.uuid,
        mac=pif.MAC,
        mtu=pif.MTU,
        uplink=UplinkView(pif.device, pif.MTU),
        ports=ports,
        addresses=_addresses(pif),
        routes=tuple(sorted(_routes(network, pif))),
    )


def _ports(state: PoolState, host: Ref, network: Network) -> Iterator[PortView]:
    default = default_kind(state)
    for ref in state.refs_where("VIF", "network", network.ref):
        vif = state.get(VIF, ref)
        if not vif.plugged:
            continue
        vm = state.get(VM, vif.VM)
        if vm.running_on == host:
            yield _port(vif, vm, kind_of(vm, default))


def _port(vif: VIF, vm: VM, kind: GuestKind) -> PortView:
    return PortView(port_name(vif, vm, kind), vif.uuid, vm.uuid, int(vif.device), vif.MAC.lower(), vif.MTU, kind)


def compile_guests(state: PoolState, host: Ref) -> Iterator[GuestView]:
    """The VMs that this host itself holds up."""
    default = default_kind(state)
    for ref in state.refs_where("VM", "running_on", host):
        vm = state.get(VM, ref)
        if kind_of(vm, default) == "namespace":
            yield GuestView(vm.uuid, vm.domid, vm.name_label)


def _addresses(pif: PIF) -> tuple[str, ...]:
    v4 = [f"{pif.IP}/{prefix_of(pif.netmask)}"] if pif.ip_configuration_mode == "Static" and pif.IP else []
    v6 = [address for address in pif.IPv6 if address] if pif.ipv6_configuration_mode == "Static" else []
    return tuple(sorted((*v4, *v6)))


def _routes(network: Network, pif: PIF) -> Iterator[RouteView]:
    if pif.ip_configuration_mode == "Static" and pif.gateway and pif.management:
        yield RouteView(DEFAULT_ROUTE, pif.gateway)
    for entry in network.other_config.get("static-routes", "").split(","):
        parts = entry.strip().split("/")
        if len(parts) == 3:
            yield RouteView(f"{parts[0]}/{parts[1]}", parts[2])


def affected_bridges(before: PoolState, after: PoolState, edit: Edit) -> set[str]:
    """The bridges that an edit may change, on any host."""
    networks: set[Ref] = set()
    for state in (before, after):
        match edit.cls:
            case "network":
                networks.add(edit.ref)
            case "VIF":
                networks |= {vif.network for vif in (state.find(VIF, edit.ref),) if vif}
            case "PIF":
                networks |= {pif.network for pif in (state.find(PIF, edit.ref),) if pif}
            case "VM":
                networks |= {vif.network for vif in state.where(VIF, "VM", edit.ref)}
            case _:
                pass
    found = (state.find(Network, ref) for state in (before, after) for ref in networks)
    return {network.bridge for network in found if network is not None}
