"""What is known of buckets, redirections and copies, kept from dumps and notifications as the table keeps devices."""

from collections.abc import Iterable
from typing import TypeVar

from xenet.datapath.netlink import DELQDISC, DELTFILTER, NEWQDISC, NEWTFILTER
from xenet.datapath.tc import (
    BEFORE,
    BEHIND,
    INGRESS,
    MIRROR,
    PREF,
    ROOT,
    SWALLOW,
    Bucket,
    Copy,
    FilterAt,
    filter_at,
    parse_bucket,
    parse_copy,
    parse_redirect,
    place_of,
)

V = TypeVar("V")
KINDS = frozenset({NEWQDISC, DELQDISC, NEWTFILTER, DELTFILTER})


class Shaping:
    """By ifindex."""

    def __init__(self) -> None:
        self.buckets: dict[int, Bucket] = {}
        """Behind a device."""
        self.targets: dict[int, int] = {}
        """Of a port: the device that all its guest sends is redirected to, 0 for none that exists."""

        self.copies: dict[tuple[int, int], dict[int, Copy]] = {}
        """Of a device, before or behind it: the filters that copy, by their numbers."""
        self.swallowed: set[int] = set()
        """Devices of which nothing that comes in goes on."""

    def copies_of(self, index: int) -> set[tuple[int, Copy]]:
        """Each with where it is."""
        return {(parent, copy) for parent in (BEFORE, BEHIND) for copy in self.copies.get((index, parent), {}).values()}

    def load(self, qdiscs: Iterable[bytes], filters: Iterable[bytes]) -> set[int]:
        """Take full dumps in place of all that was known; the devices where something changed."""
        buckets, targets, copies, swallowed = self.buckets, self.targets, self.copies, self.swallowed
        self.buckets, self.targets, self.copies, self.swallowed = {}, {}, {}, set()
        for message in qdiscs:
            self.take(NEWQDISC, message)
        for message in filters:
            self.take(NEWTFILTER, message)
        changed = {index for index, _ in buckets.items() ^ self.buckets.items()} | {index for index, _ in targets.items() ^ self.targets.items()}
        recopied = {place[0] for place in copies.keys() | self.copies.keys() if copies.get(place) != self.copies.get(place)}
        return changed | recopied | (swallowed ^ self.swallowed)

    def take(self, kind: int, message: bytes) -> int:
        """Take a notification; the device that it concerns if anything of this changed, else 0."""
        if kind in (NEWQDISC, DELQDISC):
            return self._take_qdisc(kind == NEWQDISC, message)
        return self._take_filter(kind == NEWTFILTER, message)

    def _take_qdisc(self, new: bool, message: bytes) -> int:
        index, handle, parent = place_of(message)
        if parent == INGRESS:  # its filters go with it, and without a word
            return index if not new and self._forget_filters(index) else 0
        if parent != ROOT:
            return 0
        bucket = parse_bucket(message) if new and handle else None
        if self.buckets.get(index) == bucket:
            return 0
        _note(self.buckets, index, bucket)
        return index

    def _take_filter(self, new: bool, message: bytes) -> int:
        at = filter_at(message)
        if at.pref == MIRROR:
            return at.device if self._take_copy(new, at, message) else 0
        if at.pref == SWALLOW and at.parent == BEFORE:
            return self._take_swallow(new, at.device)
        if at.pref != PREF:
            return 0
        index = at.device
        target = parse_redirect(message) if new else None
        if self.targets.get(index) == target or (new and target is None):
            return 0
        _note(self.targets, index, target)
        return index

    def _take_copy(self, new: bool, at: FilterAt, message: bytes) -> bool:
        known, before = self.copies.setdefault((at.device, at.parent), {}), self.copies_of(at.device)
        if new and (copy := parse_copy(message)):
            known[at.handle] = copy
        elif not new and at.handle:
            known.pop(at.handle, None)
        elif not new:
            known.clear()
        if not known:
            del self.copies[at.device, at.parent]
        return before != self.copies_of(at.device)

    def _take_swallow(self, new: bool, index: int) -> int:
        if new == (index in self.swallowed):
            return 0
        self.swallowed ^= {index}
        return index

    def _forget_filters(self, index: int) -> bool:
        """Whether there were any."""
        there = (self.targets.pop(index, None) is not None, index in self.swallowed, bool(self.copies_of(index)))
        self.swallowed.discard(index)
        for parent in (BEFORE, BEHIND):
            self.copies.pop((index, parent), None)
        return any(there)

    def forget(self, index: int) -> None:
        """The device is gone."""
        self.buckets.pop(index, None)
        self._forget_filters(index)


def _note(known: dict[int, V], index: int, value: V | None) -> None:
    if value is None:
        del known[index]
    else:
        known[index] = value
