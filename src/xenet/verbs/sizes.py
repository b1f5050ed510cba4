"""How large a frame may be at each place of a network, from the records: what every device on the way takes. A device drops what is larger,
and tells nobody."""

from collections.abc import Iterator

from xenet.model.guests import default_kind, kind_of, port_name
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF, device_name
from xenet.model.state import PoolState
from xenet.model.types import NetworkRef, StrMap
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.call import Call
from xenet.verbs.registry import message


@message("network", tuple[StrMap, ...], ours=True)
def get_mtus(call: Call, self: NetworkRef) -> list[dict[str, str]]:
    """The devices that a network's frames pass: maps of host, device, owner (`PIF uuid` or `VIF uuid`) and mtu, by host and device. A
    frame's size without its Ethernet header is at most the least mtu on its way."""
    call.state.get(Network, self)
    rows = [*_pifs(call.state, self), *_vifs(call.state, self)]
    return [dict(zip(("host", "device", "owner", "mtu"), row, strict=True)) for row in sorted(rows)]


def _pifs(state: PoolState, network: NetworkRef) -> Iterator[tuple[str, str, str, str]]:
    for pif in state.where(PIF, "network", network):
        if pif.plugged:
            yield state.get(Host, pif.host).name_label, device_name(pif), f"PIF {pif.uuid}", str(pif.MTU)


def _vifs(state: PoolState, network: NetworkRef) -> Iterator[tuple[str, str, str, str]]:
    default = default_kind(state)
    for vif in state.where(VIF, "network", network):
        vm = state.get(VM, vif.VM)
        host = state.find(Host, vm.running_on)
        if vif.plugged and host is not None:
            yield host.name_label, port_name(vif, vm.domid, kind_of(vm, default)), f"VIF {vif.uuid}", str(vif.MTU)
