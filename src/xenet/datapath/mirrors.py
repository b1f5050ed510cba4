"""Mirrors on the Linux bridge: filters that copy what passes a device to another one, beside a port that the bridge leaves alone.

Of a whole switch what comes into it is copied, at each port and behind the bridge's own device, where the host's frames come in: so each frame
once. Of a VIF what its guest sends and what it gets. A port that hears copies is flooded with nothing, the bridge learns nothing there, and
what its guest sends is swallowed, so that nothing else is heard there and no copy comes back.
Copies are made before limits and locks: they show what a guest has tried, too.
"""

import errno
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set

from xenet.datapath.batch import Refused
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import Link, set_flooded
from xenet.datapath.mark import port_view
from xenet.datapath.table import Table
from xenet.datapath.tc import BEFORE, BEHIND, Copy, add_ingress, copy_to, remove_copies, remove_ingress, remove_swallow, swallow
from xenet.plan.steps import SetMirrors
from xenet.plan.view import MirrorView

_ROOM = "clsact"
Copies = dict[tuple[int, int], set[Copy]]
"""By device, before or behind it."""


def copies_for(mirrors: Iterable[MirrorView], bridge: int, members: Mapping[str, int]) -> Copies:
    """What these mirrors need. Raises Refused for a port that is not there."""
    found: defaultdict[tuple[int, int], set[Copy]] = defaultdict(set)
    mirrors = list(mirrors)
    targets = {mirror.target for mirror in mirrors}
    if missing := {device for mirror in mirrors for device in (mirror.target, *mirror.sources)} - members.keys():
        raise Refused(f"there is no port {missing.pop()}")
    for mirror in mirrors:
        target = members[mirror.target]
        if mirror.everything:
            found[bridge, BEHIND].add(Copy(target, untagged=True))
            for index in (index for name, index in members.items() if name not in targets):
                found[index, BEFORE].add(Copy(target, untagged=True))
        for source in mirror.sources:
            for side in (BEFORE, BEHIND):
                found[members[source], side].add(Copy(target, untagged=False))
    return dict(found)


def seen_mirrors(table: Table, bridge: Link, members: Set[int]) -> tuple[MirrorView, ...]:
    """Those that there are, in part or as a whole. Quick where there are none: it is asked for every view of a switch."""
    shaping = table.shaping
    here = {place: set(copies.values()) for place, copies in shaping.copies.items() if place[0] in members or place[0] == bridge.index}
    reserved = {index for index in shaping.swallowed & members if (link := table.link(index)) and port_view(link)}
    if not here and not reserved:
        return ()
    targets = {copy.target for copies in here.values() for copy in copies}
    names = {index: link.name for index in members if (link := table.link(index))}
    guess = [_guess(target, here, names) for target in targets | reserved]
    lost = any(not mirror.target for mirror in guess)
    kept = {index for index in reserved if (link := table.link(index)) and not link.flooded}
    whole = not lost and targets <= reserved == kept and copies_for(guess, bridge.index, {name: index for index, name in names.items()}) == here
    return tuple(sorted(MirrorView(mirror.target, mirror.everything, mirror.sources, whole) for mirror in guess))


def _guess(target: int, here: Mapping[tuple[int, int], set[Copy]], names: Mapping[int, str]) -> MirrorView:
    everything = any(Copy(target, untagged=True) in copies for copies in here.values())
    sources = {names[index] for (index, _), copies in here.items() if index in names and Copy(target, untagged=False) in copies}
    return MirrorView(names.get(target, ""), everything, tuple(sorted(sources)))


class Mirrors:
    """Does the step."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def ensure(self, step: SetMirrors) -> None:
        """Raises Refused, NetlinkError. Also takes away what is left on devices that have gone to another switch, or to none."""
        bridge = self._kernel.own(step.bridge)
        members = {link.name: link.index for link in self._kernel.table.members(bridge.index)}
        want = copies_for(step.mirrors, bridge.index, members)
        targets = {members[mirror.target] for mirror in step.mirrors}
        self._reserve(targets)
        for place in self._places(bridge.index, set(members.values())) | want.keys():
            self._copy(place, want.get(place, set()))
        self._release(set(members.values()) - targets)
        self._kernel.drain()

    def _places(self, bridge: int, members: set[int]) -> set[tuple[int, int]]:
        """Where copies are made that are this switch's business."""
        return {place for place in self._kernel.table.shaping.copies if place[0] == bridge or place[0] in members or self._is_left(place[0])}

    def _is_left(self, index: int) -> bool:
        """Whether a device copies to where it does not belong any more."""
        table = self._kernel.table
        link, targets = table.link(index), [table.link(copy.target) for _, copy in table.shaping.copies_of(index)]
        return link is None or any(target is None or target.master not in (link.master, link.index) for target in targets)

    def _copy(self, place: tuple[int, int], want: set[Copy]) -> None:
        index, side = place
        have = list(self._kernel.table.shaping.copies.get(place, {}).values())
        if set(have) == want and len(have) == len(want):
            return
        if have:
            self._kernel.run(remove_copies(index, side), errno.ENOENT, errno.EINVAL, errno.ENODEV)
        if want:
            self._kernel.run(add_ingress(index, _ROOM), errno.EEXIST)
        for copy in sorted(want):
            self._kernel.run(copy_to(index, side, copy))
        if not want:
            self._tidy(index)

    def _tidy(self, index: int) -> None:
        if not self._kernel.filters(index):
            self._kernel.run(remove_ingress(index, _ROOM), errno.ENOENT, errno.EINVAL, errno.ENODEV)

    def _reserve(self, targets: set[int]) -> None:
        for index in targets:
            self._kernel.run(add_ingress(index, _ROOM), errno.EEXIST)
            self._kernel.run(swallow(index), errno.EEXIST)
            self._kernel.run(set_flooded(index, flooded=False))
            self._kernel.ask(index)  # the bridge speaks of its ports' settings in messages of its own

    def _release(self, others: set[int]) -> None:
        table = self._kernel.table
        ports = [link for index in others if (link := table.link(index)) and port_view(link)]
        for link in ports:
            if not link.flooded:
                self._kernel.run(set_flooded(link.index, flooded=True), errno.ENODEV)
                self._kernel.ask(link.index)
            if link.index in table.shaping.swallowed:
                self._kernel.run(remove_swallow(link.index), errno.ENOENT, errno.EINVAL)
                self._tidy(link.index)
