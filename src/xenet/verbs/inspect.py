"""What explains the pool to its users, all of it xenet's own: what a host would do now, how it differs from what is wanted, and what
is wrong with the database. Nothing here changes anything."""

from collections.abc import Callable

from xenet.model.hidden import Operation
from xenet.model.host import Host
from xenet.model.invariants import violations
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.task import EPOCH, Task
from xenet.model.types import NULL, PREFIX, HostRef, Ref, StrMap, ref_of
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.attach import check_live
from xenet.verbs.call import Call, Question
from xenet.verbs.registry import message

OWNERS = ("VIF", "network", "VM", "PIF")
"""The classes whose records a step is done for."""


@message("host", tuple[StrMap, ...], ours=True)
def get_plan(call: Call, host: HostRef) -> Question:
    """What the host's agent would do now, as maps in the order of the steps: host, kind (the step's name), command (the equivalent
    one), reason, object (`VIF uuid` and the like) and failure (why the object is not as wanted since it was last tried). Empty when
    there is nothing to do. Raises HOST_OFFLINE [host]."""
    return _asked(call, host, "plan", lambda row: {**row, "object": _owner(call.state, row["object"])})


@message("host", tuple[StrMap, ...], ours=True)
def get_drift(call: Call, host: HostRef) -> Question:
    """Wanted against observed, as maps of host, class, uuid, name (a bridge, a device, a VM), field, wanted and observed. Empty when the
    host is as wanted. Raises HOST_OFFLINE [host]."""
    return _asked(call, host, "drift", dict)


def _asked(call: Call, host: Ref, topic: str, shown: Callable[[dict[str, str]], dict[str, str]]) -> Question:
    check_live(call.state, host)
    name = call.state.get(Host, host).name_label
    return Question((host,), topic, "", lambda said: [{"host": name, **shown(row)} for row in said[host]])


def _owner(state: PoolState, uuid: str) -> str:
    cls = next((cls for cls in OWNERS if ref_of(uuid) in state.tables.get(cls, {})), "")
    return f"{cls} {uuid}".strip()


@message("pool", tuple[StrMap, ...], ours=True)
def get_violations(call: Call) -> list[dict[str, str]]:
    """The invariants that the database breaks, as maps of text and repair (a command; empty where there is no plain one)."""
    return check(call.state)


def check(state: PoolState) -> list[dict[str, str]]:
    """The same of any state, such as one read from a file."""
    return [{"text": text, "repair": _repair(state, text)} for text in violations(_with_tasks(state))]


def _with_tasks(state: PoolState) -> PoolState:
    """Tasks are kept in memory only, so an operation that outlived its server has lost its own, and is none the worse for it."""
    for operation in state.all(Operation):
        if state.find(Task, operation.task) is None:
            state = state.with_record("task", operation.task, _task(operation))
    return state


def _task(operation: Operation) -> Task:
    return Task(
        uuid=operation.task.removeprefix(PREFIX),
        name_label=operation.verb,
        created=EPOCH,
        finished=EPOCH,
        status="pending",
        resident_on=NULL,
        progress=0.0,
        type="<none/>",
        result="",
        error_info=(),
    )


def _repair(state: PoolState, text: str) -> str:
    """The command that mends the record which a violation begins with, where one does; found by what the record is like."""
    cls, _, uuid = text.partition(": ")[0].partition(" ")
    if cls == "VIF":
        return _repair_vif(state.find(VIF, ref_of(uuid)))
    if cls == "network":
        return _repair_network(state, state.find(Network, ref_of(uuid)))
    return ""


def _repair_vif(vif: VIF | None) -> str:
    if vif is None or vif.plugged == vif.currently_attached:
        return ""
    return f"xe {'vif-plug' if vif.plugged else 'vif-unplug'} uuid={vif.uuid}"


def _repair_network(state: PoolState, network: Network | None) -> str:
    """The first PIF that is not plugged though a VIF is, on its host."""
    if network is None:
        return ""
    vms = (state.find(VM, vif.VM) for vif in state.where(VIF, "network", network.ref) if vif.plugged)
    homes = {vm.running_on for vm in vms if vm is not None}
    pifs = (pif for pif in state.where(PIF, "network", network.ref) if pif.host in homes and pif.managed and not pif.plugged)
    return next((f"xe pif-plug uuid={pif.uuid}" for pif in pifs), "")
