"""What a migration has cost: the frames to the VM that both hosts heard, compared by their beginnings.

A frame is known by what it is, whichever host's clock says when it came; what was lost and what came twice is wrong at most for frames of the
moments at which the hosts began and ended to listen. Only the gap of a QEMU, whose two NICs are on two hosts, is read off two clocks: they are
assumed to go alike, as by NTP, within a pool and across two. Where they contradict the order of things it is not said. The pause and the time
of the announcement are of one clock each.
"""

from collections.abc import Iterable, Sequence

import msgspec

from xenet.model.hidden import Frame, Heard

_IN_FLIGHT = 5_000_000
"""Nanoseconds that a frame may take from where it was heard to the guest."""
_MS = 1_000_000


def measured(heard: Sequence[Heard]) -> dict[str, str]:
    """As a task's result shows it; times in milliseconds, of several VIFs the longest.

    frames: how many reached the VM while both hosts listened; lost: of those that a host saw on their way to it, how many did not;
    duplicated: how many came by the old NIC and by the new; gap: from the last frame by the old NIC to the first by the new, where
    frames came by both, one after the other; pause: for how long the guest itself stood still, as its hypervisor says; announced: from
    the begin of the switch-over to the first announcement. `whole` is false where frames came faster than they could be kept, or one of
    the hosts did not say what it heard. Empty where the destination has heard nothing.
    """
    vifs = [_with_old(post, heard) for post in heard if post.coming]
    if not vifs:
        return {}
    gaps = [gap for post in vifs if (gap := _gap(post)) is not None]
    spoken = [post.announced - post.switched for post in vifs if post.announced]
    return {
        "frames": str(sum(len(_delivered(post)) for post in vifs)),
        "lost": str(sum(len(_lost(post, heard)) for post in vifs)),
        "duplicated": str(sum(len(_digests(post.old) & _digests(post.new)) for post in vifs)),
        **({"gap": _ms(max(gaps))} if gaps else {}),
        **({"pause": str(pause)} if (pause := max(post.paused for post in heard)) else {}),
        **({"announced": _ms(max(spoken))} if spoken else {}),
        "whole": "true" if all(post.whole for post in heard) and len(heard) == 2 * len(vifs) else "false",
    }


def _with_old(post: Heard, heard: Sequence[Heard]) -> Heard:
    """With what the guest got by the old NIC, whichever host heard it."""
    old = (frame for other in heard if other.vif == post.vif for frame in other.old)
    return msgspec.structs.replace(post, old=tuple(old))


def _digests(frames: Iterable[Frame]) -> set[int]:
    return {frame.digest for frame in frames}


def _delivered(post: Heard) -> set[int]:
    return _digests(post.old) | _digests(post.new)


def _lost(post: Heard, heard: Sequence[Heard]) -> set[int]:
    """What either host saw after all ears at the guest were there and before they went, and the guest did not get."""
    since, until = max(other.since for other in heard if other.vif == post.vif), post.until - _IN_FLIGHT
    seen = {frame.digest for other in heard if other.vif == post.vif for frame in other.seen if since <= frame.time <= until}
    return seen - _delivered(post)


def _gap(post: Heard) -> int | None:
    last, first = max((frame.time for frame in post.old), default=0), min((frame.time for frame in post.new if frame.time), default=0)
    return first - last if first >= last > 0 else None


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / _MS:.1f}"
