"""The client of an Open vSwitch's database: a replica that stays connected, one transaction at a time, and one descriptor that says when there
is news.

The library's replica wants to be run when a descriptor is ready or a time has come; which ones, it says anew after each run. Here they are
all behind one epoll, the times in a timerfd of the kernel's, so that the agent's loop sees a single descriptor. Everything that waits has an end.
"""

import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ovs.db.idl

from xenet.datapath.netlink import NetlinkError
from xenet.datapath.openvswitch.timer import Timer

COLUMNS = {
    "Open_vSwitch": ["bridges", "cur_cfg", "next_cfg", "other_config"],
    "Bridge": ["name", "ports", "mirrors", "external_ids", "other_config", "fail_mode", "controller", "datapath_type", "mcast_snooping_enable"],
    "Port": [
        *("name", "interfaces", "tag", "trunks", "fake_bridge", "external_ids", "other_config"),
        *("bond_mode", "lacp", "bond_updelay", "bond_downdelay", "bond_active_slave", "protected", "vlan_mode"),
    ],
    "Mirror": ["name", "select_all", "select_src_port", "select_dst_port", "select_vlan", "output_port", "output_vlan", "external_ids"],
    "Interface": ["name", "type", "external_ids", "other_config", "mtu_request", "mac", "ofport", "error", "options"],
}
PATIENCE_S = 10.0
"""Seconds that a batch waits for the database, and for ovs-vswitchd to have done what it says. 500 ports take it one."""
_LATER = 500
"""Milliseconds between looks where nobody answers."""


class Unreachable(OSError):
    """The database does not answer, or ovs-vswitchd does not; doing it again can help."""

    def __init__(self, text: str) -> None:
        super().__init__(11, text)


class _Wishes:
    """What the replica waits for, as it tells a poller of its library's kind."""

    def __init__(self) -> None:
        self.fds: dict[int, int] = {}
        self.timeout: int | None = None
        """Milliseconds."""

    def fd_wait(self, fd: Any, events: int) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        self.fds[number] = self.fds.get(number, 0) | events

    def timer_wait(self, msec: int) -> None:
        self.timeout = max(0, msec) if self.timeout is None else min(self.timeout, max(0, msec))

    def timer_wait_until(self, msec: int) -> None:
        self.timer_wait(int(msec - time.monotonic() * 1000))

    def immediate_wake(self) -> None:
        self.timer_wait(0)


class _Replica(ovs.db.idl.Idl):  # type: ignore[misc]
    """Notes which rows changed."""

    def __init__(self, remote: str, schema: Path) -> None:
        self.news: list[tuple[str, str, Any]] = []
        """(what happened, table, row)."""
        helper = ovs.db.idl.SchemaHelper(str(schema))
        for table, columns in COLUMNS.items():
            helper.register_columns(table, columns)
        super().__init__(remote, helper, probe_interval=0)

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        self.news.append((event, row._table.name, row))


