"""A pool as its clients see it, saved and made into records again: another xenet's, or a XenServer's.

What clients cannot see is made up for: what is wanted is what is, NICs are as the PIFs tell, counters begin after what was given out. Of a
XenServer's objects those stay of which xenet has the class; references to others become null.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from xenet.model.change import Change, Draft, edit_between
from xenet.model.classes import PUBLIC
from xenet.model.declare import APIType, Field, stored_fields
from xenet.model.derived import Tunnel
from xenet.model.errors import Failure
from xenet.model.hidden import NIC, HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.pool import Pool
from xenet.model.state import PoolState, state_of
from xenet.model.task import EPOCH
from xenet.model.types import NULL, Qualifier, Record, Ref, ref_of
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.wire import values

SAVED: dict[str, type[Record]] = {cls.xenapi: cls for cls in PUBLIC if cls.persistent}
"""The classes of which an inventory has records."""
Tables = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Class -> reference -> record, as get_all_records gives them in JSON."""
_PASSING = frozenset({"allowed_operations", "current_operations"})
_ZERO: dict[str, Any] = {"string": "", "ref": NULL, "int": 0, "bool": False, "float": 0.0, "datetime": EPOCH, "set": (), "map": {}}


def change_of(tables: Tables) -> Change:
    """The change that makes an empty pool into this one. Raises Failure (INTERNAL_ERROR) for what is no inventory."""
    state = settled(state_of(0, records_of(tables)))
    edits = (edit_between(name, ref, None, record) for name, table in state.tables.items() for ref, record in table.items())
    return Change(tuple(edit for edit in edits if edit is not None))


# --- from what the wire carried ----------------------------------------------------------------------


def records_of(tables: Tables) -> list[Record]:
    """The records, references renamed to ours, which are made of the uuid."""
    try:
        names = {ref: ref_of(record["uuid"]) for name in SAVED for ref, record in tables.get(name, {}).items()}
        return [_record(SAVED[name], record, names) for name in SAVED for record in tables.get(name, {}).values()]
    except (AttributeError, KeyError, TypeError) as error:
        raise Failure("INTERNAL_ERROR", f"no inventory of a pool: {error!r}") from None


def _record(cls: type[Record], given: Mapping[str, Any], names: Mapping[str, Ref]) -> Record:
    shown = {name: field for name, field in stored_fields(cls).items() if field.qualifier is not Qualifier.HIDDEN}
    found = {name: _value(field, given, names) for name, field in shown.items() if name not in _PASSING}
    return cls(**found)


def _value(field: Field, given: Mapping[str, Any], names: Mapping[str, Ref]) -> Any:
    """What a server of another age does not have, or says in a word of its own, is as at the beginning."""
    try:
        return values.decode(field.type, _renamed(field.type, given[field.name], names), field.name)
    except (Failure, KeyError):
        return _initial(field)


def _initial(field: Field) -> Any:
    if not field.required:
        return field.default
    return field.type.values[0] if field.type.kind == "enum" else _ZERO[field.type.kind]


def _renamed(kind: APIType, value: Any, names: Mapping[str, Ref]) -> Any:
    if kind.kind == "ref":
        return names.get(value, NULL)
    if kind.kind == "set" and kind.of is not None and kind.of.kind == "ref":
        return [names[ref] for ref in value if ref in names]
    return value


# --- what clients cannot see -------------------------------------------------------------------------


def settled(state: PoolState) -> PoolState:
    """What is wanted is what is. Raises Failure (INTERNAL_ERROR) unless there is exactly one pool."""
    draft = Draft(state)
    if state.count(Pool) != 1:
        raise Failure("INTERNAL_ERROR", f"an inventory of {state.count(Pool)} pools")
    for number, vm in enumerate(sorted(state.all(VM), key=lambda vm: (vm.domid, vm.uuid)), start=1):
        _settle_vm(draft, vm, number)
    for vif in state.all(VIF):
        attached = vif.currently_attached and draft.state.get(VM, vif.VM).power_state == "Running"
        draft.update(vif, currently_attached=attached, plugged=attached)
    _settle_pifs(draft)
    for number, tunnel in enumerate(sorted(state.all(Tunnel), key=lambda tunnel: tunnel.uuid), start=1):
        draft.update(tunnel, key=number)
    for host in state.all(Host):
        draft.put(HostFacts(uuid=host.uuid, host=host.ref, nics=tuple(_nics(state, host.ref))))
    _settle_counters(draft)
    return draft.state


def _settle_vm(draft: Draft, vm: VM, domid: int) -> None:
    """A paused VM runs here; domains are numbered anew, since a XenServer counts them host by host."""
    runs = vm.power_state in ("Running", "Paused") and vm.resident_on != NULL
    state = "Running" if runs else "Suspended" if vm.power_state == "Suspended" else "Halted"
    home = vm.resident_on if runs else NULL
    draft.update(vm, power_state=state, resident_on=home, running_on=home, domid=domid if runs else -1, scheduled_to_be_resident_on=NULL)


def _settle_pifs(draft: Draft) -> None:
    state = draft.state
    used = {(vif.network, state.get(VM, vif.VM).running_on) for vif in state.all(VIF) if vif.plugged}
    for pif in state.all(PIF):
        plugged = pif.managed and pif.bond_slave_of == NULL and (pif.currently_attached or (pif.network, pif.host) in used)
        draft.update(pif, plugged=plugged, currently_attached=plugged if pif.managed else pif.currently_attached)


def _nics(state: PoolState, host: Ref) -> Iterable[NIC]:
    for pif in sorted(state.where(PIF, "host", host), key=lambda pif: pif.device):
        metrics = state.find(PIFMetrics, pif.metrics)
        if pif.physical and metrics is not None:
            yield NIC(
                device=pif.device,
                mac=pif.MAC.lower(),
                mtu=max(pif.MTU, 1500),
                carrier=metrics.carrier,
                speed=metrics.speed,
                duplex=metrics.duplex,
                vendor_id=metrics.vendor_id,
                vendor_name=metrics.vendor_name,
                device_id=metrics.device_id,
                device_name=metrics.device_name,
                pci_bus_path=metrics.pci_bus_path,
            )


def _settle_counters(draft: Draft) -> None:
    state = draft.state
    domids = [vm.domid for vm in state.all(VM)]
    draft.update(
        next(state.all(Pool)),
        next_xapi=_after("xapi", (network.bridge for network in state.all(Network))),
        next_tunnel=max(_after("tunnel", (pif.device for pif in state.all(PIF))), state.count(Tunnel) + 1),
        next_domid=max(0, *domids, -1) + 1,
    )


def _after(stem: str, names: Iterable[str]) -> int:
    """The number after the last of stem0, stem1 ..."""
    numbers = [int(name.removeprefix(stem)) for name in names if name.startswith(stem) and name.removeprefix(stem).isdecimal()]
    return max(numbers, default=-1) + 1
