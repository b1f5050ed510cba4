"""From the pool's state to the switches and guests of one host. Compiled bridge by bridge, so that a change costs only the bridges it touches."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from xenet.model.derived import VLAN, Bond, Tunnel
from xenet.model.guests import GuestKind, default_kind, kind_of, port_kind, port_name
from xenet.model.hidden import Attachment, Edit
from xenet.model.himn import MAC, host_address, is_himn
from xenet.model.network import Network
from xenet.model.pif import PIF, device_name
from xenet.model.state import PoolState
from xenet.model.types import NULL, PREFIX, Ref, ref_of
from xenet.model.vif import VIF
from xenet.model.vm import VM, born_as
from xenet.plan.bond import bond_view
from xenet.plan.ethtool import OFFLOADS, ON_A_VIF, of_uplink, settings_of
from xenet.plan.layer3 import addresses_of, advertisements_of, routes_of
from xenet.plan.limit import rate_of
from xenet.plan.lock import lock_of, mode_of
from xenet.plan.machine import compile_machine, is_moving, is_not_here
from xenet.plan.mesh import find_tunnel
from xenet.plan.mirror import mirrors_of
from xenet.plan.view import GuestView, MirrorView, PortView, Settings, SwitchView, UplinkView, VLANView
from xenet.plan.vswitch import trunks_of, vswitch_of


def compile_switch(state: PoolState, host: Ref, bridge: str, absent: AbstractSet[str] = frozenset()) -> SwitchView | None:
    """The switch that this host must have by this name; None: none. `absent`: the VMs (by uuid) that shall run here, but have yet to come.

    An external network's switch is there while its PIF is plugged, or that of a VLAN on it; an internal one's while a VIF is plugged here, or it is
    attached.
    Of an unmanaged network's, which is somebody else's, the ports alone are wanted.
    """
    network = next(iter(state.where(Network, "bridge", bridge)), None)
    if network is None:
        return None
    ports = {port.device: port for port in _ports(state, host, network, absent)}
    if not network.managed:
        return SwitchView(bridge, "", ports=ports, foreign=True) if ports else None
    pif = next((p for p in state.where(PIF, "network", network.ref) if p.host == host), None)
    if pif is None:
        return _internal(network, ports, mirrors_of(state, network, host, ports)) if ports or is_attached(state, network, host) else None
    vlan = state.find(VLAN, pif.VLAN_master_of)
    lower = state.find(PIF, vlan.tagged_PIF) if vlan else None
    if not pif.managed or (pif.VLAN >= 0 and lower is None) or not (pif.plugged or _carries(state, pif)):
        return None
    return SwitchView(
        bridge,
        network.uuid,
        mac=(lower or pif).MAC.lower(),
        mtu=pif.MTU,
        uplink=_uplink(state, pif, lower),
        ports=ports,
        addresses=addresses_of(pif) if pif.plugged else (),
        routes=routes_of(state, network, pif) if pif.plugged else (),
        advertisements=advertisements_of(state, pif) if pif.plugged else None,
        ethtool=_told(network),
        mirrors=mirrors_of(state, network, host, ports),
        **vswitch_of(state, network, pif),
    )


def _internal(network: Network, ports: Mapping[str, PortView], mirrors: tuple[MirrorView, ...]) -> SwitchView:
    """Without a PIF; the host has an address on its internal management network alone."""
    if not is_himn(network):
        return SwitchView(network.bridge, network.uuid, mtu=network.MTU, ports=ports, ethtool=_told(network), mirrors=mirrors)
    own = host_address(network)
    addresses = (own,) if own else ()
    switch = SwitchView(network.bridge, network.uuid, mac=MAC, mtu=network.MTU, ports=ports, addresses=addresses, ethtool=_told(network))
    return msgspec.structs.replace(switch, mirrors=mirrors)


def is_attached(state: PoolState, network: Network, host: Ref) -> bool:
    """Whether a host shall have an internal network's switch without a VIF."""
    return any(attachment.host == host for attachment in state.where(Attachment, "network", network.ref))


def _told(network: Network) -> Settings:
    return settings_of(network.other_config, OFFLOADS)


