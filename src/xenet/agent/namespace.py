"""Entering a network namespace, once, at the start of the process and before its threads (kernel interface: setns(2))."""

import ctypes
import os

CLONE_NEWNET = 0x40000000


def enter_netns(where: str) -> None:
    """Make a namespace that of this process: a path such as /proc/PID/ns/net, or a name of `ip netns`. Raises OSError."""
    path = where if "/" in where else f"/run/netns/{where}"
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)
    finally:
        os.close(fd)
