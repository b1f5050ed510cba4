"""The management interface: on which PIF a host is reached. It moves; the old one keeps its address."""

from xenet.model.change import Draft
from xenet.model.errors import Failure
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.pool import Pool
from xenet.model.types import NULL, NetworkRef, PIFRef, Ref
from xenet.verbs.addresses import management_address
from xenet.verbs.attach import check_live, find_pif
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.registry import message


@message("host")
def management_reconfigure(call: Call, pif: PIFRef) -> Outcome:
    """Raises CANNOT_PLUG_BOND_SLAVE, PIF_HAS_NO_NETWORK_CONFIGURATION, PIF_HAS_NO_V6_NETWORK_CONFIGURATION [pif]. An unmanaged PIF is
    taken as it is: its administrator configures the device."""
    record = call.state.get(PIF, pif)
    check_fit(record)
    work = Work(call)
    if record.management:
        return work.outcome()
    return _managed_by(work, [record])


def check_fit(pif: PIF) -> None:
    """Whether a host can be reached on this PIF."""
    if not pif.managed:
        return
    if pif.bond_slave_of != NULL:
        raise Failure("CANNOT_PLUG_BOND_SLAVE", pif.ref)
    if pif.primary_address_type == "IPv4" and pif.ip_configuration_mode == "None":
        raise Failure("PIF_HAS_NO_NETWORK_CONFIGURATION", pif.ref)
    if pif.primary_address_type == "IPv6" and pif.ipv6_configuration_mode == "None":
        raise Failure("PIF_HAS_NO_V6_NETWORK_CONFIGURATION", pif.ref)


def _managed_by(work: Work, pifs: list[PIF]) -> Outcome:
    hosts = [pif.host for pif in pifs]
    for pif in pifs:
        check_live(work.state, pif.host)
        _move_flag(work, pif.host, pif.ref)
        work.update(pif, plugged=pif.managed)
        management_address(work, pif)

    def done(draft: Draft) -> None:
        for pif in pifs:
            draft.update(pif, currently_attached=pif.managed)

    return work.await_hosts(hosts, [(pif, "management_reconfigure") for pif in pifs], done)


def _move_flag(work: Work, host: Ref, target: Ref | None) -> None:
    for pif in work.state.where(PIF, "host", host):
        if pif.management != (pif.ref == target):
            work.update(pif, management=pif.ref == target)


@message("host")
def management_disable(call: Call) -> Outcome:
    """Of the coordinator's own host: no PIF is its management interface any more; the local door stays open.
    A supporter would be lost to the pool."""
    host = call.state.get(Host, next(call.state.all(Pool)).master)
    work = Work(call)
    _move_flag(work, host.ref, None)
    work.update(host, address="")
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
        check_fit(pif)
    work = Work(call)
    moving = [pif for pif in pifs if not pif.management]
    return _managed_by(work, moving) if moving else work.outcome()


def _pif_of(call: Call, host: Ref, network: Ref) -> PIF:
    pif = find_pif(call.state, network, host)
    if pif is None:
        raise Failure("PIF_NOT_PRESENT", host, network)
    return pif
