"""PIFs that stand on PIFs: what is below, what is above, and what one must be for the other."""

import re
from collections.abc import Callable, Mapping

import msgspec

from xenet.model.change import Draft
from xenet.model.derived import VLAN, Bond, Tunnel, TunnelProtocol
from xenet.model.errors import Failure, not_allowed
from xenet.model.hidden import ForeignBridge, HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF, device_name
from xenet.model.state import PoolState
from xenet.model.types import PIFRef, Record, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM

OVERHEAD: Mapping[TunnelProtocol, int] = {"vxlan": 50, "gre": 42}
"""Octets by which a tunnel's frames are larger than what they carry: RFC 7348, RFC 2890 with a key, over IPv4."""
LEAST_MTU, MOST_MTU = 68, 65535
"""What Linux gives an Ethernet device (linux/if_ether.h): a network may say anything until something of it shall be there."""
MANAGEMENT_ON_VLAN = "management-on-vlan"
"""The pool's other_config that allows what XenServer's releases of this network model do not support."""


def lower_pif(state: PoolState, pif: PIF) -> PIF | None:
    """The PIF below a VLAN's."""
    vlan = state.find(VLAN, pif.VLAN_master_of)
    return state.find(PIF, vlan.tagged_PIF) if vlan else None


def vlan_pifs(state: PoolState, pif: PIF) -> list[PIF]:
    """The PIFs of the VLANs on this one."""
    found = (state.find(PIF, vlan.untagged_PIF) for vlan in state.where(VLAN, "tagged_PIF", pif.ref))
    return [upper for upper in found if upper is not None]


def slaves_of(state: PoolState, bond: Bond) -> list[PIF]:
    """The PIFs that a bond is made of, by their devices."""
    return sorted(state.where(PIF, "bond_slave_of", bond.ref), key=lambda pif: pif.device)


def free_bond_device(state: PoolState, host: Ref) -> str:
    """`bond<n>` with the smallest n that no PIF of the host has."""
    taken = {pif.device for pif in state.where(PIF, "host", host)}
    return next(name for n in range(len(taken) + 1) if (name := f"bond{n}") not in taken)


def is_up(state: PoolState, pif: PIF) -> bool:
    """Whether the host shall have this PIF's device in use: for itself, or for a VLAN on it."""
    return pif.plugged or any(upper.plugged for upper in vlan_pifs(state, pif))


def has_address(pif: PIF) -> bool:
    """Whether the host is to have an address on this PIF, of either kind."""
    return pif.ip_configuration_mode != "None" or pif.ipv6_configuration_mode != "None"


def tunnel_of(state: PoolState, pif: PIF) -> Tunnel | None:
    """The tunnel whose access PIF this is."""
    return next(iter(state.where(Tunnel, "access_PIF", pif.ref)), None)


def find_left(state: PoolState, pif: Ref, gone: Callable[[Ref], bool]) -> Ref:
    """The PIF, or the one that it stands on where it will not be there: nobody could look up what an error says of it."""
    while gone(pif) and (below := _find_below(state, pif)):
        pif = below
    return pif


def _find_below(state: PoolState, pif: Ref) -> Ref | None:
    """Under a VLAN or a tunnel; of a bond the primary slave."""
    below: list[PIFRef] = [vlan.tagged_PIF for vlan in state.where(VLAN, "untagged_PIF", pif)]
    below += [tunnel.transport_PIF for tunnel in state.where(Tunnel, "access_PIF", pif)]
    below += [bond.primary_slave for bond in state.where(Bond, "master", pif)]
    return Ref(below[0]) if below else None


def access_pifs(state: PoolState, pif: PIF) -> list[PIF]:
    """The PIFs of the tunnels over this one."""
    return [state.get(PIF, tunnel.access_PIF) for tunnel in state.where(Tunnel, "transport_PIF", pif.ref)]


def configured_mtu(other_config: Mapping[str, str], network: Network) -> int:
    """What a PIF or VIF gets when it is plugged: its other_config:mtu if that is a size that Ethernet can have, else the network's.
    In bytes, without the Ethernet header."""
    return own_mtu(other_config) or network.MTU


def own_mtu(other_config: Mapping[str, str]) -> int:
    """0: none, or none that Ethernet can have."""
    own = other_config.get("mtu", "")
    return int(own) if re.fullmatch("[0-9]{2,5}", own) and LEAST_MTU <= int(own) <= MOST_MTU else 0


def find_wrong_size(network: Network, mtu: int) -> str:
    """Why no device can have what a network says, empty where it can."""
    fits = LEAST_MTU <= mtu <= MOST_MTU
    return "" if fits else f"MTU {mtu} of network {network.name_label} is none that Ethernet has, which is {LEAST_MTU} to {MOST_MTU}"


def check_size(network: Network, mtu: int) -> int:
    """The same MTU. Raises OPERATION_NOT_ALLOWED [text]."""
    if wrong := find_wrong_size(network, mtu):
        raise not_allowed(wrong)
    return mtu


