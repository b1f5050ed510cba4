"""Questions to ovs-vswitchd by its control socket, as ovs-appctl(8) asks them; and word of its end.

A question has its time: a daemon that was stopped answers nothing for ever.
"""

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import msgspec

from xenet.datapath.openvswitch.daemons import holder

PATIENCE_S = 2.0


def ask(path: Path, method: str, *arguments: str) -> str:
    """Raises OSError: nobody is there, no answer in time, or the daemon's own refusal."""
    try:
        answer = _answer(path, {"id": 0, "method": method, "params": arguments})
    except TimeoutError:
        raise TimeoutError("ovs-vswitchd does not answer: it hangs, or is stopped") from None
    if answer.get("error"):
        raise OSError(str(answer["error"]).strip())
    return str(answer["result"])


def _answer(path: Path, question: dict[str, Any]) -> Any:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        connect(sock, path)
        sock.sendall(msgspec.json.encode(question))
        return _receive(sock)


def connect(sock: socket.socket, path: Path) -> None:
    """By its folder's descriptor: the kernel takes no path of more than 107 bytes (unix(7))."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _receive(sock: socket.socket) -> Any:
    data = b""
    while part := sock.recv(1 << 16):
        data += part
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(data)
    raise OSError("ovs-vswitchd closed its control socket")


def system_control(folder: Path) -> Path:
    """The control socket of the ovs-vswitchd whose files are in this folder."""
    return folder / f"ovs-vswitchd.{holder(folder / 'ovs-vswitchd.pid') or 0}.ctl"
