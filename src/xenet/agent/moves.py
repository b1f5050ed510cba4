"""What an agent does beside its steps while a VM comes or goes: it gets ready to announce the VM, and it listens to the frames on their way
to it, so that the migration can say what was lost.

The host that the VM leaves hears what comes for it, at its port and at the uplink. The host that it comes to hears that too, and what reaches
the guest, by the old NIC and by the new. The server compares the two (verbs/measure.py); where there are two
pools, it is that of the one that the VM leaves. A QEMU's NICs are not to be listened to; it gets what its tap does, by the old one until it
stands still, by the new one from its first frame on, as that is shut until it runs.

A host is not ready for a QEMU before its tap can be opened without delay. The kernel notes once a second that somebody has opened a tap (its
net/core/link_watch.c), and a bridge's port that is set up before it is noted drops all frames until then.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from xenet.agent.announce import AddressesOf, Announcer
from xenet.agent.ear import Ear
from xenet.agent.replica import Replica
from xenet.datapath.base import Datapath
from xenet.datapath.namespaces import opened_in
from xenet.guests.base import Guests
from xenet.model.hidden import Frame, Heard
from xenet.model.types import NULL, ref_of
from xenet.model.vm import VM
from xenet.plan.steps import Announce, Step, StepFailure
from xenet.plan.view import HostView, PortView, SwitchView, ways_out

log = logging.getLogger("xenet.agent")
SETTLES = 0.03
"""Seconds after which all frames of before have arrived."""
AGAIN, TIMES = 0.05, 12
"""Seconds between one time that a MAC is unlearned and the next, and how often, where the switch may take in late what it counted before: Open
vSwitch does within half a second."""
NOTED = 1.1
"""Seconds after which the kernel has noted what was opened."""


class _Post:
    """The ears for one VIF, on one of the two hosts."""

    def __init__(self, port: PortView, coming: bool) -> None:
        self.port = port
        self.coming = coming
        self.stopped: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Of a QEMU that goes: Guests.stood_still."""
        self.since = time.time_ns()
        self.switched = 0
        self.settling = False
        self.ears: dict[str, list[Ear]] = {"seen": [], "old": [], "new": []}

    def open(self, ways: Sequence[str], netns_of: Callable[[str], int | None]) -> None:
        """`ways`: the devices of the host by which frames come from outside. Raises OSError."""
        port = self.port
        for device in ways:
            self.ears["seen"].append(Ear(device, port.mac))
        if not self.coming:
            self.ears["seen"].append(Ear(port.device, port.mac))
            self.ears["old"] += [Ear(port.device, port.mac)] if port.kind == "tap" else []
        elif port.kind == "tap":
            self.ears["new"].append(Ear(port.device, port.mac))
        elif (netns := netns_of(port.vm)) is not None:
            try:
                for name, device in {"old": f"eth{port.index}", "new": port.device}.items():
                    self.ears[name].append(opened_in(netns, lambda device=device: Ear(device, port.mac)))  # type: ignore[misc]
            finally:
                os.close(netns)
        self.since = time.time_ns()

    def close(self, announced: int = 0) -> Heard:
        frames: dict[str, tuple[Frame, ...]] = {}
        whole, (stopped, paused) = True, self.stopped()
        for name, ears in self.ears.items():
            heard = [ear.close() for ear in ears]
            frames[name] = tuple(frame for found, _ in heard for frame in found)
            whole = whole and all(all_of_it for _, all_of_it in heard)
        if self.ears["old"] and not self.coming:
            frames["old"] = tuple(frame for frame in frames["old"] if frame.time < stopped)
            whole = whole and bool(stopped)
        times = {"since": self.since, "until": time.time_ns(), "switched": self.switched, "announced": announced, "paused": paused}
        return Heard(self.port.vif, self.coming, **frames, **times, whole=whole)  # type: ignore[arg-type]


