"""Tap devices: the port of a guest whose hypervisor opens it itself. Source: linux/if_tun.h, Documentation/networking/tuntap.rst."""

import fcntl
import os
import struct
from types import TracebackType

_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP, _IFF_NO_PI, _IFF_TUN_EXCL = 0x0002, 0x1000, 0x8000
_CLONE = "/dev/net/tun"


class NewTap:
    """A tap device that goes away again when this is closed, or the process killed, before `keep`.

    So it never outlives its maker without the mark that other messages give it. One queue, no packet information header: what QEMU
    opens by default; the opener itself chooses whether it wants virtio-net headers.
    """

    def __init__(self, name: str) -> None:
        """Raises OSError; EBUSY or EINVAL when there is a device of this name."""
        try:
            self._fd = os.open(_CLONE, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise OSError(error.errno, f"{_CLONE} cannot be opened, a tap needs it: {error.strerror}") from None
        try:
            fcntl.ioctl(self._fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_TUN_EXCL))
        except OSError as error:
            os.close(self._fd)
            raise OSError(error.errno, f"the kernel makes no tap {name}: {error.strerror}") from None

    def keep(self) -> None:
        """From now on it stays without an opener. Raises OSError."""
        fcntl.ioctl(self._fd, _TUNSETPERSIST, 1)

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> "NewTap":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
