"""The host speaks for a guest that it cannot enter."""

import asyncio
import socket
from contextlib import closing

import msgspec
import pytest

from tests.agent.test_learner import replica_with
from tests.datapath.bridge_host import Host, external, needs_tap, port, tap
from tests.datapath.spoken import FRAMES, TAP, behind, check_bond, check_plain, check_unlearned, check_vlan, frame_from, held_open, on_vlan, read_all
from tests.datapath.switch_host import switch_hosts
from tests.e2e.crossing import heard_at
from tests.e2e.test_migration import received_now
from tests.e2e.world import send, until
from xenet.agent.announce import Announcer
from xenet.agent.learner import Book
from xenet.guests.base import FakeGuests
from xenet.model.hidden import Claim
from xenet.plan.announcement import announcement

pytestmark = [pytest.mark.kernel, needs_tap]


def test_by_the_uplink_and_the_switch_learns(either: Host) -> None:
    check_plain(either)


def test_a_mac_is_forgotten_and_learned_again(either: Host) -> None:
    check_unlearned(either, external(either, TAP))


def test_a_mac_on_a_vlan_is_forgotten_too() -> None:
    with switch_hosts() as host:
        check_unlearned(host, on_vlan(TAP))


@pytest.mark.parametrize("view", [lambda: (tap(1),), lambda: (msgspec.structs.replace(tap(1), rate=1_000_000),)])
def test_open_vswitch_holds_a_mac_that_has_just_come(view) -> None:
    """Whatever it takes in of its old place, until it is released or unlearned; also where the port is the leg of a limit."""
    with switch_hosts() as host:
        host.reach(external(host, *view()))
        with held_open(host.ns, TAP.device) as guest:
            host.ns(host.datapath.hold, TAP)
            host.far(send, "wire", frame_from(TAP.mac))
            until(lambda: (host.far(send, "wire", frame_from("02:00:00:00:77:77")), read_all(guest))[1])
            assert behind(host, "xapi0") == TAP.device
            host.ns(host.datapath.release, TAP)
            assert behind(host, "xapi0") == TAP.device
            until(lambda: (host.far(send, "wire", frame_from(TAP.mac)), behind(host, "xapi0") == "eth0")[1])
            host.ns(host.datapath.release, TAP)
            host.ns(host.datapath.hold, TAP)
            host.ns(host.datapath.unlearn, TAP)
            until(lambda: (host.ns(host.datapath.unlearn, TAP), not behind(host, "xapi0"))[1])


def test_open_vswitch_forgets_a_mac_once_more_when_its_port_is_gone() -> None:
    with switch_hosts() as host:
        host.reach(external(host, TAP))
        again = host.ns(host.datapath.unlearn, TAP)
        assert again is not None
        host.reach(external(host))
        host.far(send, "wire", frame_from(TAP.mac))
        until(lambda: behind(host, "xapi0") == "eth0")
        host.ns(again)
        assert not behind(host, "xapi0")
        host.reach()
        host.ns(again)


def test_not_for_a_port_that_is_not_there(either: Host) -> None:
    either.reach(external(either, port(1)))
    with pytest.raises(OSError, match=r"tap1\.0"):
        either.ns(either.datapath.speak, tap(1), FRAMES)
    assert TAP.device not in either.names()


@pytest.mark.parametrize("check", [check_vlan, check_bond])
def test_on_open_vswitch(check) -> None:
    with switch_hosts() as host:
        check(host)


def test_all_that_is_known_is_on_the_wire_again_and_again(either: Host) -> None:
    book = Book(replica_with(Claim("10.0.0.1", 1), Claim("2001:db8::1", 2)))
    announcer = Announcer(FakeGuests(), either.datapath, book.addresses)
    either.reach(external(either, TAP))
    frames: list[bytes] = []

    said = announcement(TAP.mac, ["10.0.0.1", "2001:db8::1"])

    def read(wire: socket.socket) -> None:
        while frame := received_now(wire):
            frames.append(frame)

    async def run(wire: socket.socket) -> None:
        announcer.announce_port(TAP)
        async with asyncio.timeout(20):
            while frames.count(said[1]) < 5:
                await asyncio.sleep(0.05)
                read(wire)
        await asyncio.sleep(0.1)
        announcer.close()

    with held_open(either.ns, TAP.device), closing(either.far(heard_at, "wire")) as wire:
        either.ns(asyncio.run, run(wire))
        read(wire)
    times = [frames.count(frame) for frame in said]
    assert times == [5, 5], "at once, and after 0.01, 0.03, 0.1 and 0.3 s"
    assert frames.index(said[0]) < frames.index(said[1])
    assert announcer.spoken[TAP.device] > 0