class Moves:
    """The VMs on their way to and from one host. `changed` is called when there is more to report."""

    def __init__(self, replica: Replica, guests: Guests, datapath: Datapath, addresses_of: AddressesOf) -> None:
        self._replica = replica
        self._guests = guests
        self._announcer = Announcer(guests, datapath, addresses_of)
        self._datapath = datapath
        self._posts: dict[str, _Post] = {}
        """By the host's device."""
        self._opened: dict[str, PortView] = {}
        """The taps of QEMUs that await their guests, by device."""
        self._unnoted: set[str] = set()
        """Those of them that the kernel may not have noted yet."""
        self._gone: set[str] = set()
        """Devices whose guests were switched over to another host."""
        self.leaving: dict[str, PortView] = {}
        """Those whose MACs are still to be unlearned."""
        self._unlearning: dict[str, asyncio.TimerHandle] = {}
        """By MAC, those that are unlearned again."""
        self.heard: tuple[Heard, ...] = ()
        """What the server has not been told yet."""
        self.changed: Callable[[], None] = lambda: None

    def announce(self, steps: Sequence[Step]) -> list[StepFailure]:
        for step in steps:
            if isinstance(step, Announce):
                self._learn_again(step.port.mac)
        return self._announcer.announce(steps)

    def announce_port(self, port: PortView) -> None:
        """The guest behind this port is here from now on: it is announced before this returns, and again with growing pauses."""
        self._learn_again(port.mac)
        self._announcer.announce_port(port)

    def waiting(self) -> set[str]:
        """The VMs of which there will be more to say."""
        return {post.port.vm for post in self._posts.values() if post.settling} | {self._opened[device].vm for device in self._unnoted}

    @property
    def under_way(self) -> bool:
        """Whether there is something to follow: a guest may come without a word of the server's."""
        return bool(self._posts)

    def told(self) -> None:
        self.heard = ()

    def follow(self, wanted: HostView, began: int) -> None:
        """The host has been made so, from this moment on (nanoseconds of time.time_ns)."""
        ports = {port.device: (switch, port) for switch in wanted.switches.values() for port in switch.ports.values()}
        self._announcer.get_ready([port for _, port in ports.values() if port.moving])
        gone = {device: port for device, (_, port) in ports.items() if port.moving and self._is_elsewhere(port)}
        self.leaving = {device: port for device, port in gone.items() if device not in self._gone or device in self.leaving}
        self._gone = set(gone)
        self._note_opened({device: port for device, (_, port) in ports.items() if port.kind == "tap" and self._is_awaited(port)})
        for device, (switch, port) in ports.items():
            if port.moving and device not in self._posts:
                self._begin(_ways(switch, wanted.switches.values()), port)
        for device, post in list(self._posts.items()):
            self._go_on(device, post, ports[device][1] if device in ports else None, began)

    def _is_awaited(self, port: PortView) -> bool:
        vm = self._replica.state.find(VM, ref_of(port.vm))
        if vm is None or port.up:
            return False
        return vm.crossing == "awaits" or (vm.handing_over and vm.running_on != self._replica.host)

    def _note_opened(self, opened: dict[str, PortView]) -> None:
        for device in opened.keys() - self._opened.keys():
            self._unnoted.add(device)
            asyncio.get_running_loop().call_later(NOTED, self._noted, device)
        self._opened = opened
        self._unnoted &= opened.keys()

    def _noted(self, device: str) -> None:
        self._unnoted.discard(device)
        self.changed()

    def see_off(self) -> None:
        """Who has gone to another host: what the switch here knows of its MAC is no longer so."""
        for device, port in list(self.leaving.items()):
            if self._is_still_here(port):
                continue
            del self.leaving[device]
            try:
                again = self._datapath.unlearn(port)
            except OSError as error:  # it hears of the new place as all others do
                log.debug("%s: %s", device, error)
            else:
                self._unlearn_later(port.mac, again, TIMES)

    def _unlearn_later(self, mac: str, again: Callable[[], None] | None, times: int) -> None:
        if again and times:
            self._unlearning[mac] = asyncio.get_running_loop().call_later(AGAIN, self._unlearn_again, mac, again, times - 1)
        else:
            self._unlearning.pop(mac, None)

    def _unlearn_again(self, mac: str, again: Callable[[], None], times: int) -> None:
        try:
            again()
        except OSError as error:
            log.debug("%s: %s", mac, error)
        self._unlearn_later(mac, again, times)

    def _learn_again(self, mac: str) -> None:
        """It has come back."""
        if timer := self._unlearning.pop(mac, None):
            timer.cancel()

    def _is_still_here(self, port: PortView) -> bool:
        """A namespace, until nobody is at its end of the port any more: a frame that went everywhere could reach it by both hosts. A QEMU, as long
        as it can be called back: until then it has what was sent to it, by this host alone."""
        if port.kind == "namespace":
            return self._datapath.has_carrier(port)
        guest = self._guests.observe().get(port.vm)
        return guest is not None and guest.stage in ("runs", "going", "halts")

    def _is_elsewhere(self, port: PortView) -> bool:
        vm = self._replica.state.find(VM, ref_of(port.vm))
        return vm is not None and not vm.handing_over and vm.running_on != self._replica.host

    def _begin(self, ways: Sequence[str], port: PortView) -> None:
        vm = self._replica.state.find(VM, ref_of(port.vm))
        if vm is None or not self._is_in_time(vm, port):
            return
        post = _Post(port, coming=vm.crossing == "awaits" if vm.crossing else vm.running_on != self._replica.host)
        if port.kind == "tap" and not post.coming:
            post.stopped = partial(self._guests.stood_still, port.vm)
        try:
            post.open(ways, self._guests.netns)
        except OSError:
            post.close()
        else:
            self._posts[port.device] = post

    def _is_in_time(self, vm: VM, port: PortView) -> bool:
        """An agent that was not there before the switch-over has missed what there is to hear."""
        return vm.handing_over or vm.crossing == "awaits" or (vm.crossing == "goes" and self._is_still_here(port))

    def _go_on(self, device: str, post: _Post, port: PortView | None, began: int) -> None:
        vm = self._replica.state.find(VM, ref_of(post.port.vm))
        here = vm is not None and vm.running_on == self._replica.host
        over = vm is None or (vm.peer == NULL and vm.crossing in ("", "late"))
        if here and post.coming and not post.switched and port is not None and not port.moving:
            post.switched = began
        if over and here != post.coming:  # it was taken back
            self._posts.pop(device).close()
        elif over and not post.coming:
            self.heard += (self._posts.pop(device).close(),)
        elif over and not post.settling:
            post.settling = True
            asyncio.get_running_loop().call_later(SETTLES, self._settled, device)

    def _settled(self, device: str) -> None:
        if post := self._posts.pop(device, None):
            self.heard += (post.close(self._announcer.spoken.pop(device, 0)),)
            self.changed()

    def close(self) -> None:
        self._announcer.close()
        for timer in self._unlearning.values():
            timer.cancel()
        for post in self._posts.values():
            post.close()
        self._posts.clear()


def _ways(switch: SwitchView, switches: Iterable[SwitchView]) -> tuple[str, ...]:
    """By which frames come from outside: the uplink, where the datapath has made a device for it, else the NICs below."""
    there = [device for device in ways_out(switch.uplink, switches) if _exists(device)] if switch.uplink else []
    return tuple(there[:1]) if switch.uplink and there[:1] == [switch.uplink.device] else tuple(there)


def _exists(device: str) -> bool:
    try:
        return socket.if_nametoindex(device) > 0
    except OSError:
        return False
