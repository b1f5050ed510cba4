"""Hosts of both data planes in one lab: what comes to Open vSwitch comes whole.

A cable is a pair of devices of one kernel, so a frame that leaves by it may have its checksum still to be made: a NIC would do that. An ovs-vswitchd
that moves the frames itself cannot make the one within a tunnel's packet, and drops it. Between hosts that all have Open vSwitch there are no
such packets.
"""

import os
from collections.abc import Sequence
from functools import partial

from xenet.datapath.drivers import Drivers
from xenet.datapath.links import get_link, parse_link
from xenet.datapath.namespaces import opened_in
from xenet.datapath.netlink import Socket
from xenet.lab.run import Run
from xenet.lab.topology import Lab, port_name


def finish_frames(run: Run, lab: Lab, datapath: str) -> None:
    """Where the lab has both, or may have. Raises NetlinkError."""
    planes = {host.name: host.datapath or datapath for host in lab.hosts}
    if len(set(planes.values())) < 2:
        return
    for switch in lab.switches:
        cables = ((host.name, nic) for host in lab.hosts for nic in host.nics if nic.switch == switch and planes[host.name] != "bridge")
        finish_in(run.namespace(switch).pid, [port_name(host, nic.name) for host, nic in cables])


def finish_in(pid: int, devices: Sequence[str]) -> None:
    """What leaves a namespace by these devices is whole. Raises NetlinkError."""
    netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        opened_in(netns, partial(_finish, devices))
    finally:
        os.close(netns)


def _finish(devices: Sequence[str]) -> None:
    """The kernel makes the checksums, and cuts large segments, before a frame goes out of one of these."""
    drivers = Drivers()
    try:
        with Socket() as kernel:
            found = [message for device in devices if (message := kernel.get(get_link(device)))]
        for message in found:
            drivers.tell(parse_link(message), {"tx": "off"})
    finally:
        drivers.close()
