"""Processes of xenet's program without its start: one process imports everything, and forks for each that is asked for.

On an emulated machine the imports of a server take ten seconds and more; a fork of one that has them takes a moment. `python forge.py`
is that process: it reads a line of JSON a request on its standard input, and ends with it.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from xenet.guests import held


class Forked:
    """What tests do with a process, in the words of subprocess.Popen."""

    def __init__(self, forge: "Forge", pid: int) -> None:
        self._forge, self.pid = forge, pid
        self._fd = os.pidfd_open(pid)
        self._status: int | None = None

    def send_signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            return

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises TimeoutExpired."""
        if self._status is not None:
            return self._status
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(None if timeout is None else timeout * 1000):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        self._status = int(self._forge.ask(wait=self.pid))
        return self._status

    def __del__(self) -> None:
        os.close(self._fd)


class Forge:
    """The process that has imported everything, from outside."""

    def __init__(self) -> None:
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def start(self, arguments: Sequence[str], out: Path, log: Path, environment: Mapping[str, str], hold: Path | None = None) -> Forked:
        """`hold`: a file that says which process lives, as xenet.guests.held has it; it is held when this returns."""
        request = {"start": list(arguments), "out": str(out), "log": str(log), "environment": dict(environment), "hold": str(hold or "")}
        process = Forked(self, self.ask(**request))
        while hold and not held.is_held(hold):
            time.sleep(0.02)
        return process


@cache
def forge() -> Forge:
    """The one of this process; it ends with it."""
    return Forge()


def serve() -> None:
    """Imported first, forked afterwards: no thread runs yet."""
    import xenet.agent.main
    import xenet.server.main  # noqa: F401
    from xenet.cli.xenet import main

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif (answer := os.fork()) == 0:
            become(request)
            main()
            return
        print(json.dumps(answer), flush=True)


def become(request: dict[str, Any]) -> None:
    """The program's arguments, environment and files."""
    sys.argv = ["xenet", *request["start"]]
    os.environ |= request["environment"]
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, path in enumerate((os.devnull, request["out"], request["log"])):
        fd = os.open(path, append if number else os.O_RDONLY)
        os.dup2(fd, number)
        os.close(fd)
    if request["hold"]:  # Last: whoever sees it held looks for the output.
        os.setsid()
        os.write(held.take(Path(request["hold"])), f"{os.getpid()}\n".encode())


if __name__ == "__main__":
    serve()