def port_mtu(state: PoolState, vif: VIF, network: Network, host: Ref) -> int:
    """What a VIF gets when it is plugged into this network there: its other_config:mtu, else the network's MTU, or less where the switch
    has still another one. Raises OPERATION_NOT_ALLOWED [text] where its own is more than passes."""
    if (foreign := find_foreign(state, network, host)) is not None:
        return _foreign_mtu(foreign, vif)
    own = own_mtu(vif.other_config)
    if own:
        check_passes(state, vif, own, network, host)
    return own or check_size(network, min(tunnelled_mtu(state, network), _passing(state, _switch_pif(state, network, host), network)))


def check_passes(state: PoolState, vif: VIF, mtu: int, network: Network, host: Ref) -> None:
    """Frames larger than a network's switch passes there would be lost without a word. Raises OPERATION_NOT_ALLOWED [text]."""
    pif = _switch_pif(state, network, host)
    passes = _passing(state, pif, network)
    if mtu > passes:
        place = f"{device_name(pif)} passes on {state.get(Host, host).name_label}" if pif else f"network {network.name_label} passes"
        remedy = f"set a smaller one, or raise the network's MTU {'and plug that PIF again' if pif else 'first'}"
        raise not_allowed(f"MTU {mtu} of VIF {vif.uuid} is more than the {passes} that {place}; {remedy}")


def _switch_pif(state: PoolState, network: Network, host: Ref) -> PIF | None:
    return next((pif for pif in state.where(PIF, "network", network.ref) if pif.host == host and pif.managed), None)


def _passing(state: PoolState, pif: PIF | None, network: Network) -> int:
    return pif.MTU if pif and pif.plugged else tunnelled_mtu(state, network)


def _foreign_mtu(bridge: ForeignBridge, vif: VIF) -> int:
    """That of the bridge: a port with less would cut all of it down, and more would not pass. Raises OPERATION_NOT_ALLOWED [text]."""
    if own_mtu(vif.other_config) not in (0, bridge.mtu):
        raise not_allowed(f"VIF {vif.uuid} has another MTU (other_config:mtu) than {bridge.name}, which is not xenet's to change: {bridge.mtu}")
    return bridge.mtu


def find_foreign(state: PoolState, network: Network, host: Ref) -> ForeignBridge | None:
    """The bridge that an unmanaged network has on a host, where somebody made one."""
    return None if network.managed else find_by_name(state, network.bridge, host)


def find_by_name(state: PoolState, name: str, host: Ref) -> ForeignBridge | None:
    """A bridge of a host that is none of xenet's."""
    facts = state.find(HostFacts, host)
    return next((bridge for bridge in facts.bridges if bridge.name == name), None) if facts else None


def tunnelled_mtu(state: PoolState, network: Network) -> int:
    """What a network passes: its own MTU, or what the narrowest of its tunnels leaves room for."""
    tunnels = (tunnel for ref in state.refs_where("PIF", "network", network.ref) for tunnel in state.where(Tunnel, "access_PIF", ref))
    return min([network.MTU, *(room(state, tunnel) for tunnel in tunnels)])


def room(state: PoolState, tunnel: Tunnel) -> int:
    """The largest MTU that fits into a tunnel's frames."""
    return state.get(PIF, tunnel.transport_PIF).MTU - OVERHEAD[tunnel.protocol]


def want_plugged(draft: Draft, pif: PIF) -> PIF:
    """Want a PIF up, at the MTU that it is configured with by now; a tunnel's transport, too. Raises PIF_CONFIGURATION_ERROR [pif, text],
    TRANSPORT_PIF_NOT_CONFIGURED [transport]."""
    network = draft.state.get(Network, pif.network)
    mtu = configured_mtu(pif.other_config, network)
    if (tunnel := tunnel_of(draft.state, pif)) is not None:
        _want_transport(draft, draft.state.get(PIF, tunnel.transport_PIF))
        mtu = configured_mtu(pif.other_config, msgspec.structs.replace(network, MTU=tunnelled_mtu(draft.state, network)))
    try:
        check_mtu(draft.state, pif, mtu)
    except Failure as failure:
        left = find_left(draft.state, pif.ref, lambda ref: draft.base.find(PIF, ref) is None)
        raise Failure(failure.code, left, *failure.params[1:]) from failure
    return draft.update(pif, plugged=True, MTU=mtu)


def level_mtu(draft: Draft, pif: PIF) -> None:
    """The networks of a bond's slaves have the MTU of the bond's network, as in XenServer, so that nothing is too large when it goes."""
    mtu = draft.state.get(Network, pif.network).MTU
    for bond in draft.state.where(Bond, "master", pif.ref):
        for slave in slaves_of(draft.state, bond):
            draft.update(draft.state.get(Network, slave.network), MTU=mtu)


