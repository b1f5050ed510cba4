"""The management interface: on which PIF a host is reached. It moves; the old one keeps its address."""

from xenet.model.change import Draft
from xenet.model.errors import Failure
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF, primary_address
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.types import NULL, NetworkRef, PIFRef, Ref
from xenet.verbs.allowed import check_unheld
from xenet.verbs.attach import check_live, find_pif
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.registry import message
from xenet.verbs.stack import check_management_on_vlan, want_plugged


@message("host")
def management_reconfigure(call: Call, pif: PIFRef) -> Outcome:
    """Raises CANNOT_PLUG_BOND_SLAVE, PIF_HAS_NO_NETWORK_CONFIGURATION, PIF_HAS_NO_V6_NETWORK_CONFIGURATION [pif]. An unmanaged PIF is
    taken as it is: its administrator configures the device."""
    record = call.state.get(PIF, pif)
    check_fit(call.state, record)
    work = Work(call)
    if record.management:
        return work.outcome()
    return _managed_by(work, [record])


def check_fit(state: PoolState, pif: PIF) -> None:
    """Whether a host can be reached on this PIF."""
    if not pif.managed:
        return
    if pif.bond_slave_of != NULL:
        raise Failure("CANNOT_PLUG_BOND_SLAVE", pif.ref)
    if pif.primary_address_type == "IPv4" and pif.ip_configuration_mode == "None":
        raise Failure("PIF_HAS_NO_NETWORK_CONFIGURATION", pif.ref)
    if pif.primary_address_type == "IPv6" and pif.ipv6_configuration_mode == "None":
        raise Failure("PIF_HAS_NO_V6_NETWORK_CONFIGURATION", pif.ref)
    check_management_on_vlan(next(state.all(Pool)).other_config, pif)


def _managed_by(work: Work, pifs: list[PIF]) -> Outcome:
    for pif in pifs:
        check_live(work.state, pif.host)
        move_management(work, pif)

    def done(draft: Draft) -> None:
        for pif in pifs:
            draft.update(pif, currently_attached=pif.managed)

    held = [*pifs, *(work.state.get(HostFacts, pif.host) for pif in pifs)]
    return work.await_hosts([pif.host for pif in pifs], [(record, "management_reconfigure") for record in held], done)


def move_management(draft: Draft, target: PIF) -> None:
    """The target's host is reached on this PIF from now on, and on no other: the records alone, the PIF wanted plugged where xenet may
    plug it. The one before keeps its address and stays plugged. An operation that does this holds the host's facts, as every move does."""
    for pif in draft.state.where(PIF, "host", target.host):
        if pif.management and pif.ref != target.ref:
            draft.update(pif, management=False)
    now = draft.update(target, management=True)
    if now.managed and not now.plugged:
        want_plugged(draft, now)
    note_address(draft, target.host)


def note_address(draft: Draft, host: Ref) -> None:
    """host.address is that of the host's management interface, empty while it has none or none has an address."""
    pif = next((pif for pif in draft.state.where(PIF, "host", host) if pif.management), None)
    draft.update(draft.state.get(Host, host), address=primary_address(pif) if pif else "")


@message("host")
def management_disable(call: Call) -> Outcome:
    """Of the coordinator's own host: no PIF is its management interface any more; the local door stays open.
    A supporter would be lost to the pool. Raises OTHER_OPERATION_IN_PROGRESS while its management interface moves."""
    host = call.state.get(Host, next(call.state.all(Pool)).master)
    check_unheld(call.state, call.state.get(HostFacts, host.ref))
    work = Work(call)
    for pif in call.state.where(PIF, "host", host.ref):
        if pif.management:
            check_unheld(call.state, pif)
            work.update(pif, management=False)
    note_address(work, host.ref)
    return work.outcome()


@message("host")
def local_management_reconfigure(call: Call, interface: str) -> Outcome:
    """Raises NOT_IN_EMERGENCY_MODE: a host here never leaves its pool by itself."""
    raise Failure("NOT_IN_EMERGENCY_MODE")


@message("pool", name="management_reconfigure")
def pool_management_reconfigure(call: Call, network: NetworkRef) -> Outcome:
    """On every host at once. Raises PIF_NOT_PRESENT [host, network], PIF_INCOMPATIBLE_PRIMARY_ADDRESS_TYPE [pif], and what the host's
    message raises; then nothing has moved anywhere."""
    call.state.get(Network, network)
    pifs = [_pif_of(call, host.ref, network) for host in sorted(call.state.all(Host), key=lambda host: host.name_label)]
    for pif in pifs:
        if pif.primary_address_type != pifs[0].primary_address_type:
            raise Failure("PIF_INCOMPATIBLE_PRIMARY_ADDRESS_TYPE", pif.ref)
        check_fit(call.state, pif)
    work = Work(call)
    moving = [pif for pif in pifs if not pif.management]
    return _managed_by(work, moving) if moving else work.outcome()


def _pif_of(call: Call, host: Ref, network: Ref) -> PIF:
    pif = find_pif(call.state, network, host)
    if pif is None:
        raise Failure("PIF_NOT_PRESENT", host, network)
    return pif
