"""pool.set_igmp_snooping_enabled: on networks with a PIF multicast goes only to the VIFs whose guests have asked for it; Open vSwitch does it."""

from xenet.model.errors import Failure, not_allowed
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF, IGMPStatus
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.types import PoolRef
from xenet.verbs.attach import is_live
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.registry import message
from xenet.verbs.trunk_check import on_openvswitch

VERB = "pool.set_igmp_snooping_enabled"


@message("pool")
def set_igmp_snooping_enabled(call: Call, self: PoolRef, value: bool) -> Outcome:
    """On all live hosts, or on none; others follow as they come. Raises OPENVSWITCH_NOT_ACTIVE where it is to be on and a host's switches
    are bridges, COULD_NOT_UPDATE_IGMP_SNOOPING_EVERYWHERE, OTHER_OPERATION_IN_PROGRESS."""
    pool, work = call.state.get(Pool, self), Work(call)
    hosts = list(call.state.all(Host))
    if value and not all(on_openvswitch(host) for host in hosts):
        raise Failure("OPENVSWITCH_NOT_ACTIVE")
    if pool.igmp_snooping_enabled == value:
        return work.outcome()
    work.update(pool, igmp_snooping_enabled=value)
    live = [host.ref for host in hosts if is_live(call.state, host)]
    doing = [(facts, "set_igmp_snooping_enabled") for ref in live if (facts := call.state.find(HostFacts, ref))]
    for pif in call.state.all(PIF):
        if pif.plugged and pif.VLAN < 0:
            work.need(call.state.get(Network, pif.network))
    return work.await_hosts(live, doing, lambda draft: None) if live else work.outcome()


def check_not_snooping(state: PoolState) -> None:
    """Before a host gets bridges, which would not do what the pool says. Raises OPERATION_NOT_ALLOWED [text]."""
    if any(pool.igmp_snooping_enabled for pool in state.all(Pool)):
        off = "xe pool-param-set uuid=... igmp-snooping-enabled=false"
        raise not_allowed(f"the pool has IGMP snooping on, for which all hosts must be on Open vSwitch: turn it off first, with `{off}`")


def status_of(state: PoolState, pif: PIF, up: bool) -> IGMPStatus:
    """What PIF.igmp_snooping_status says of one that is up or not. Unknown on VLANs, as on a XenServer, and on bridges; a tunnel's network
    does not snoop (see plan.vswitch)."""
    host = state.find(Host, pif.host)
    if not up or pif.VLAN >= 0 or host is None or not on_openvswitch(host):
        return "unknown"
    asked = any(pool.igmp_snooping_enabled for pool in state.all(Pool))
    return "enabled" if asked and not state.back(pif.ref, PIF.tunnel_access_PIF_of) else "disabled"
