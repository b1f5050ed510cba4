"""When a slave of a bond gets or loses its link, MACs go another way from then on, and the switches outside must hear of it: they would
send to the old place until the next frame of each comes from the new one.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from xenet.datapath.base import Datapath
from xenet.plan.view import SwitchView

log = logging.getLogger("xenet.agent")
Announce = Callable[[str, Mapping[str, Sequence[str]]], None]
"""Say out of a device where MACs are, each with what addresses of it are known. May raise OSError."""


def follow_links(datapath: Datapath, announce: Announce | None) -> None:
    """Let frames go the way that links allow, and tell of those that go another way than before. Without `announce` nobody is told."""
    moved = datapath.steer()
    if announce is None or not moved:
        return
    for device, macs in behind(moved, datapath.switches().values()):
        log.info("%s: telling the switches where %d MACs are", device, len(macs))
        try:
            announce(device, macs)
        except OSError as error:
            log.warning("%s: %s", device, error)


def behind(bonds: set[str], switches: Iterable[SwitchView]) -> Iterator[tuple[str, dict[str, Sequence[str]]]]:
    """What each switch on one of these bonds, or on a VLAN of one, reaches the world through, and the MACs on it: its own, with the host's
    addresses, and its guests'."""
    for switch in on(bonds, switches):
        if switch.uplink:
            own = [address.partition("/")[0] for address in switch.addresses]
            yield switch.uplink.device, {switch.mac: own, **{port.mac: () for port in switch.ports.values() if port.up}}


def on(devices: set[str], switches: Iterable[SwitchView]) -> Iterator[SwitchView]:
    """The switches that reach the world through one of these bonds or NICs, or a VLAN of one."""
    for switch in switches:
        uplink = switch.uplink
        if uplink and devices & {uplink.device, uplink.vlan.parent if uplink.vlan else ""}:
            yield switch
