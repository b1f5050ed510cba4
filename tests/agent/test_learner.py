"""What an agent learns of guests' addresses, how little a guest can make it do, and that frames reach it."""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

import msgspec
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from tests.datapath.bridge_host import needs_tap, port, tap
from tests.datapath.spoken import held_open, held_open_here
from tests.netns import Namespace, namespaces
from xenet.agent.learner import MOST, REFILL_S, REFRESH_S, ROOM, Book, Learner
from xenet.agent.listener import MOST as MOST_DEVICES
from xenet.agent.listener import Listener, _program
from xenet.agent.replica import Replica
from xenet.model.hidden import Claim, GuestAddresses
from xenet.model.types import Ref, ref_of
from xenet.plan.view import HostView, LockView, PortView, SwitchView

TAP = tap(1)
NOW = 1_000_000.0


def says(address: str, mac: str = TAP.mac) -> bytes:
    return bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=mac, psrc=address, pdst=address))


def replica_with(*claims: Claim) -> Replica:
    """What the server knows of the guest behind TAP."""
    replica = Replica()
    record = GuestAddresses(uuid=TAP.vif, vif=ref_of(TAP.vif), network=Ref("net"), boot=1, claims=claims)
    replica.state = replica.state.with_record("guest_addresses", record.ref, record)
    return replica


def test_what_is_new_is_told_until_the_server_knows_it() -> None:
    replica = replica_with()
    book = Book(replica)
    assert book.hear(TAP, says("10.0.0.1"), NOW)
    assert not book.hear(TAP, says("10.0.0.1"), NOW + 1)
    assert book.news() == book.news() == {TAP.vif: (Claim("10.0.0.1", int(NOW)),)}
    assert book.addresses(TAP) == ["10.0.0.1"]
    replica.state = replica_with(Claim("10.0.0.1", int(NOW))).state
    assert book.news() == {}
    assert book.addresses(TAP) == ["10.0.0.1"]


def test_what_the_server_knows_is_no_news_but_its_time_is_brought_up_to_date() -> None:
    book = Book(replica_with(Claim("10.0.0.1", int(NOW))))
    assert not book.hear(TAP, says("10.0.0.1"), NOW + REFRESH_S - 1)
    assert book.news() == {}
    assert not book.hear(TAP, says("10.0.0.1"), NOW + REFRESH_S)
    assert book.news() == {TAP.vif: (Claim("10.0.0.1", int(NOW + REFRESH_S)),)}


def test_an_agent_that_begins_anew_has_what_the_server_knows() -> None:
    book = Book(replica_with(Claim("10.0.0.1", 5), Claim("fe80::1", 6)))
    assert book.addresses(TAP) == ["10.0.0.1", "fe80::1"]
    locked = msgspec.structs.replace(TAP, lock=LockView(ipv4=("10.0.0.1",)))
    assert book.addresses(locked) == ["10.0.0.1"], "a lock that came later"
    assert not book.hear(locked, says("10.0.0.2"), NOW)


def test_a_guest_that_claims_ever_others_gets_no_more_than_its_share() -> None:
    book = Book(replica_with())
    taken = [book.hear(TAP, says(f"10.0.{number // 256}.{number % 256 or 1}"), NOW) for number in range(1, 300)]
    assert sum(taken) == ROOM
    assert len(book.news()[TAP.vif]) == ROOM
    assert not book.hear(TAP, says("10.9.0.1"), NOW + REFILL_S / 2)
    assert book.hear(TAP, says("10.9.0.1"), NOW + 2 * REFILL_S)
    assert book.hear(tap(2), says("10.0.0.1", tap(2).mac), NOW), "another guest has its own"


def test_nothing_stays_of_a_vif_that_is_gone() -> None:
    book = Book(replica_with())
    book.hear(TAP, says("10.0.0.1"), NOW)
    book.keep(set())
    assert book.news() == {}
    assert book.addresses(TAP) == []


