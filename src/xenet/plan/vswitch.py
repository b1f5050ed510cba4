"""What is said of an Open vSwitch bridge: other_config of the pool, the network and the PIF, of which the last one that says it counts; and the
pool's IGMP snooping, on networks with a PIF. As on a XenServer. And of its ports, the VLANs that a VIF has beside its network.

But a tunnelled network's bridge does not snoop: to where ovs-vswitchd sends what was asked for it sends from one tunnel's port to another as
well (ofproto-dpif-xlate.c heeds `protected` for what is known or flooded only), and a mesh would have loops."""

from typing import Any

from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.types import NULL, Ref
from xenet.model.vif import VIF


def vswitch_of(state: PoolState, network: Network, pif: PIF) -> dict[str, Any]:
    """Fields of a SwitchView. Nothing on a host whose switches are bridges, nor for a VLAN, whose switch is a part of another one."""
    host = state.find(Host, pif.host)
    if pif.VLAN_master_of != NULL or host is None or host.software_version.get("network_backend") != "openvswitch":
        return {}
    sources = [pool.other_config for pool in state.all(Pool)] + [network.other_config, pif.other_config]
    said = {key: value for source in sources for key, value in source.items()}
    in_band = said.get("vswitch-disable-in-band", "")
    return {
        "fail_mode": "secure" if said.get("vswitch-controller-fail-mode") == "secure" else "",
        "snooping": any(pool.igmp_snooping_enabled for pool in state.all(Pool)) and not state.refs_where("tunnel", "access_PIF", pif.ref),
        "disable_in_band": in_band if in_band in ("true", "false") else "",
    }


def trunks_of(state: PoolState, vif: VIF, host: Ref) -> tuple[int, ...]:
    """What a port's `trunks` are: the VIF's, and frames without a tag, which are its network's. On a bridge, and of a VLAN's network, it has none:
    nothing lets a VIF with trunks get there but a host that comes with bridges."""
    record = state.find(Host, host)
    on_vlan = any(pif.VLAN >= 0 for pif in state.where(PIF, "network", vif.network))
    if not vif.trunks or on_vlan or record is None or record.software_version.get("network_backend") != "openvswitch":
        return ()
    return tuple(sorted({0, *vif.trunks}))
