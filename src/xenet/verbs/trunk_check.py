"""What VIF.trunks may say, and where: tags of 802.1Q, on a network that is none of a VLAN's, on a host with Open vSwitch."""

from collections.abc import Iterable

from xenet.model.errors import Failure, not_allowed
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import NULL, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM

LAST_TAG = 4094
"""IEEE 802.1Q. Among trunks 0 stands for frames without a tag, as in Open vSwitch's own list."""


def checked_tags(tags: Iterable[int]) -> tuple[int, ...]:
    """Each once. Raises VLAN_TAG_INVALID [tag]."""
    found = tuple(dict.fromkeys(tags))
    for tag in found:
        if not 0 <= tag <= LAST_TAG:
            raise Failure("VLAN_TAG_INVALID", str(tag))
    return found


def check_untagged(state: PoolState, network: Network) -> None:
    """A network of a VLAN has that VLAN's frames alone. Raises NETWORK_INCOMPATIBLE_WITH_TRUNKS [network]."""
    if any(pif.VLAN >= 0 for pif in state.where(PIF, "network", network.ref)):
        raise Failure("NETWORK_INCOMPATIBLE_WITH_TRUNKS", network.ref)


def on_openvswitch(host: Host) -> bool:
    """Whether the host's switches are Open vSwitch's."""
    return host.software_version.get("network_backend") == "openvswitch"


def carries(state: PoolState, vifs: Iterable[VIF], host: Ref) -> bool:
    """Whether these VIFs can be ports there: a bridge does not hold a guest to a list of VLANs."""
    return not any(vif.trunks for vif in vifs) or on_openvswitch(state.get(Host, host))


def check_carries(state: PoolState, vifs: Iterable[VIF], host: Ref) -> None:
    """Raises OPENVSWITCH_NOT_ACTIVE."""
    if not carries(state, vifs, host):
        raise Failure("OPENVSWITCH_NOT_ACTIVE")


def check_trunks(state: PoolState, vif: VIF, network: Network) -> None:
    """Of a VIF that says what it shall say, on this network. Raises NETWORK_INCOMPATIBLE_WITH_TRUNKS [network]; OPENVSWITCH_NOT_ACTIVE where the
    host that it is plugged on has bridges, or every host has."""
    if not vif.trunks:
        return
    check_untagged(state, network)
    homes = homes_of(state, vif)
    if not all(on_openvswitch(host) for host in homes) or not any(on_openvswitch(host) for host in state.all(Host)):
        raise Failure("OPENVSWITCH_NOT_ACTIVE")


def homes_of(state: PoolState, vif: VIF) -> list[Host]:
    """The hosts that have it as a port, or shall: two while its VM moves."""
    vm = state.get(VM, vif.VM)
    return [state.get(Host, host) for host in (vm.running_on, vm.peer) if vif.plugged and host != NULL]


def check_no_trunks(state: PoolState, host: Ref) -> None:
    """Before a host gets bridges. Raises OPERATION_NOT_ALLOWED [text]."""
    for vif in state.all(VIF):
        if vif.trunks and any(home.ref == host for home in homes_of(state, vif)):
            tags = ", ".join(map(str, vif.trunks))
            text = f"VIF {vif.uuid} has trunks ({tags}), which need Open vSwitch: unplug it, or clear them with `xe vif-param-clear"
            raise not_allowed(f"{text} uuid={vif.uuid} param-name=trunks`")