def _uplink(state: PoolState, pif: PIF, lower: PIF | None) -> UplinkView | None:
    """None for a tunnel's end as long as its transport has no address."""
    if lower:
        return UplinkView(device_name(pif), pif.MTU, vlan=VLANView(lower.device, pif.VLAN))
    tunnel = find_tunnel(state, pif)
    if tunnel is None and state.refs_where("tunnel", "access_PIF", pif.ref):
        return None
    return UplinkView(pif.device, pif.MTU, bond=bond_view(state, pif), tunnel=tunnel, ethtool=of_uplink(state, pif))


def _carries(state: PoolState, pif: PIF) -> bool:
    """Whether a VLAN on this PIF is in use: then its switch stays when it is unplugged, as on a XenServer, without the host's addresses."""
    uppers = (state.find(PIF, vlan.untagged_PIF) for vlan in state.where(VLAN, "tagged_PIF", pif.ref))
    return any(upper is not None and upper.plugged for upper in uppers)


def _ports(state: PoolState, host: Ref, network: Network, absent: AbstractSet[str]) -> Iterator[PortView]:
    default = default_kind(state)
    for ref in state.refs_where("VIF", "network", network.ref):
        vif = state.get(VIF, ref)
        if not vif.plugged:
            continue
        vm = state.get(VM, vif.VM)
        if host in (vm.running_on, vm.peer):
            port = _port(vif, vm, kind_of(vm, default), network, host, vm.uuid in absent)
            yield _trunked(port, vif, network, trunks_of(state, vif, host))


def _port(vif: VIF, vm: VM, kind: GuestKind, network: Network, host: Ref, absent: bool) -> PortView:
    shut = kind == "qemu" and is_not_here(vm, host, absent)
    domid = vm.domid if vm.running_on == host else vm.peer_domid
    return PortView(
        port_name(vif, domid, kind),
        vif.uuid,
        vm.uuid,
        int(vif.device),
        vif.MAC.lower(),
        vif.MTU,
        port_kind(kind),
        up=mode_of(vif, network) != "disabled" and not shut,
        rate=rate_of(vif),
        lock=lock_of(vif, network),
        ethtool=settings_of(vif.other_config, ON_A_VIF),
        moving=is_moving(vm, host, absent),
    )


def _trunked(port: PortView, vif: VIF, network: Network, trunks: tuple[int, ...]) -> PortView:
    return msgspec.structs.replace(port, trunks=trunks, lock=lock_of(vif, network, trunks)) if trunks else port


def compile_guests(state: PoolState, host: Ref) -> Iterator[GuestView]:
    """The VMs that this host itself holds up."""
    found = (compile_guest(state, host, uuid) for uuid in vms_on(state, host))
    return (guest for guest in found if guest is not None)


def vms_on(state: PoolState, host: Ref) -> set[str]:
    """The uuids of the VMs that shall run on this host or are on their way to or from it, whatever their guests are."""
    return {ref.removeprefix(PREFIX) for field in ("running_on", "peer") for ref in state.refs_where("VM", field, host)}


def compile_guest(state: PoolState, host: Ref, uuid: str) -> GuestView | None:
    """The guest that this host must hold up for a VM; None: none."""
    vm = state.find(VM, ref_of(uuid))
    kind = kind_of(vm, default_kind(state)) if vm else "tap"
    if vm is None or kind == "tap":
        return None
    if kind == "qemu":
        return compile_machine(state, host, vm)
    return GuestView(vm.uuid, born_as(vm), vm.name_label) if vm.running_on == host else None


def is_due_elsewhere(state: PoolState, host: Ref, guest: GuestView) -> bool:
    """Whether another host is about to take this very guest over, a namespace: then it is none of this one's."""
    vm = state.find(VM, ref_of(guest.vm))
    return guest.kind == "namespace" and vm is not None and vm.running_on not in (host, NULL) and born_as(vm) == guest.domid


