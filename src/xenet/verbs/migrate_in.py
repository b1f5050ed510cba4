"""A halted VM that comes from another pool: what the pool that takes it decides.

It comes as the inventory of itself and its VIFs, and cannot start until the pool that it leaves has let go of it. If that one is killed before, what
came is taken away by the next attempt, or by hand.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from xenet.model.errors import Failure, invalid_value
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.types import NULL, HostRef, NetworkRef, Ref, StrMap, VMRef, ref_of
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.allowed import check_free
from xenet.verbs.attach import find_pif, is_slave, sees
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.inventory import records_of
from xenet.verbs.registry import message
from xenet.verbs.trunk_check import check_carries, check_untagged
from xenet.verbs.vif import check_vif_values
from xenet.verbs.vm import put_new, remove

COMES_FROM = "xenet-comes-from"
"""In other_config of a VM that is on its way here: the uuid of the pool that it leaves."""
NOT_YET = "the pool that it comes from has not let go of it yet"
HELD_BACK = ("start", "start_on", "migrate_send")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NetworkMap = Mapping[str, NetworkRef]


@message("VM", VMRef, ours=True, hidden=True)
def receive(call: Call, inventory: str, networks: NetworkMap, host: HostRef, options: StrMap) -> Outcome:
    """A VM that cannot start yet, with the uuid that it has, or as a copy (options:copy=true) with another. `networks` has a network of this pool
    for the uuid of each VIF; VIFs get new uuids and keep their MACs. Raises HANDLE_INVALID, HOST_CANNOT_ATTACH_NETWORK [host, network],
    NETWORK_INCOMPATIBLE_WITH_TRUNKS [network], OPENVSWITCH_NOT_ACTIVE, DUPLICATE_VM [vm], INVALID_VALUE for an inventory of anything else."""
    work = Work(call)
    came, _ = take_in(work, inventory, networks, host, options, HELD_BACK)
    return work.outcome(came.ref)


@message("VM", ours=True, hidden=True)
def assert_can_receive(call: Call, inventory: str, networks: NetworkMap, host: HostRef, options: StrMap) -> None:
    """Raises what VM.receive raises."""
    receive(call, inventory, networks, host, options)


@message("VM", ours=True, hidden=True)
def received(call: Call, vm: VMRef) -> Outcome:
    """The pool that the VM comes from has let go of it: it can start."""
    return let_go(call, call.state.get(VM, vm))


def let_go(call: Call, record: VM) -> Outcome:
    """What held it back holds no longer."""
    work = Work(call)
    blocked = {name: why for name, why in record.blocked_operations.items() if why != NOT_YET}
    other_config = {key: value for key, value in record.other_config.items() if key != COMES_FROM}
    work.update(record, blocked_operations=blocked, other_config=other_config, heard=())
    return work.outcome()


Came = tuple[VM, list[tuple[VIF, bool]]]
"""A VM and its VIFs, each with whether it was attached."""


def take_in(work: Work, inventory: str, networks: NetworkMap, host: Ref, options: StrMap, held_back: Iterable[str]) -> Came:
    """The VM halted, with these operations blocked. Raises what VM.receive raises."""
    call = work.call
    vm, vifs = _read(inventory)
    call.state.get(Host, host)
    for vif in vifs:
        _check_network(call, vif, networks.get(vif.uuid, NULL), host)
    copy = options.get("copy") == "true"
    _make_room(work, vm, copy=copy)
    came = _arrived(call, vm, options.get("from", ""), held_back, copy=copy)
    put_new(work, came)
    return came, [(work.put(_plugless(call, vif, came.ref, networks[vif.uuid])), vif.currently_attached) for vif in vifs]


def _read(inventory: str) -> tuple[VM, list[VIF]]:
    """The VM and its VIFs. Raises INVALID_VALUE, INTERNAL_ERROR."""
    try:
        records = records_of(msgspec.json.decode(inventory))
    except (msgspec.DecodeError, AttributeError) as error:
        raise invalid_value("inventory", str(error)) from None
    vms = [record for record in records if isinstance(record, VM)]
    vifs = [record for record in records if isinstance(record, VIF)]
    if len(vms) != 1 or len(records) != 1 + len(vifs):
        raise invalid_value("inventory", f"{len(vms)} VMs and {len(records) - len(vms)} other objects")
    if not _UUID.fullmatch(vms[0].uuid):
        raise invalid_value("inventory", f"uuid={vms[0].uuid}")
    for vif in vifs:
        check_vif_values(vif)
    if len({int(vif.device) for vif in vifs}) < len(vifs):
        raise invalid_value("inventory", "two VIFs of one device")
    return vms[0], vifs


def _check_network(call: Call, vif: VIF, network: Ref, host: Ref) -> None:
    record = call.state.get(Network, network)
    if is_slave(find_pif(call.state, network, host)) or not sees(call.state, host, record):
        raise Failure("HOST_CANNOT_ATTACH_NETWORK", host, network)
    if vif.trunks:
        check_untagged(call.state, record)
        check_carries(call.state, [vif], host)


def _make_room(work: Work, vm: VM, *, copy: bool) -> None:
    """Take away what an attempt left that came to no end, unless somebody has let it start since. Raises DUPLICATE_VM [vm]."""
    there = work.state.find(VM, ref_of(vm.uuid))
    if there is None or copy:
        return
    if there.power_state != "Halted" or COMES_FROM not in there.other_config or NOT_YET not in there.blocked_operations.values():
        raise Failure("DUPLICATE_VM", there.ref)
    check_free(there)
    remove(work, there)


def _arrived(call: Call, vm: VM, source: str, held_back: Iterable[str], *, copy: bool) -> VM:
    return msgspec.structs.replace(
        vm,
        uuid=call.entropy.uuid() if copy else vm.uuid,
        power_state="Halted",
        is_control_domain=False,
        domid=-1,
        other_config={**vm.other_config, COMES_FROM: source},
        blocked_operations={**dict.fromkeys(held_back, NOT_YET), **vm.blocked_operations},
    )


def _plugless(call: Call, vif: VIF, vm: Ref, network: Ref) -> VIF:
    return msgspec.structs.replace(vif, uuid=call.entropy.uuid(), VM=vm, network=network, currently_attached=False)
