"""How a QEMU gets to another host, in the words of its monitor: the copy of its memory is begun, called back, and judged. QEMU's source:
qapi/migration.json, docs/devel/migration.rst.
"""

import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xenet.guests.base import GuestError
from xenet.guests.machine import INCOMING
from xenet.guests.qmp import QMP, connected
from xenet.plan.view import GuestView, Stage

REACHED_WITHIN, CALLED_BACK_WITHIN = 2.0, 3.0
"""Seconds: to another machine; until a copy that is called back has ended."""
UNDER_WAY = ("setup", "wait-unplug", "active", "pre-switchover", "device", "cancelling")
"""What QEMU says of a copy that goes on."""
FAST = 10 << 30
"""Bytes a second that a copy may take: as much as there is."""
ABLE = ("events", "return-path")
"""It tells how the copy goes; and it has gone when the other one says that it has all of it, not when the last byte was sent."""
ANNOUNCED = {"initial": 50, "max": 550, "rounds": 5, "step": 100}
"""Milliseconds of pauses between QEMU's announcements; the first comes at once."""


def reached(guest: GuestView, elsewhere: Iterable[Path]) -> socket.socket:
    """A connection to where the guest is awaited: its way, or one of the folders that it has on other hosts of this machine. Raises GuestError."""
    try:
        if guest.way:
            address, _, port = guest.way.rpartition(":")
            return socket.create_connection((address.strip("[]"), int(port)), REACHED_WITHIN)
        there = next((folder for folder in elsewhere if (folder / INCOMING).exists()), None)
        if there is None:
            raise GuestError(f"guest {guest.name} is awaited nowhere")
        return connected(there / INCOMING, REACHED_WITHIN)
    except OSError as error:
        raise GuestError(f"the place where guest {guest.name} is awaited cannot be reached: {error.strerror or error}") from error


def begin(qmp: QMP, way: socket.socket) -> None:
    """Raises GuestError."""
    qmp.run("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in ABLE])
    qmp.run("migrate-set-parameters", max_bandwidth=FAST)
    qmp.run("getfd", way.fileno(), fdname="way")
    qmp.run("migrate", uri="fd:way")


def call_back(qmp: QMP) -> None:
    """Returns when no copy goes on. Raises GuestError."""
    until = time.monotonic() + CALLED_BACK_WITHIN
    if qmp.run("query-migrate").get("status") in UNDER_WAY:
        qmp.run("migrate_cancel")
    while qmp.run("query-migrate").get("status") in UNDER_WAY:
        if time.monotonic() > until:
            raise GuestError("QEMU does not end the copy that it was told to end")
        time.sleep(0.005)


def stage_of(status: str, copy: dict[str, Any], halting: bool) -> Stage:
    """By what `query-status` and `query-migrate` say."""
    if status == "inmigrate":
        return "awaits"
    if status == "postmigrate":
        return "gone"
    if status == "finish-migrate" or copy.get("status") in UNDER_WAY:
        return "going"
    return "halts" if halting else "runs"


def why_failed(copy: dict[str, Any]) -> str:
    """Why a copy ended before the guest was there; empty where it did not."""
    return str(copy.get("error-desc") or copy["status"]) if copy.get("status") in ("failed", "cancelled") else ""