class Database:
    """Of the Open vSwitch at a Unix socket."""

    def __init__(self, socket: Path, schema: Path) -> None:
        self.socket = socket
        self._schema = schema
        self._idl = _Replica(f"unix:{socket}", schema)
        self._epoll = select.epoll()
        self._timer = Timer()
        self._epoll.register(self._timer.fd, select.EPOLLIN)
        self._watched: dict[int, int] = {}

    def close(self) -> None:
        self._idl.close()
        self._epoll.close()
        self._timer.close()

    def fileno(self) -> int:
        """Readable when `run` has something to do."""
        return self._epoll.fileno()

    @property
    def connected(self) -> bool:
        """Whether the rows are those of the database now."""
        return bool(self._idl.state == self._idl.IDL_S_MONITORING and self._idl._session.is_connected())

    def rows(self, table: str) -> list[Any]:
        return list(self._idl.tables[table].rows.values())

    def root(self) -> Any:
        """The one row of the table Open_vSwitch. Raises Unreachable."""
        rows = self.rows("Open_vSwitch")
        if not rows:
            raise Unreachable(f"Open vSwitch's database at {self.socket} does not answer")
        return rows[0]

    def run(self) -> list[tuple[str, str, Any]]:
        """Take in what has come: (event, table, row) of each row that changed."""
        self._timer.take()
        for _ in range(64):
            before = self._idl.change_seqno, self._idl.state
            self._idl.run()
            if before == (self._idl.change_seqno, self._idl.state):
                break
        self._rearm()
        news, self._idl.news = self._idl.news, []
        return news

    def _rearm(self) -> None:
        wishes = _Wishes()
        self._idl.wait(wishes)
        for fd in self._watched.keys() - wishes.fds.keys():
            self._forget(fd)
        for fd, events in wishes.fds.items():
            self._watch(fd, events)
        self._watched = wishes.fds
        self._timer.set(None if self.connected and wishes.timeout is None else max(1, min(wishes.timeout or _LATER, _LATER)))

    def _watch(self, fd: int, events: int) -> None:
        """A number may name another socket by now: closing the old one took it out of the set."""
        try:
            self._epoll.register(fd, events)
        except FileExistsError:
            self._epoll.modify(fd, events)

    def _forget(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except OSError:
            self._watched.pop(fd, None)

    def connect(self, seconds: float) -> None:
        """Wait until the rows are there. Raises Unreachable."""
        self._wait(lambda: self.connected and bool(self.rows("Open_vSwitch")), seconds, f"Open vSwitch's database at {self.socket} does not answer")

    def hurry(self) -> None:
        """Try to connect now: the library's pauses between attempts grow to seconds."""
        if not self._idl._session.is_connected():
            self._idl.close()
            self._idl = _Replica(f"unix:{self.socket}", self._schema)
            self._watched = {}

    def _wait(self, true: Callable[[], bool], seconds: float, text: str) -> None:
        until = time.monotonic() + seconds
        kept: list[tuple[str, str, Any]] = []
        while True:
            kept += self.run()
            if true():
                break
            left = until - time.monotonic()
            if left <= 0:
                self._idl.news = kept + self._idl.news
                raise Unreachable(text)
            self._epoll.poll(left)
        self._idl.news = kept + self._idl.news

    # --- writing -----------------------------------------------------------------------------------

    def transact(self, draft: Callable[[Any], None], wait: bool = True) -> None:
        """What `draft` does to rows, as one transaction, and wait until ovs-vswitchd has done it (unless it is
        gone). Done again where somebody else wrote
        meanwhile. Raises Unreachable, OSError where the database refuses."""
        for _ in self._attempts():
            txn = ovs.db.idl.Transaction(self._idl)
            try:
                draft(txn)
                root = self.root()
                if _is_empty(txn):
                    txn.abort()
                    return
                root.increment("next_cfg")
                status = self._commit(txn)
            except BaseException:
                txn.abort()
                raise
            if status == txn.SUCCESS:
                if wait:
                    self._settle(txn.get_increment_new_value())
                return
            if status != txn.TRY_AGAIN:
                raise NetlinkError(22, f"Open vSwitch's database says: {txn.get_error()}")
        raise Unreachable(f"Open vSwitch's database at {self.socket} does not answer")

    def _attempts(self) -> Iterator[int]:
        for number in range(5):
            self.connect(PATIENCE_S if number == 0 else 1.0)
            yield number

    def _commit(self, txn: Any) -> str:
        until = time.monotonic() + PATIENCE_S
        kept = self._idl.news
        self._idl.news = []
        status = txn.commit()
        while status == txn.INCOMPLETE and time.monotonic() < until:
            kept += self.run()
            status = txn.commit()
            if status == txn.INCOMPLETE:
                self._epoll.poll(max(0.0, until - time.monotonic()))
        self._idl.news = kept + self._idl.news
        if status == txn.INCOMPLETE:
            txn.abort()
        return str(status)

    def _settle(self, number: int) -> None:
        self._wait(lambda: self.root().cur_cfg >= number, PATIENCE_S, "ovs-vswitchd does not answer: it does not run, or hangs")

    def changed(self) -> list[tuple[str, str, Any]]:
        """What `run` would return of what has been taken in already."""
        news, self._idl.news = self._idl.news, []
        return news


def _is_empty(txn: Any) -> bool:
    return not txn._txn_rows
