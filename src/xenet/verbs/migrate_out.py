"""VM.migrate_send to a host of another pool, for a halted VM: what the pool that it leaves decides.

The other pool's server is asked by the address and session that its host.migrate_receive gave. It takes the VM as one that cannot start yet
(verbs/migrate_in.py); then this pool lets go of it in one commit; then the other one is told so, and the VM can start there. So whoever is killed
at any moment, the VM can start in one of the two pools at most, and where the first did not get to its commit a second attempt ends it.
"""

from collections.abc import Mapping

import msgspec

from xenet.model.change import Draft
from xenet.model.errors import Failure, invalid_value
from xenet.model.host import Host
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.types import Record, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.verbs.call import Call, Destination, Errand, Work
from xenet.verbs.generic import view
from xenet.verbs.vm import remove
from xenet.wire.values import plain

Texts = Mapping[str, str]


def is_abroad(state: PoolState, dest: Texts) -> bool:
    """Whether host.migrate_receive was asked of another pool's host."""
    return state.find(Host, Ref(dest.get("host", ""))) is None


def ask_abroad(call: Call, vm: VM, dest: Texts, vif_map: Mapping[Ref, Ref], options: Texts) -> Errand:
    """Whether it could go: nothing changes. Raises VIF_NOT_IN_MAP [vif], OPERATION_NOT_ALLOWED, INVALID_VALUE [dest, text], and what the
    other pool says: HANDLE_INVALID, HOST_CANNOT_ATTACH_NETWORK [host, network], DUPLICATE_VM [vm]."""
    return errand_of(call, "VM.assert_can_receive", vm, dest, vif_map, options)


def send_abroad(call: Call, vm: VM, dest: Texts, vif_map: Mapping[Ref, Ref], options: Texts) -> Errand:
    """The VM goes, with its VIFs on the networks of the map; with the option copy=true it stays, and a copy of it with other uuids is there. The
    result is the VM's reference there. Raises what `ask_abroad` raises."""
    errand = errand_of(call, "VM.receive", vm, dest, vif_map, options)
    work = Work(call)
    doing = [(vm, "migrate_send"), *((vif, "attach") for vif in call.state.where(VIF, "VM", vm.ref))]

    def done(draft: Draft) -> None:
        if options.get("copy") != "true":
            remove(draft, vm)

    return msgspec.structs.replace(errand, hold=work.await_hosts((), doing, done))


def errand_of(call: Call, method: str, vm: VM, dest: Texts, vif_map: Mapping[Ref, Ref], options: Texts) -> Errand:
    networks = mapped(call.state, vm, vif_map)
    to = _destination(dest)
    tables: dict[str, list[Record]] = {"VM": [vm], "VIF": [*call.state.where(VIF, "VM", vm.ref)]}
    sent = {name: {record.ref: plain(view(call.state, record)) for record in records} for name, records in tables.items()}
    source = next(iter(call.state.all(Pool))).uuid
    return Errand(to, method, (msgspec.json.encode(sent).decode(), networks, to.host, {**options, "from": source}))


def mapped(state: PoolState, vm: VM, vif_map: Mapping[Ref, Ref]) -> dict[str, Ref]:
    """The network for each VIF, by the VIF's uuid; one that is not in the map goes where another with its MAC goes, as in XenServer.
    Raises VIF_NOT_IN_MAP [vif]."""
    by_mac = {vif.MAC: network for ref, network in vif_map.items() if (vif := state.find(VIF, ref)) is not None}
    found = {}
    for vif in state.where(VIF, "VM", vm.ref):
        network = vif_map.get(vif.ref, by_mac.get(vif.MAC))
        if network is None:
            raise Failure("VIF_NOT_IN_MAP", vif.ref)
        found[vif.uuid] = network
    return found


def _destination(dest: Texts) -> Destination:
    url, host, session = (dest.get(name, "") for name in ("master", "host", "session_id"))
    if not url.startswith(("http://", "https://")):
        raise invalid_value("dest", f"master={url}")
    if not host or not session:
        raise invalid_value("dest", f"host={host}")
    return Destination(url, Ref(host), session)
