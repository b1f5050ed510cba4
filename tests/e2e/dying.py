"""xenet's own program, made to kill itself (SIGKILL) at the n-th of its dangerous moments: `dying.py MARK N xenet-arguments...`.

Moments are counted once the file MARK exists: before and after each write to the store, each message on the link, each netlink
message, each door handed over and each start and stop of a guest.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from xenet.agent.door import Door
from xenet.cli.xenet import main
from xenet.datapath.netlink import Socket
from xenet.guests.namespace import NamespaceGuests
from xenet.guests.qemu import QemuGuests
from xenet.link.channel import Channel
from xenet.store.sqlite import SqliteStore

MOMENTS: tuple[tuple[Any, str], ...] = (
    (SqliteStore, "_write"),
    (Channel, "send"),
    (Socket, "_send"),
    (Door, "_hand_over"),
    (NamespaceGuests, "start"),
    (NamespaceGuests, "stop"),
    (QemuGuests, "start"),
    (QemuGuests, "stop"),
    (QemuGuests, "send"),
    (QemuGuests, "keep"),
)


class Fate:
    """Counts moments, and strikes."""

    def __init__(self, mark: Path, strike: int) -> None:
        self.mark = mark
        self.left = strike

    def moment(self) -> None:
        if self.mark.exists():
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.moment()
            result = function(*args, **kwargs)
            self.moment()
            return result

        return wrapped


if __name__ == "__main__":
    fate = Fate(Path(sys.argv[1]), int(sys.argv[2]))
    for owner, name in MOMENTS:
        setattr(owner, name, fate.around(getattr(owner, name)))
    sys.argv = [sys.argv[0], *sys.argv[3:]]
    main()
