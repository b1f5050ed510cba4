"""The networking of one host from the beginning: its PIFs and what stands on them are taken from the database. Networks and VIFs stay."""

import re

from xenet.model.derived import VLAN, Bond, NetworkSriov, Tunnel
from xenet.model.errors import Failure
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.types import HostRef, Record, Ref
from xenet.verbs.allowed import check_removable, check_unheld
from xenet.verbs.attach import check_live
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.management import note_address
from xenet.verbs.registry import message

LONGEST_NAME = 255
"""RFC 1035, 2.3.4."""


@message("host", hidden=True)
def reset_networking(call: Call, host: HostRef) -> Outcome:
    """Every Bond, VLAN, tunnel and PIF of the host goes, the management interface with them, and the NICs are left as they are: a scan, or
    the next start of the agent, gives them PIFs without addresses. The API answers at the local socket meanwhile. Raises HOST_OFFLINE [host],
    OTHER_OPERATION_IN_PROGRESS."""
    record = call.state.get(Host, host)
    pifs, facts = call.state.where(PIF, "host", host), call.state.get(HostFacts, host)
    check_unheld(call.state, facts)
    for pif in pifs:
        check_removable(call.state, pif)
    check_live(call.state, host)
    work = Work(call)
    for pif in pifs:
        for gone in (*_standing_on(work, pif.ref), *filter(None, [work.state.find(PIFMetrics, pif.metrics)]), pif):
            work.delete(gone)
        if pif.managed and pif.plugged:
            work.leave(call.state.get(Network, pif.network))
    note_address(work, record.ref)
    held: list[Record] = [*pifs, facts]
    return work.await_host(host, [(each, "reset_networking") for each in held], lambda draft: None)


def _standing_on(work: Work, pif: Ref) -> list[Record]:
    """The records that this PIF is the upper end of."""
    state = work.state
    return [
        *state.where(Bond, "master", pif),
        *state.where(VLAN, "untagged_PIF", pif),
        *state.where(Tunnel, "access_PIF", pif),
        *state.where(NetworkSriov, "logical_PIF", pif),
    ]


@message("host")
def set_hostname_live(call: Call, host: HostRef, hostname: str) -> Outcome:
    """host.hostname. What the machine calls itself is its administrator's affair, and stays. Raises HOST_NAME_INVALID [reason]."""
    record = call.state.get(Host, host)
    if not hostname:
        raise Failure("HOST_NAME_INVALID", "hostname empty")
    if len(hostname) > LONGEST_NAME:
        raise Failure("HOST_NAME_INVALID", "hostname is too long")
    if not re.fullmatch("[A-Za-z0-9.-]+", hostname):
        raise Failure("HOST_NAME_INVALID", "hostname contains invalid characters")
    work = Work(call)
    work.update(record, hostname=hostname)
    return work.outcome()
