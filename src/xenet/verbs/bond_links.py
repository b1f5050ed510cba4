"""What a host says of its bonds' links: how many are up, what the bond's PIF shows for them, and an alert where that changed."""

from collections.abc import Mapping

from xenet.model.derived import Bond
from xenet.model.hidden import NIC, BondLinks, HostFacts
from xenet.model.host import Host
from xenet.model.pif import PIF
from xenet.model.types import Ref
from xenet.verbs.adopt import set_metrics
from xenet.verbs.call import Work
from xenet.verbs.message import alert
from xenet.verbs.stack import slaves_of

ALERT = "BOND_STATUS_CHANGED"
PRIORITY = 3
"""XenServer's for it: service is degraded."""


def note_bonds(work: Work, host: Ref, seen: Mapping[str, BondLinks]) -> None:
    """Bring the host's Bonds up to date with its facts; `seen` is what these said of each device before. A bond that is not there has no
    link, which is no news of its cables."""
    facts = work.state.get(HostFacts, host)
    nics = {nic.device: nic for nic in facts.nics}
    said = {links.device: links for links in facts.bonds}
    masters = {pif.ref: pif for pif in work.state.where(PIF, "host", host)}
    for bond in [bond for bond in work.state.all(Bond) if bond.master in masters]:
        master = masters[bond.master]
        links = said.get(master.device, BondLinks(master.device))
        _note_mac(work, bond, master)
        set_metrics(work, master, _as_one(links, nics), work.call.now)
        if master.device in said:
            _tell(work, bond, len(links.up), first=master.device not in seen)
        if bond.links_up != len(links.up):
            work.update(bond, links_up=len(links.up))


def _as_one(links: BondLinks, nics: Mapping[str, NIC]) -> NIC:
    """Carrier where any slave has a link; the speed of all that carry frames together, full duplex where all of them have it."""
    active = [nics[device] for device in links.active if device in nics]
    speed, duplex = sum(nic.speed for nic in active), bool(active) and all(nic.duplex for nic in active)
    return NIC(links.device, "", carrier=bool(links.up), speed=speed, duplex=duplex)


def _note_mac(work: Work, bond: Bond, master: PIF) -> None:
    """Another card in the primary slave's place: the bond has its MAC, if it was not given one."""
    primary = work.state.find(PIF, bond.primary_slave)
    if bond.auto_update_mac and primary is not None and primary.MAC != master.MAC:
        work.update(master, MAC=primary.MAC)


def _tell(work: Work, bond: Bond, up: int, *, first: bool) -> None:
    """An alert on the host, in XenServer's words. A bond seen for the first time is worth one only if a link is missing."""
    slaves = [slave.device for slave in slaves_of(work.state, bond)]
    master = work.state.get(PIF, bond.master)
    now = f"{up}/{len(slaves)} up"
    if first and up < len(slaves):
        text = f"is: {now}"
    elif not first and up != bond.links_up:
        text = f"changed: {now} (was {bond.links_up}/{len(slaves)})"
    else:
        return
    alert(work, work.call, ALERT, PRIORITY, work.state.get(Host, master.host), f"The status of the {'+'.join(slaves)} bond {text}")