def _want_transport(draft: Draft, transport: PIF) -> None:
    if transport.ip_configuration_mode == "None":
        raise Failure("TRANSPORT_PIF_NOT_CONFIGURED", transport.ref)
    if not transport.plugged:
        want_plugged(draft, transport)


def check_mtu(state: PoolState, pif: PIF, mtu: int) -> None:
    """A VLAN's frames go through the device below, so that one takes frames as large: the kernel refuses another MTU, or cuts the upper
    one's down without a word. A NIC takes what it was built for, and no less may pass than what VIFs send. Raises
    PIF_CONFIGURATION_ERROR [pif, text]."""
    if wrong := find_wrong_size(state.get(Network, pif.network), mtu):
        raise Failure("PIF_CONFIGURATION_ERROR", pif.ref, wrong)
    check_nics(state, pif, mtu)
    lower = lower_pif(state, pif)
    if lower is not None and mtu > lower.MTU:
        raise too_large(pif.ref, f"VLAN {pif.VLAN}", mtu, lower)
    _check_room(state, pif, mtu)
    for over in state.where(Tunnel, "transport_PIF", pif.ref):
        access = state.get(PIF, over.access_PIF)
        if access.plugged and mtu - OVERHEAD[over.protocol] < access.MTU:
            text = f"MTU {mtu} leaves less than the {access.MTU} of {access.device} over {pif.device}; unplug that one first"
            raise Failure("PIF_CONFIGURATION_ERROR", pif.ref, text)
    for upper in vlan_pifs(state, pif):
        if upper.plugged and mtu < upper.MTU:
            raise Failure("PIF_CONFIGURATION_ERROR", pif.ref, f"MTU {mtu} is less than the {upper.MTU} of VLAN {upper.VLAN} on {pif.device}")
    for vif in state.where(VIF, "network", pif.network):
        if vif.plugged and mtu < vif.MTU and state.get(VM, vif.VM).running_on == pif.host:
            text = f"MTU {mtu} is less than the {vif.MTU} of VIF {vif.uuid}, whose larger frames would be lost; unplug that one first"
            raise Failure("PIF_CONFIGURATION_ERROR", pif.ref, text)


def check_own_mtu(state: PoolState, record: Record, other_config: Mapping[str, str]) -> None:
    """A tunnel's end never gets more than its transport leaves, so that is said when it is asked for. What said so before may stay. Raises
    PIF_CONFIGURATION_ERROR [pif, text]."""
    if isinstance(record, PIF) and (mtu := own_mtu(other_config)) != own_mtu(record.other_config):
        _check_room(state, record, mtu)


def _check_room(state: PoolState, pif: PIF, mtu: int) -> None:
    tunnel = tunnel_of(state, pif)
    if tunnel is not None and mtu > room(state, tunnel):
        what = f"{pif.device}, with the {OVERHEAD[tunnel.protocol]} octets of {tunnel.protocol},"
        raise too_large(pif.ref, what, mtu, state.get(PIF, tunnel.transport_PIF))


def check_nics(state: PoolState, pif: PIF, mtu: int) -> None:
    """Raises PIF_CONFIGURATION_ERROR [pif, text] where a NIC below takes no frames as large."""
    slaves = (slave for bond in state.where(Bond, "master", pif.ref) for slave in slaves_of(state, bond))
    devices = {nic.device for nic in (pif, *slaves) if nic.physical}
    facts = state.find(HostFacts, pif.host)
    for nic in facts.nics if facts else ():
        if nic.device in devices and 0 < nic.max_mtu < mtu:
            text = f"MTU {mtu} is more than {nic.device} takes, which is {nic.max_mtu}; set a smaller one, of the network or as other_config:mtu"
            raise Failure("PIF_CONFIGURATION_ERROR", pif.ref, text)


def too_large(blamed: Ref, what: str, mtu: int, lower: PIF) -> Failure:
    """Says what to do, too."""
    problem = f"MTU {mtu} of {what} is more than the {lower.MTU} of {lower.device} below it"
    text = f"{problem}; raise that one first, or lower the network's, or the PIF's other_config:mtu"
    return Failure("PIF_CONFIGURATION_ERROR", blamed, text)


def check_management_on_vlan(other_config: Mapping[str, str], pif: PIF) -> None:
    """Management frames have no tag, as long as the pool does not say otherwise. Raises PIF_CONFIGURATION_ERROR [pif, text]."""
    if pif.VLAN >= 0 and other_config.get(MANAGEMENT_ON_VLAN) != "true":
        text = (
            "management on a VLAN is not supported: make it the native VLAN of the physical switch's port and use the untagged PIF, "
            f"or allow it with `xe pool-param-set uuid=... other-config:{MANAGEMENT_ON_VLAN}=true`"
        )
        raise Failure("PIF_CONFIGURATION_ERROR", pif.ref, text)
