"""A timerfd (timerfd_create(2)), which Python itself has from 3.13 on."""

import ctypes
import os

_CLOCK_MONOTONIC, _FLAGS = 1, os.O_CLOEXEC | os.O_NONBLOCK


class Timer:
    """Readable when its time has come."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = int(self._libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS))
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, msec: float | None) -> None:
        """Once, so many milliseconds from now; None: not at all."""
        seconds, rest = divmod(int(msec or 0), 1000)
        value = (ctypes.c_long * 4)(0, 0, seconds, rest * 1_000_000)
        self._libc.timerfd_settime(self.fd, 0, value, None)

    def take(self) -> bool:
        """Whether its time has come since the last time it was asked."""
        try:
            return bool(os.read(self.fd, 8))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self.fd)
