"""Which Open vSwitch a host uses: one of its own, in a folder, or the one that the system runs; and by which datapath that moves frames."""

from pathlib import Path

import msgspec

from xenet.datapath.openvswitch.control import system_control
from xenet.datapath.openvswitch.daemons import Daemons
from xenet.datapath.openvswitch.programs import SYSTEM_SOCKET
from xenet.datapath.openvswitch.userspace import kernel_has_module


class Place(msgspec.Struct, frozen=True):
    """Where its sockets are. `own` None: the system keeps it up, and nobody else starts or stops it."""

    socket: Path
    own: Daemons | None
    userspace: bool

    def control(self) -> Path:
        return self.own.control if self.own else system_control(self.socket.parent)

    def management(self, bridge: str) -> Path:
        """Where a bridge answers OpenFlow."""
        return self.socket.parent / f"{bridge}.mgmt"


def find_place(folder: Path, in_namespace: bool) -> Place:
    """The system's, where it runs and this is the system's own network namespace; else one of the host's own in this folder."""
    userspace = not kernel_has_module()
    if not in_namespace and not folder.exists() and SYSTEM_SOCKET.is_socket():
        return Place(SYSTEM_SOCKET, None, userspace)
    daemons = Daemons(folder)
    return Place(daemons.socket, daemons, userspace)
