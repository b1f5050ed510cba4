"""Live migration of a VM between two hosts of the pool.

It is one operation of three phases, each of them a commit. First both hosts get ready: the destination makes the VM's networks and
ports, the source notes on its own ports that another host may take the guest over. Then comes the switch-over: the VM shall run on the
destination, which takes the guest and announces its addresses. Then the source lets go. Up to the switch-over a failure is undone at
once; the failure of the switch-over itself by way of the source, which takes the guest back before the destination lets go. After it
there is no way back: what the source still has of the VM goes when its agent next hears of the pool.
"""

from collections.abc import Iterable

from xenet.model.change import Draft
from xenet.model.errors import Failure, not_allowed
from xenet.model.guests import default_kind, kind_of
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.types import NULL, HostRef, Ref, StrMap, VMRef
from xenet.model.vif import VIF
from xenet.model.vm import VM, born_as
from xenet.verbs.allowed import check_vm
from xenet.verbs.attach import bring_up, check_live, check_networks
from xenet.verbs.call import Call, Further, Outcome, Work
from xenet.verbs.registry import message
from xenet.verbs.stack import check_passes
from xenet.verbs.vm import take_domid

POOL_MIGRATE = "pool_migrate"
NO_MAP = "VIF mapping is not allowed for intra-pool migration -all VIFs must be on the same network"


@message("VM")
def pool_migrate(call: Call, vm: VMRef, host: HostRef, options: StrMap) -> Outcome:
    """To another host of the pool while it runs; to its own: there is nothing to do. `options` are read by XenServer alone.

    Raises VM_BAD_POWER_STATE, OTHER_OPERATION_IN_PROGRESS, HOST_OFFLINE, HOST_DISABLED [host], HOST_CANNOT_ATTACH_NETWORK [host, network],
    VM_REQUIRES_NETWORK [vm, network], OPERATION_NOT_ALLOWED.
    """
    record = call.state.get(VM, vm)
    call.state.get(Host, host)
    check_vm(record, POOL_MIGRATE)
    if record.resident_on == host:
        return Work(call).outcome()
    check_can_go(call.state, record, host)
    return _move(call, record, host)


def check_can_go(state: PoolState, vm: VM, host: Ref) -> None:
    """Raises what pool_migrate raises of the two hosts and the VM's networks."""
    check_live(state, vm.resident_on)
    check_live(state, host)
    if not state.get(Host, host).enabled:
        raise Failure("HOST_DISABLED", host)
    check_networks(state, vm, host)
    check_guest(state, vm, host)


def check_guest(state: PoolState, vm: VM, host: Ref) -> None:
    """Raises OPERATION_NOT_ALLOWED where what stands for the VM cannot get to the host."""
    if kind_of(vm, default_kind(state)) == "tap":
        raise not_allowed("the hypervisor that uses the VM's taps is not xenet's, so xenet cannot move the VM")
    here, there = (_machine(state, ref) for ref in (vm.resident_on, host))
    if here != there:
        raise not_allowed("the VM is a network namespace, which cannot leave its machine")


def _machine(state: PoolState, host: Ref) -> str:
    facts = state.find(HostFacts, host)
    return facts.place.partition(" ")[0] if facts else ""


def _move(call: Call, vm: VM, host: Ref) -> Outcome:
    source, work = vm.resident_on, Work(call)
    vifs = [vif for vif in work.state.where(VIF, "VM", vm.ref) if vif.plugged]
    for vif in vifs:
        network = work.state.get(Network, vif.network)
        bring_up(work, host, network)
        if network.managed:
            check_passes(work.state, vif, vif.MTU, network, host)
    old, new = vm.domid, take_domid(work)
    work.update(vm, peer=host, peer_domid=new, handing_over=True, born=born_as(vm), scheduled_to_be_resident_on=host)

    def switch_over(draft: Draft) -> None:
        draft.update(vm, running_on=host, domid=new, peer=source, peer_domid=old, handing_over=False)

    def let_go(draft: Draft) -> None:
        draft.update(vm, peer=NULL, peer_domid=-1, resident_on=host, scheduled_to_be_resident_on=NULL)

    def take_back(draft: Draft) -> None:
        draft.update(vm, running_on=source, domid=old, peer=host, peer_domid=new)

    def forget(draft: Draft) -> None:
        draft.update(vm, peer=NULL, peer_domid=-1)

    back = (Further((source,), take_back, "wait"), Further((host,), forget, "skip"))
    then = (Further((host,), switch_over, "undo", back), Further((source, host), let_go, "skip"))
    doing = [(vm, POOL_MIGRATE), *_attaching(vifs)]
    return work.await_hosts([host, source], doing, lambda draft: None, then=then, cancellable=True)


def _attaching(vifs: Iterable[VIF]) -> Iterable[tuple[VIF, str]]:
    return ((vif, "attach") for vif in vifs)
