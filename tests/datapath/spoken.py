"""A guest on a tap that a test holds open, and what the wires hear when the host speaks for it. For any datapath."""

import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from msgspec import structs

from tests.datapath.bridge_host import Host, external, port, switch, tap
from tests.e2e.crossing import heard_at, tags_of_announcements
from tests.e2e.world import PATIENCE, send, until
from tests.netns import Namespace, cable
from xenet.plan.announcement import announcement
from xenet.plan.view import BondView, PortView, SwitchView, UplinkView, VLANView

_TUNSETIFF, _TAP_NO_PI = 0x400454CA, 0x1002
TAP = tap(1)
FRAMES = announcement(TAP.mac, ["10.0.0.1"])
BROADCAST = b"\xff" * 6
TAG = 42


@contextmanager
def held_open(ns: Namespace, device: str) -> Iterator[int]:
    """The guest's end of a tap: what is written comes from the guest, what is read goes to it."""
    with closing_fd(ns(opened, device)) as fd:
        yield fd


@contextmanager
def held_open_here(device: str) -> Iterator[int]:
    """The same in the namespace of the thread that calls."""
    with closing_fd(opened(device)) as fd:
        yield fd


def opened(device: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _TAP_NO_PI))
    return fd


@contextmanager
def closing_fd(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def read_all(guest: int) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(os.read(guest, 2048))
        except BlockingIOError:
            return found


def behind(host: Host, bridge: str) -> str:
    """The port at which the host's switch has the guest's MAC."""
    host.ns(host.datapath.refresh)
    return next((entry.device for entry in host.ns(host.datapath.fdb, bridge) if entry.mac == TAP.mac), "")


def frame_from(mac: str) -> bytes:
    """Nobody answers it."""
    return BROADCAST + bytes.fromhex(mac.replace(":", "")) + b"\x88\xb5" + bytes(46)


def check_plain(host: Host) -> None:
    """The switch had the MAC at its uplink, where the guest was before; then the host speaks, and nobody hears it twice."""
    beside = port(2)
    host.reach(external(host, TAP, beside))
    with held_open(host.ns, TAP.device) as guest, closing(host.far(heard_at, "wire")) as wire:
        until(lambda: arrived(host, guest))
        assert behind(host, "xapi0") == "eth0"
        read_all(guest)
        until(lambda: (host.ns(host.datapath.speak, TAP, FRAMES), behind(host, "xapi0") == TAP.device)[1])  # it may still count frames of before
        assert set(until(lambda: tags(wire))) == {0}
        assert not [frame for frame in read_all(guest) if frame[6:12] == FRAMES[0][6:12]], "the guest heard its own announcement"
        os.write(guest, frame_from("02:00:00:00:77:77"))
        until(lambda: any(entry.mac == "02:00:00:00:77:77" for entry in host.ns(host.datapath.fdb, "xapi0")))


def check_unlearned(host: Host, view: SwitchView) -> None:
    """The guest's MAC is forgotten, and what comes for it from another guest goes out by the uplink, too."""
    host.reach(external(host), view) if view.bridge != "xapi0" else host.reach(view)
    with held_open(host.ns, TAP.device) as guest:
        until(lambda: (os.write(guest, FRAMES[0]), behind(host, view.bridge) == TAP.device)[1])
        until(lambda: (host.ns(host.datapath.unlearn, TAP), not behind(host, view.bridge))[1])  # ovs-vswitchd may still count frames of before
        until(lambda: (os.write(guest, FRAMES[0]), behind(host, view.bridge) == TAP.device)[1])


def arrived(host: Host, guest: int) -> bool:
    """A frame from the guest's MAC came from outside, from where the guest still is."""
    host.far(send, "wire", frame_from(TAP.mac))
    return any(frame[12:14] == b"\x88\xb5" for frame in read_all(guest))


def tags(wire: socket.socket) -> list[int]:
    """Of the announcements since the last call."""
    return tags_of_announcements(wire, TAP.mac)


def check_vlan(host: Host) -> None:
    host.reach(external(host), on_vlan(TAP))
    with held_open(host.ns, TAP.device), closing(host.far(heard_at, "wire")) as wire:
        host.ns(host.datapath.speak, TAP, FRAMES)
        assert until(lambda: tags(wire)) == [TAG]


def on_vlan(*ports: PortView) -> SwitchView:
    return switch(1, *ports, uplink=UplinkView(f"eth0.{TAG}", vlan=VLANView("eth0", TAG)))


def check_bond(host: Host) -> None:
    """By one link, whichever carries the guest's own frames, too."""
    cable(host.ns, "eth1", host.far, "wire1")
    bond = BondView(("eth0", "eth1"), "active-backup", host.mac, "eth1")
    host.reach(structs.replace(external(host, TAP), uplink=UplinkView("bond0", bond=bond)))
    with held_open(host.ns, TAP.device) as guest, closing(host.far(heard_at, "wire")) as one, closing(host.far(heard_at, "wire1")) as two:

        def heard(say: Callable[[], object]) -> list[bool]:
            """By which wires; the bond may only just have got its links."""
            say()
            time.sleep(0.1 * PATIENCE)
            return [bool(tags(wire)) for wire in (one, two)]

        def both() -> tuple[list[bool], list[bool]]:
            return heard(lambda: os.write(guest, FRAMES[0])), heard(lambda: host.ns(host.datapath.speak, TAP, FRAMES))

        until(lambda: both() in (([True, False],) * 2, ([False, True],) * 2))
