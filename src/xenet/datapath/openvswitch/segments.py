"""Large datagrams (UDP_SEGMENT of udp(7), as QUIC sends them) that a guest leaves its NIC to cut: a packet socket gets them whole, and the userspace
datapath of Open vSwitch, which knows this of TCP alone, drops them. So a guest's own kernel cuts them: its NIC does not offer to.

A tap's NIC is its hypervisor's business.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing

from xenet.datapath.ethtool import GENERIC, find_family, parse_family, turn_off
from xenet.datapath.namespaces import Guests, opened_in
from xenet.datapath.netlink import Socket
from xenet.plan.view import PortView

log = logging.getLogger("xenet.datapath")
_FEATURE = "tx-udp-segmentation"


def cut_datagrams(guests: Guests, ports: Iterable[tuple[PortView, str]]) -> None:
    """For these ports, each with the name of its guest's NIC. It never fails: a guest loses such datagrams alone, and the log says so."""
    nics: defaultdict[str, list[str]] = defaultdict(list)
    for port, nic in ports:
        if port.kind == "namespace":
            nics[port.vm].append(nic)
    for vm, names in nics.items():
        try:
            if (netns := guests.netns(vm)) is not None:
                _turn_off(netns, names)
        except OSError as error:
            log.info("VM %s: its large datagrams are lost: %s", vm, error)


def _turn_off(netns: int, names: list[str]) -> None:
    """Raises OSError."""
    with closing(opened_in(netns, lambda: Socket(protocol=GENERIC))) as sock:
        found = sock.get(find_family())
        if found:
            for refusal in sock.do([turn_off(parse_family(found), name, _FEATURE) for name in names]):
                if refusal:
                    log.debug("%s of %s stays: %s", _FEATURE, names, refusal)
