"""The links of bonds, as ovs-vswitchd says (`bond/show`): it has delays and LACP's word to heed, so a carrier alone does not tell."""

import re
from pathlib import Path

from xenet.datapath.openvswitch.control import ask
from xenet.datapath.table import Table
from xenet.model.hidden import BondLinks
from xenet.plan.view import BondView

_MEMBER = re.compile(r"^(?:member|slave) (\S+): (enabled|disabled)$", re.MULTILINE)
_ACTIVE = re.compile(r"^(?:member|slave) (\S+): enabled\n\s+active (?:member|slave)$", re.MULTILINE)


def find_links(device: str, asked: BondView, control: Path, table: Table) -> BondLinks:
    """None where nobody answers. A single NIC is a plain port, of which ovs-vswitchd says nothing: its carrier tells."""
    if len(asked.slaves) == 1:
        nic = table.link(asked.slaves[0])
        up = asked.slaves if nic and nic.up and nic.carrier else ()
        return BondLinks(device, up, up)
    try:
        return parse_bond(device, asked, ask(control, "bond/show", device))
    except OSError:
        return BondLinks(device)


def parse_bond(device: str, asked: BondView, text: str) -> BondLinks:
    """Of an active-backup bond one link carries frames, of others all that are up."""
    up = tuple(sorted(name for name, state in _MEMBER.findall(text) if state == "enabled"))
    active = tuple(name for name in _ACTIVE.findall(text)) if asked.mode == "active-backup" else up
    return BondLinks(device, up, active)
