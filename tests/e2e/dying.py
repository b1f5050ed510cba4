"""xenet's own program, made to kill itself (SIGKILL) at the n-th of its dangerous moments: `dying.py MARK N xenet-arguments...`. With `still` for
N it lives, and stands still (SIGSTOP) at each of the moments that the file MARK has the numbers of.

Moments are counted once the file MARK exists: before and after each write to the store, each message on the link, each netlink
message, each door handed over and each start and stop of a guest.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
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


class Stillness(Fate):
    """Counts anew in each run."""

    def __init__(self, mark: Path) -> None:
        super().__init__(mark, 0)
        self.said = ""

    def moment(self) -> None:
        said = self.read()
        self.left = self.left + 1 if said == self.said else 1
        self.said = said
        run, *moments = said.split() or [""]
        if str(self.left) in moments:
            here = self.mark.with_suffix(f".{run}")
            here.touch()
            while here.exists() and self.read() == said:
                time.sleep(0.002)

    def read(self) -> str:
        with suppress(FileNotFoundError):
            return self.mark.read_text()
        return ""


if __name__ == "__main__":
    fate = Stillness(Path(sys.argv[1])) if sys.argv[2] == "still" else Fate(Path(sys.argv[1]), int(sys.argv[2]))
    for owner, name in MOMENTS:
        setattr(owner, name, fate.around(getattr(owner, name)))
    sys.argv = [sys.argv[0], *sys.argv[3:]]
    main()
