"""Whether the kernel has Open vSwitch's datapath: asked of generic netlink, which knows a family `ovs_datapath` where it does.

Source: linux/genetlink.h, linux/openvswitch.h.
"""

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
