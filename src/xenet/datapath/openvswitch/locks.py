"""Locks on Open vSwitch: flows of a locked port, all of a batch's in one bundle for each bridge, so that a change holds as a whole.

What a port is locked to stands in the database, and whether its flows are as they must be is asked of ovs-vswitchd when everything is read
anew; a new ovs-vswitchd has none of them.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from xenet.datapath.batch import Refused
from xenet.datapath.openvswitch.flows import COOKIE, flows_of
from xenet.datapath.openvswitch.ofctl import ofctl
from xenet.plan.view import LockView, PortView

Place = tuple[str, int]
"""The row of the table Bridge that a port is in, and its number there."""
_WORDS = ("cookie=[^, ]*", "duration=[^,]*", "table=0", r"n_packets=\d+", r"n_bytes=\d+", r"idle_age=\d+", r"hard_age=\d+", "reset_counts")
_NOISE = re.compile(rf"^\S+ \(xid=\S+\): ADD |({'|'.join(_WORDS)}),? *")


class FlowLocks:
    """`management` says where a bridge answers OpenFlow; `place_of`, where a device is a port, None where it is none;
    `changed` hears of devices whose flows are others now, `done` of bridges and their ports whose flows were changed here."""

    def __init__(
        self,
        management: Callable[[str], Path],
        place_of: Callable[[str], Place | None],
        changed: Callable[[Iterable[str]], None],
        done: Callable[[str, set[int]], None],
    ) -> None:
        self._management = management
        self._place_of = place_of
        self._changed = changed
        self._done = done
        self._set: dict[str, tuple[Place, str, LockView]] = {}
        """By device, what is known to be in force."""
        self._strays: dict[str, set[int]] = {}
        """Bridge -> numbers of ports that have flows of ours."""

    def whole(self, device: str, mac: str, lock: LockView) -> bool:
        """Whether the flows of a port with this lock are there."""
        place = self._place_of(device)
        return place is not None and self._set.get(device) == (place, mac, lock)

    def lose(self, places: Iterable[Place]) -> None:
        """Somebody else has changed flows of these ports."""
        lost = set(places)
        devices = [device for device, (place, _, _) in self._set.items() if place in lost]
        for device in devices:
            del self._set[device]
        self._changed(devices)

    def strays(self, device: str) -> bool:
        """Whether a port has flows of ours, whichever."""
        place = self._place_of(device)
        return place is not None and place[1] in self._strays.get(place[0], ())

    def reap(self) -> None:
        """Nothing is left of a port that is gone: where its number is given to another one, that one's first step takes the flows away."""

    def apply(self, views: Sequence[PortView]) -> dict[str, Exception]:
        """Bring ports to their locks; those that could not be, by device. Nothing is done for one that is as wanted."""
        errors: dict[str, Exception] = {}
        scripts: defaultdict[str, list[PortView]] = defaultdict(list)
        for view in views:
            place = self._place_of(view.device)
            if place is None and view.lock:
                errors[view.device] = Refused(f"ovs-vswitchd has no port {view.device}")
            elif place and not self._is_so(view, place):
                scripts[place[0]].append(view)
        for bridge, those in scripts.items():
            try:
                self._reach(bridge, those)
            except OSError as error:
                errors |= {view.device: error for view in those}
        return errors

    def _is_so(self, view: PortView, place: Place) -> bool:
        if view.lock:
            return self.whole(view.device, view.mac, view.lock)
        return not self.strays(view.device)

    def _reach(self, bridge: str, views: Sequence[PortView]) -> None:
        lines: list[str] = []
        places = {view.device: place for view in views if (place := self._place_of(view.device))}
        for view in views:
            number = places[view.device][1]
            lines.append(f"delete cookie={COOKIE:#x}/-1,in_port={number}")
            lines += [f"add {flow}" for flow in (flows_of(number, view.mac, view.lock) if view.lock else ())]
        if any(view.lock for view in views):
            ofctl("set-frags", self._socket(bridge), "nx-match")
        ofctl("--bundle", "add-flows", self._socket(bridge), "-", given="\n".join(lines) + "\n")
        self._done(bridge, {number for _, number in places.values()})
        for view in views:
            self._note(view, places[view.device])
        self._changed(places)

    def _note(self, view: PortView, place: Place) -> None:
        numbers = self._strays.setdefault(place[0], set())
        if view.lock:
            self._set[view.device] = place, view.mac, view.lock
            numbers.add(place[1])
        else:
            self._set.pop(view.device, None)
            numbers.discard(place[1])

    def forget(self) -> None:
        """Nothing is known any more: another ovs-vswitchd is there."""
        self._set.clear()
        self._strays.clear()

    def observe(self, flows: Mapping[str, Sequence[str]], locked: Mapping[str, tuple[str, LockView]]) -> None:
        """Each of these bridges has these flows. `locked`: device -> the guest's MAC and what it must be locked to. Raises OSError."""
        self.forget()
        wanted = {device: place for device in locked if (place := self._place_of(device))}
        for bridge, lines in flows.items():
            found = self._flows(line for line in lines if f"cookie={COOKIE:#x}" in line)
            self._strays[bridge] = set(found)
            here = {device: place for device, place in wanted.items() if place[0] == bridge and place[1] in found}
            frags = ofctl("get-frags", self._socket(bridge)).strip() if here else ""
            for device, place in here.items():
                mac, lock = locked[device]
                if frags == "nx-match" and self._expected(place[1], mac, lock) == found[place[1]]:
                    self._set[device] = place, mac, lock

    def _expected(self, number: int, mac: str, lock: LockView) -> set[str]:
        """In ovs-ofctl's own words."""
        said = ofctl("parse-flows", "-", given="\n".join(flows_of(number, mac, lock)) + "\n")
        lines = said.replace("cookie:", "cookie=").replace("table:", "table=").splitlines()
        return {flow for flows in self._flows(lines).values() for flow in flows}

    def _flows(self, lines: Iterable[str]) -> dict[int, set[str]]:
        """By port."""
        found: defaultdict[int, set[str]] = defaultdict(set)
        for line in lines:
            if port := re.search(r"in_port=(\d+)", line):
                match, _, actions = _NOISE.sub("", line).partition("actions=")
                words = sorted(re.split(r"[ ,]+", match.strip(" ,")))
                found[int(port[1])].add(f"{','.join(words)} {actions.strip()}")
        return found

    def _socket(self, bridge: str) -> str:
        return f"unix:{self._management(bridge)}"