# --- on real devices -------------------------------------------------------------------------------


class Site:
    """A host with taps that guests hold open, in a bridge."""

    def __init__(self, host: Namespace, stack: ExitStack, count: int) -> None:
        self.host = host
        self.views = [tap(number) for number in range(1, count + 1)]
        host.ip("link", "add", "xenbr0", "type", "bridge", "forward_delay", "0")
        host.ip("link", "set", "xenbr0", "up")
        for view in self.views:
            host.ip("tuntap", "add", view.device, "mode", "tap")
            host.ip("link", "set", view.device, "up", "master", "xenbr0")
        self.guests = [stack.enter_context(held_open(host, view.device)) for view in self.views]

    def wanted(self, *more: PortView) -> HostView:
        return HostView({"xenbr0": SwitchView("xenbr0", "net", ports={view.device: view for view in (*self.views, *more)})})

    def run(self, during: Callable[[Learner], Awaitable[None]]) -> None:
        """With a learner that listens to the guests."""

        async def run() -> None:
            learner = Learner(replica_with(), Listener())
            learner.follow(self.wanted())
            try:
                await during(learner)
            finally:
                learner.close()

        self.host(asyncio.run, run())


@pytest.fixture
def site() -> Iterator[Site]:
    with site_of(2) as made:
        yield made


@contextmanager
def site_of(count: int) -> Iterator[Site]:
    with namespaces(1) as (host,), ExitStack() as stack:
        yield Site(host, stack, count)


async def heard(learner: Learner, expected: dict[str, list[str]]) -> None:
    """Until these addresses were heard, by VIF."""

    def now() -> dict[str, list[str]]:
        return {vif: [claim.address for claim in claims] for vif, claims in learner.book.news().items()}

    async with asyncio.timeout(10):
        while now() != expected:
            await asyncio.sleep(0.01)


@pytest.mark.kernel
@needs_tap
def test_it_hears_its_guests_and_nothing_else(site: Site) -> None:
    one, two = site.views

    async def during(learner: Learner) -> None:
        told: list[int] = []
        learner.changed = lambda: told.append(1)
        reads = counted(learner)
        tagged = bytes(Ether(src=one.mac, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=7) / ARP(hwsrc=one.mac, psrc="10.0.0.7"))
        for frame in (tagged, bytes(Ether(src=one.mac, dst=two.mac) / IP() / UDP() / bytes(200)), says("10.0.0.8", two.mac)):
            os.write(site.guests[0], frame)
        spoken("xenbr0", says("10.0.0.9", one.mac))  # floods to both guests
        await asyncio.sleep(0.2)
        assert reads == [1], "only the forged one passes the filter"
        assert learner.book.news() == {}
        os.write(site.guests[0], says("10.0.0.1", one.mac))
        os.write(site.guests[1], says("10.0.0.2", two.mac))
        await heard(learner, {one.vif: ["10.0.0.1"], two.vif: ["10.0.0.2"]})
        assert told

    site.run(during)


def counted(learner: Learner) -> list[int]:
    """How many frames were read, each time that there were any."""
    counts: list[int] = []
    read = learner._listener.heard

    def reading(most: int) -> Iterator[tuple[str, bytes]]:
        found = list(read(most))
        counts.append(len(found))
        return iter(found)

    learner._listener.heard = reading  # type: ignore[method-assign]
    return counts


def spoken(device: str, frame: bytes) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.sendto(frame, (device, 0))


@pytest.mark.kernel
@needs_tap
def test_a_tap_that_goes_down_or_is_another_one_is_heard_again(site: Site) -> None:
    one = site.views[0]

    async def during(learner: Learner) -> None:
        for state in ("down", "up"):
            subprocess.run(["ip", "link", "set", one.device, state], check=True)
        os.write(site.guests[0], says("10.0.0.1"))
        await heard(learner, {one.vif: ["10.0.0.1"]})
        subprocess.run(["ip", "link", "del", one.device], check=True)
        subprocess.run(["ip", "tuntap", "add", one.device, "mode", "tap"], check=True)
        subprocess.run(["ip", "link", "set", one.device, "up"], check=True)
        learner.follow(site.wanted())
        with held_open_here(one.device) as guest:
            os.write(guest, says("10.0.0.2"))
            await heard(learner, {one.vif: ["10.0.0.1", "10.0.0.2"]})

    site.run(during)


