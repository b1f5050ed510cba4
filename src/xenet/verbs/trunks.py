"""VIF.trunks: the VLANs whose frames a guest sends and gets with their tags, beside those of its network, which have none. What is running
follows at once."""

from xenet.model.network import Network
from xenet.model.types import NULL, VIFRef
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.attach import check_live
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.registry import message
from xenet.verbs.trunk_check import check_trunks, check_untagged, checked_tags


@message("VIF")
def set_trunks(call: Call, self: VIFRef, value: tuple[int, ...]) -> Outcome:
    """None: nothing is said of VLANs again. Of a plugged VIF: done when its host has done it. Raises VLAN_TAG_INVALID [tag] but for 0 to 4094,
    NETWORK_INCOMPATIBLE_WITH_TRUNKS [network] where the network is a VLAN's, OPENVSWITCH_NOT_ACTIVE where the VIF is plugged on a host with
    bridges, or all hosts have these; HOST_OFFLINE, OTHER_OPERATION_IN_PROGRESS."""
    return _change(call, self, checked_tags(value))


@message("VIF")
def add_trunks(call: Call, self: VIFRef, value: int) -> Outcome:
    """Raises what set_trunks raises; of one that is there: no error."""
    checked_tags((value,))
    return _change(call, self, checked_tags((*call.state.get(VIF, self).trunks, value)))


@message("VIF")
def remove_trunks(call: Call, self: VIFRef, value: int) -> Outcome:
    """Of one that is not there: no error. Raises what set_trunks raises."""
    checked_tags((value,))
    vif = call.state.get(VIF, self)
    check_untagged(call.state, call.state.get(Network, vif.network))
    return _change(call, self, tuple(tag for tag in vif.trunks if tag != value))


def _change(call: Call, self: VIFRef, tags: tuple[int, ...]) -> Outcome:
    vif = call.state.get(VIF, self)
    work = Work(call)
    changed = work.update(vif, trunks=tags)
    check_trunks(call.state, changed, call.state.get(Network, vif.network))
    host = call.state.get(VM, vif.VM).running_on
    if set(tags) == set(vif.trunks) or not vif.plugged or host == NULL:
        return work.outcome()
    check_live(call.state, host)
    return work.await_host(host, [(vif, "plug")], lambda draft: None)
