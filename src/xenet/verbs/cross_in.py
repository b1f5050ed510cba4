"""A running VM that comes from another pool: what the pool that takes it decides.

The host gets ready and awaits the guest; then the other pool is told where, and here the guest may arrive. Where it has not when the time is
over, or the other pool calls it off, it comes too late: the host ends what awaits it, unless it runs. So once this pool has said that the VM
is not here, it never will be; and once the guest runs, the VM is here, whatever becomes of the other pool. Nothing but the host's own word
decides that, so a host that is silent is waited for. The other pool asks how it stands by a ticket, since sessions end with their server.
"""

import hashlib
import hmac

import msgspec

from xenet.model.change import Draft
from xenet.model.errors import Failure, invalid_value, not_allowed
from xenet.model.hidden import Heard, Operation
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF, primary_address
from xenet.model.state import PoolState
from xenet.model.types import NULL, HostRef, Ref, StrMap, VMRef
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.plan.machine import way_by
from xenet.verbs.attach import bring_up, check_live
from xenet.verbs.boot import COPIED, check_boot, is_qemu
from xenet.verbs.call import Call, Further, Outcome, Work
from xenet.verbs.migrate_in import NetworkMap, let_go, take_in
from xenet.verbs.operation import give_up
from xenet.verbs.registry import message
from xenet.verbs.stack import check_passes
from xenet.verbs.vif import set_attached
from xenet.verbs.vm import note_start, take_domid

HELD_BACK = ("destroy", "migrate_send")
"""What would make the other pool believe that the VM never came."""
CALL_OFF, LET_GO, TELL = "call off", "let go", "tell"
"""What the other pool has to say; any other word asks how it stands. With `tell` it hears as well what the host here heard of a VM that came; a
pool that does not know the word takes it for one that asks."""
COMING, RUNS, GONE = "coming", "runs", "gone"
"""How it stands with the VM here; the last two are for good."""
MOST_HEARD = 1 << 20
"""Characters: a longer word of what was heard is not said, nor listened to. A frame is about 40, and 4,000 are kept of each way."""
_HEARD = msgspec.json.Decoder(dict[int, Heard])
NO_ADDRESS = "the host has no management address at which the VM could come to it"


@message("VM", StrMap, ours=True, hidden=True)
def receive_live(call: Call, inventory: str, networks: NetworkMap, host: HostRef, options: StrMap) -> Outcome:
    """As VM.receive, for a VM that runs, with `options` address: the host's at which the guest shall come, and ticket: the digest of one.
    Answered when the guest is awaited, with the `way` to there. Raises what VM.receive raises, HOST_OFFLINE, HOST_DISABLED [host],
    OPERATION_NOT_ALLOWED, VALUE_NOT_SUPPORTED [field, value, why]."""
    work = Work(call)
    came, vifs = take_in(work, inventory, networks, host, options, HELD_BACK)
    if not is_qemu(call.state, came):
        raise not_allowed("no VM but a QEMU of xenet's can come while it runs")
    check_boot(call.state, came)
    check_live(call.state, host)
    if not call.state.get(Host, host).enabled:
        raise Failure("HOST_DISABLED", host)
    plugged = [_plugged(work, vif, host) for vif, attached in vifs if attached]
    domid = take_domid(work)
    way = way_by(_address(call.state, host, options.get("address", "")), domid)
    ticket = options.get("ticket", "")
    vm = work.update(work.state.get(VM, came.ref), running_on=host, domid=domid, crossing="awaits", way=way, ticket=ticket)
    work.update(vm, scheduled_to_be_resident_on=host)

    def arrives(draft: Draft) -> None:
        draft.update(vm, crossing="arrives")

    def comes_late(draft: Draft) -> None:
        draft.update(vm, crossing="late")

    def done(draft: Draft) -> None:
        draft.update(vm, crossing="", way="", power_state="Running", resident_on=host, scheduled_to_be_resident_on=NULL)
        set_attached(draft, plugged, True)
        note_start(draft, draft.state.get(VM, vm.ref), call)

    doing = [(vm, "migrate_send"), *((work.state.get(VIF, vif.ref), "attach") for vif, _ in vifs)]
    then = (Further((host,), arrives, "wait", longer=came.memory_static_max / COPIED, answers=True), Further((host,), comes_late, "ever"))
    return work.await_hosts((host,), doing, done, {"vm": vm.ref, "way": way}, then)


@message("VM", ours=True, hidden=True)
def assert_can_receive_live(call: Call, inventory: str, networks: NetworkMap, host: HostRef, options: StrMap) -> None:
    """Raises what VM.receive_live raises."""
    receive_live(call, inventory, networks, host, options)


@message("VM", str, ours=True, hidden=True)
def arrival(call: Call, vm: VMRef, ticket: str, word: str) -> Outcome | str:
    """How it stands with a VM that VM.receive_live took: `coming`, `runs`, `gone`. By its ticket, without a session. `word`: `call off` where it
    shall not come any more, `let go` where it is not at the other pool any more, `ask`, `tell`: after `runs` comes what `heard_in` reads then."""
    record = call.state.find(VM, vm)
    if record is None or not hmac.compare_digest(record.ticket.encode(), digest(ticket).encode()):
        return GONE
    if not record.crossing and word == LET_GO:
        return Outcome(let_go(call, record).change, RUNS)
    if not record.crossing:
        return f"{RUNS} {_told(call.state, record)}".rstrip() if word == TELL else RUNS
    if word == CALL_OFF and record.crossing != "late":
        operation = next(iter(call.state.where(Operation, "objects", vm)))
        change, ended = give_up(call, operation.ref, not_allowed("the other pool has called it off"))
        return Outcome(change, COMING, ended=tuple(ended))
    return COMING


def _told(state: PoolState, vm: VM) -> str:
    """By the VIF's device, which is the same in both pools; empty where nobody listened."""
    devices = {vif.uuid: int(vif.device) for vif in state.where(VIF, "VM", vm.ref)}
    heard = {devices[post.vif]: post for post in vm.heard if post.vif in devices}
    text = msgspec.json.encode(heard).decode() if heard else ""
    return text if len(text) <= MOST_HEARD else ""


def heard_in(said: str) -> dict[int, Heard]:
    """What the host of the other pool heard, by the VIF's device, from an answer to `tell`; empty where that does not say it, or makes no sense."""
    text = said.removeprefix(RUNS).strip()
    try:
        return _HEARD.decode(text) if len(text) <= MOST_HEARD else {}
    except (msgspec.MsgspecError, UnicodeError):
        return {}


def digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()


def _plugged(work: Work, vif: VIF, host: Ref) -> VIF:
    network = work.state.get(Network, vif.network)
    bring_up(work, host, network)
    if network.managed:
        check_passes(work.state, vif, vif.MTU, network, host)
    return work.update(vif, plugged=True)


def _address(state: PoolState, host: Ref, asked: str) -> str:
    """Raises INVALID_VALUE [address, value], OPERATION_NOT_ALLOWED."""
    pifs = [pif for pif in state.where(PIF, "host", host) if primary_address(pif)]
    if asked and not any(primary_address(pif) == asked for pif in pifs):
        raise invalid_value("address", asked)
    address = asked or next((primary_address(pif) for pif in pifs if pif.management), "")
    if not address:
        raise not_allowed(NO_ADDRESS)
    return address