_READ = {
    "network": frozenset({"bridge", "managed", "MTU", "other_config", "default_locking_mode", "mirror_to"}),
    "PIF": frozenset(
        {
            "network",
            "host",
            "device",
            "plugged",
            "managed",
            "MAC",
            "VLAN",
            "VLAN_master_of",
            "bond_slave_of",
            "MTU",
            "management",
            "gateway",
            "other_config",
            "properties",
            "primary_address_type",
        }
        | {"ip_configuration_mode", "IP", "netmask", "ipv6_configuration_mode", "IPv6", "ipv6_gateway"}
    ),
    "VLAN": frozenset({"tagged_PIF", "untagged_PIF", "tag"}),
    "Bond": frozenset({"master", "primary_slave", "mode", "properties"}),
    "tunnel": frozenset({"access_PIF", "transport_PIF", "protocol", "key"}),
    "VIF": frozenset(
        {"network", "VM", "device", "plugged", "MAC", "MTU", "qos_algorithm_type", "qos_algorithm_params"}
        | {"other_config", "locking_mode", "ipv4_allowed", "ipv6_allowed", "mirror_to", "trunks"}
    ),
    "VM": frozenset({"running_on", "domid", "other_config", "born", "peer", "peer_domid", "handing_over", "taken_back", "crossing"}),
    "attachment": frozenset({"network", "host"}),
    "pool": frozenset({"other_config", "igmp_snooping_enabled"}),
    "host": frozenset({"software_version"}),
}
"""The fields that a SwitchView is made of: an edit of any other field (operations come and go with every call) changes none."""
_GUEST = _READ["VM"] | {"name_label", "halting", "way"}
"""The fields of a VM that its guest is made of."""
_NIC = frozenset({"plugged", "MAC"})
"""The same of a VIF."""


def _touches(edit: Edit, fields: frozenset[str]) -> bool:
    """Whether an edit makes, removes or changes a record in one of these fields."""
    return edit.before is None or edit.after is None or not fields.isdisjoint(edit.after)


def affected_bridges(before: PoolState, after: PoolState, edit: Edit) -> set[str]:
    """The bridges that an edit may change, on any host."""
    if edit.cls not in _READ or not _touches(edit, _READ[edit.cls]):
        return set()
    networks = {ref for state in (before, after) for ref in _networks_of(state, edit)}
    found = (state.find(Network, ref) for state in (before, after) for ref in networks)
    return {network.bridge for network in found if network is not None}


def _networks_of(state: PoolState, edit: Edit) -> Iterator[Ref]:
    """The networks that a record has a part in."""
    match edit.cls:
        case "network":
            yield edit.ref
        case "VIF":
            yield from (vif.network for vif in (state.find(VIF, edit.ref),) if vif)
        case "attachment":
            yield from (attachment.network for attachment in (state.find(Attachment, edit.ref),) if attachment)
        case "PIF":
            yield from _networks_beside(state, edit.ref)
        case "VLAN":
            vlan = state.find(VLAN, edit.ref)
            yield from _networks_beside(state, vlan.tagged_PIF) if vlan else ()
        case "Bond":
            bond = state.find(Bond, edit.ref)
            yield from _networks_beside(state, bond.master) if bond else ()
        case "tunnel":
            tunnel = state.find(Tunnel, edit.ref)
            yield from _networks_beside(state, tunnel.access_PIF) if tunnel else ()
        case "VM":
            yield from (vif.network for vif in state.where(VIF, "VM", edit.ref))
        case "pool" | "host":
            yield from (network.ref for network in state.all(Network))


def _networks_beside(state: PoolState, pif: Ref) -> Iterator[Ref]:
    """Of all PIFs of this one's host: which one has the default route may change with any."""
    found = state.find(PIF, pif)
    if found is not None:
        yield from (other.network for other in state.where(PIF, "host", found.host))


def affected_vms(after: PoolState, host: Ref, edit: Edit) -> set[str]:
    """The uuids of the VMs whose guests on this host an edit may change."""
    if edit.cls == "VM" and _touches(edit, _GUEST):
        return {edit.ref.removeprefix(PREFIX)}
    if edit.cls == "VIF" and _touches(edit, _NIC):
        return _with_nics(after, edit)
    return vms_on(after, host) if edit.cls == "pool" and _touches(edit, _READ["pool"]) else set()


def _with_nics(after: PoolState, edit: Edit) -> set[str]:
    """The VM of a VIF, if its guest is given NICs: a namespace has them by the port alone."""
    vif = after.find(VIF, edit.ref)
    vm = after.find(VM, vif.VM) if vif else None
    return {vm.uuid} if vm is not None and kind_of(vm, default_kind(after)) == "qemu" else set()
