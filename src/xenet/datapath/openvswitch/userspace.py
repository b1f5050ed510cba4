"""Whether the kernel has Open vSwitch's datapath: asked of generic netlink, which knows a family `ovs_datapath` where it does.

Source: linux/genetlink.h, linux/openvswitch.h.
"""

from pathlib import Path

from xenet.datapath.netlink import NetlinkError, Request, Socket, text

_GENERIC, _CONTROL, _GETFAMILY, _NAME = 16, 16, 3, 2
FAMILY = "ovs_datapath"


def kernel_has_module() -> bool:
    with Socket(protocol=_GENERIC) as sock:
        try:
            sock.get(Request(_CONTROL, 0, bytes((_GETFAMILY, 1, 0, 0)) + text(_NAME, FAMILY)))
        except NetlinkError:
            return False
    return True


def answer_for_itself(bridge: str) -> None:
    """Linux answers who has an address on any device; but what comes by a tunnel ovs-vswitchd takes in at the device that has the address
    (lib/tnl-ports.c), not at another one on the same physical switch. In the namespace of this thread."""
    Path(f"/proc/sys/net/ipv4/conf/{bridge}/arp_ignore").write_text("1")
