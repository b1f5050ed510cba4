"""Locks over the life of an ovs-vswitchd: a new one has no flows, and passes no frame (`flow-restore-wait`) until they are there again."""

import logging
from contextlib import suppress

from xenet.datapath.openvswitch.board import Board
from xenet.datapath.openvswitch.daemons import WAIT
from xenet.datapath.openvswitch.database import Database
from xenet.datapath.openvswitch.watch import Watch

log = logging.getLogger("xenet.datapath")


class LockKeeper:
    """Of one database."""

    def __init__(self, database: Database, board: Board, watch: Watch) -> None:
        self._database = database
        self._board = board
        self._watch = watch

    def look(self) -> None:
        try:
            self._board.look_at_flows()
        except OSError as error:  # no lock is whole then, and the next look is when something is done about it
            log.info("locks are not known: %s", error)
            self._board.locks.forget()

    def held_back(self) -> bool:
        """Whether ovs-vswitchd passes nothing until its flows are there."""
        rows = self._database.rows("Open_vSwitch")
        return self._watch.alive and bool(rows) and WAIT in rows[0].other_config

    def restore(self) -> None:
        """Put in again what an ovs-vswitchd that is new has lost; then it may pass frames."""
        locked = [port for switch in self._board.asked.values() for port in switch.ports.values() if port.lock]
        errors = self._board.locks.apply([port for port in locked if self._board.place_of(port.device)])
        for device, error in errors.items():
            log.warning("%s: %s", device, error)
        try:
            if not errors and WAIT in self._database.root().other_config:
                self._database.transact(lambda txn: self._database.root().delkey("other_config", WAIT))
        except OSError as error:
            log.warning("ovs-vswitchd still waits for its flows: %s", error)

    def hold_back(self) -> None:
        """The ovs-vswitchd that comes next shall pass no frame before locks are there."""
        if any(port.lock for switch in self._board.asked.values() for port in switch.ports.values()):
            with suppress(OSError):
                self._database.transact(lambda txn: self._database.root().setkey("other_config", WAIT, "true"), wait=False)
