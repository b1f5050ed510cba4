"""The account that an agent gives of its host: to the server what that does not know yet, to the log each failure once."""

import logging
from collections.abc import Iterable, Mapping

import msgspec

from xenet.link.messages import Report
from xenet.model.hidden import NIC

log = logging.getLogger("xenet.agent")
_LEFT_OUT = ("nics", "bonds", "bridges", "leases", "leases6", "claims")
"""The parts of a report that say nothing when they are as they were."""


class Account:
    """Of one host."""

    def __init__(self) -> None:
        self._known = Report(-1)
        """What the server knows."""
        self._failed: set[str] = set()
        """What failed in the last turn."""
        self._logged: set[str] = set()
        """What of it stands in the log."""

    def greeted(self, nics: tuple[NIC, ...]) -> None:
        """A server that knows these NICs, and nothing else."""
        self._known = Report(-1, {}, nics, {}, {}, bonds=(), bridges=(), claims={})

    def has_news(self, now: Report) -> bool:
        """Whether the host is otherwise than the server knows, whatever the revision."""
        return msgspec.structs.replace(now, revision=self._known.revision) != self._known

    def news(self, now: Report) -> Report:
        """What is to be told of the host as it is now; the server knows it from here on."""
        same = {name: None for name in _LEFT_OUT if getattr(now, name) == getattr(self._known, name)}
        self._known = msgspec.structs.replace(now, heard=())
        return msgspec.structs.replace(now, **same)

    def whole(self, now: Report) -> Report:
        """All of it, whatever the server knows, but for what was heard of migrations."""
        self._known = msgspec.structs.replace(now, heard=())
        return self._known

    def log_failures(self, failures: Mapping[str, str], own: Iterable[str]) -> None:
        """`own`: those of the keeper's that came about as drift was mended. Such a one must fail twice: of a device that somebody deletes the
        kernel first says that it is down, so the first attempt may well meet nothing."""
        spared = set(own) - self._failed
        for uuid in failures.keys() - self._logged - spared:
            log.warning("%s: %s", uuid, failures[uuid])
            self._logged.add(uuid)
        self._logged &= failures.keys()
        self._failed = set(failures)
