"""What is known of buckets and redirections, kept from dumps and notifications as the table keeps devices."""

from collections.abc import Iterable
from typing import TypeVar

from xenet.datapath.netlink import DELQDISC, DELTFILTER, NEWQDISC, NEWTFILTER
from xenet.datapath.tc import INGRESS, ROOT, Bucket, is_redirect, parse_bucket, parse_redirect, place_of

V = TypeVar("V")
KINDS = frozenset({NEWQDISC, DELQDISC, NEWTFILTER, DELTFILTER})


class Shaping:
    """By ifindex."""

    def __init__(self) -> None:
        self.buckets: dict[int, Bucket] = {}
        """Behind a device."""
        self.targets: dict[int, int] = {}
        """Of a port: the device that all its guest sends is redirected to, 0 for none that exists."""

    def load(self, qdiscs: Iterable[bytes], filters: Iterable[bytes]) -> set[int]:
        """Take full dumps in place of all that was known; the devices where something changed."""
        buckets, targets = self.buckets, self.targets
        self.buckets, self.targets = {}, {}
        for message in qdiscs:
            self.take(NEWQDISC, message)
        for message in filters:
            self.take(NEWTFILTER, message)
        return {index for index, _ in buckets.items() ^ self.buckets.items()} | {index for index, _ in targets.items() ^ self.targets.items()}

    def take(self, kind: int, message: bytes) -> int:
        """Take a notification; the device that it concerns if anything of this changed, else 0."""
        if kind in (NEWQDISC, DELQDISC):
            return self._take_qdisc(kind == NEWQDISC, message)
        return self._take_filter(kind == NEWTFILTER, message)

    def _take_qdisc(self, new: bool, message: bytes) -> int:
        index, handle, parent = place_of(message)
        if parent == INGRESS:  # its filters go with it, and without a word
            return index if not new and self.targets.pop(index, None) is not None else 0
        if parent != ROOT:
            return 0
        bucket = parse_bucket(message) if new and handle else None
        if self.buckets.get(index) == bucket:
            return 0
        _note(self.buckets, index, bucket)
        return index

    def _take_filter(self, new: bool, message: bytes) -> int:
        if not is_redirect(message):
            return 0
        index = place_of(message).device
        target = parse_redirect(message) if new else None
        if self.targets.get(index) == target or (new and target is None):
            return 0
        _note(self.targets, index, target)
        return index

    def forget(self, index: int) -> None:
        """The device is gone."""
        self.buckets.pop(index, None)
        self.targets.pop(index, None)


def _note(known: dict[int, V], index: int, value: V | None) -> None:
    if value is None:
        del known[index]
    else:
        known[index] = value