@pytest.mark.kernel
@needs_tap
def test_a_guest_that_floods_is_not_listened_to_and_the_others_are(site: Site) -> None:
    one, two = site.views

    async def during(learner: Learner) -> None:
        reads = counted(learner)
        begin = time.monotonic()
        while time.monotonic() < begin + 1:
            for number in range(50):
                os.write(site.guests[0], says(f"10.1.0.{number + 1}"))
            await asyncio.sleep(0.01)
        assert sum(reads) <= 20 * MOST, "of about 5,000"
        os.write(site.guests[1], says("10.0.0.2", two.mac))
        async with asyncio.timeout(10):
            while two.vif not in learner.book.news():
                await asyncio.sleep(0.01)
        assert len(learner.book.news()[one.vif]) == ROOM
        learner._deaf = {one.device: time.monotonic() + 0.1}
        counted(learner)
        async with asyncio.timeout(10):
            while learner._deaf:
                await asyncio.sleep(0.01)

    site.run(during)


@pytest.mark.kernel
def test_without_a_device_there_is_no_socket() -> None:
    with namespaces(1) as (host,):
        learner = Learner(replica_with(), Listener())
        host(learner.follow, HostView({"xenbr0": SwitchView("xenbr0", "net", ports={"vif1.0": port(1), TAP.device: TAP})}))
        assert learner._listener is not None
        assert learner._listener.fileno() == -1


def check_room(site: Site) -> None:
    """As many as the default of net.core.optmem_max allows, twice in turn; those whose number is not the first of all are heard as well."""
    one, two = site.views

    async def during(learner: Learner) -> None:
        assert learner._listener is not None
        first, second = sorted(socket.if_nametoindex(view.device) for view in site.views)
        for more in range(2):
            learner._listener.heed([first, second, *range(second + 1, second + MOST_DEVICES - 1 - more)])
        os.write(site.guests[0], says("10.0.0.1", one.mac))
        os.write(site.guests[1], says("10.0.0.2", two.mac))
        await heard(learner, {one.vif: ["10.0.0.1"], two.vif: ["10.0.0.2"]})
        learner._listener.heed(range(1, first))
        os.write(site.guests[0], says("10.0.0.3", one.mac))
        await asyncio.sleep(0.1)
        assert len(learner.book.news()[one.vif]) == 1

    site.run(during)


@pytest.mark.kernel
@needs_tap
def test_the_filter_has_room_for_all_that_it_shall_hear(site: Site) -> None:
    check_room(site)


def test_the_filter_passes_each_of_its_devices_and_no_other() -> None:
    """The program by an interpreter of its own: what this kernel's says is tested above, for two."""
    devices = list(range(10, 10 + 3 * MOST_DEVICES // 4))
    program = list(_program(devices))
    assert len(program) < 4096
    for device in (*devices, 9, devices[-1] + 1):
        assert bool(passes(program, device)) == (device in devices)


def passes(program: list[tuple[int, int, int, int]], device: int) -> int:
    """Of an ARP frame that came in by a device."""
    loads = {12: 0x0806, 0xFFFFF004: socket.PACKET_BROADCAST, 0xFFFFF030: 0, 0xFFFFF008: device}
    at, value = 0, 0
    while True:
        code, true, false, constant = program[at]
        if code == 0x06:
            return constant
        if code in (0x20, 0x28):
            value, at = loads[constant], at + 1
        elif code == 0x05:
            at += 1 + constant
        else:
            assert code == 0x15
            at += 1 + (true if value == constant else false)
