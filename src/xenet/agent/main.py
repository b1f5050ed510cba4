"""Starting an agent: its namespace, its host's identity, its datapath and guests, and the NICs that it was given."""

import asyncio
import ctypes
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import msgspec

from xenet.agent.arp import gateway_answers
from xenet.agent.backend import Backend, quiet_lacks
from xenet.agent.keeper import Keeper
from xenet.agent.learner import Learner
from xenet.agent.listener import Listener
from xenet.agent.loop import Loop
from xenet.agent.moves import Moves
from xenet.agent.namespace import enter_netns
from xenet.agent.replica import Replica
from xenet.agent.resolver import ResolvConf
from xenet.agent.takeover import Checkpoint, InUse, check_nics, give_back, note
from xenet.datapath.announcement import Voice
from xenet.datapath.base import Datapath
from xenet.datapath.gre import find_lack
from xenet.guests import held
from xenet.guests.base import FakeGuests, Guests
from xenet.guests.every import AllGuests
from xenet.guests.namespace import NamespaceGuests
from xenet.guests.qemu import QemuGuests
from xenet.link.messages import Hello
from xenet.model.hidden import NIC
from xenet.plan.view import nics_of

log = logging.getLogger("xenet.agent")
PR_SET_PDEATHSIG = 1
ONE_AT_A_TIME = 5.0
"""Seconds that a new agent waits for the one before it, which may be about to end."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
ALONE = "\0xenet-agent"
"""An abstract Unix socket's name (unix(7)): such names belong to a network namespace, so who has it has that host."""


class Settings(msgspec.Struct, frozen=True):
    """What an agent is started with. `nics` empty: every physical one."""

    link: str
    state: Path
    name: str
    nics: tuple[str, ...]
    netns: str = ""
    datapath: str = "auto"
    guests: str = "tap"
    take_over: bool = False
    resolv_conf: Path | None = None
    """Where the host's resolv.conf is written, beside the one in `state`."""
    parent: int = 0
    """The pid of the `xenet serve` that it belongs to and ends with; 0: none."""


class HandsOff:
    """The NICs that the server last said are none of ours, in a file: a restart must know them before it can ask."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._noted: tuple[str, ...] | None = None

    def load(self) -> tuple[str, ...]:
        return msgspec.json.decode(self.path.read_bytes(), type=tuple[str, ...]) if self.path.exists() else ()

    def note(self, replica: Replica) -> None:
        """Written whole or not at all, and only where it differs."""
        names = replica.hands_off()
        if names != self._noted:
            part = self.path.with_suffix(".part")
            part.write_bytes(msgspec.json.encode(names))
            part.rename(self.path)
            self._noted = names


def host_uuid(state: Path) -> str:
    """The host's identity, made at its first start and kept."""
    path = state / "host-uuid"
    if not path.exists():
        path.write_text(str(uuid.uuid4()))
    return path.read_text().strip()


def open_host(settings: Settings, replica: Replica) -> tuple[Datapath, Guests, Backend | None]:
    """The datapath and the guests of this host; the first is a Backend where it can become another one."""
    if settings.datapath == "fake":
        from xenet.datapath.fake import FakeDatapath

        return FakeDatapath(nics=fake_nics(settings.nics)), FakeGuests(), None
    machines = QemuGuests(machine_folder(guest_folder(settings)), lambda: map(machine_folder, replica.neighbours()))
    guests = AllGuests(NamespaceGuests(guest_folder(settings), replica.neighbours), machines)
    backend = Backend(settings.state, settings.datapath, guests.netns, bool(settings.netns))
    return cast("Datapath", backend), guests, backend


def guest_folder(settings: Settings) -> Path:
    return settings.state.absolute() / "guests"


def machine_folder(guests: Path) -> Path:
    """Where the QEMU guests of a host are whose namespaces are here."""
    return guests.with_name("machines")


def place_of(settings: Settings) -> str:
    """As HostFacts.place: hosts that say the same boot id are on one machine, and one reaches the other's folder."""
    return f"{BOOT_ID.read_text().strip()} {guest_folder(settings)}" if settings.datapath != "fake" else ""


def fake_nics(names: Sequence[str]) -> list[NIC]:
    """NICs for a host without any: with carrier, at 1 Gbit/s."""
    return [
        NIC(device=name, mac=f"02:00:00:00:00:{number:02x}", carrier=True, speed=1000, duplex=True) for number, name in enumerate(names or ("eth0",))
    ]


def prepare(settings: Settings, datapath: Datapath) -> Checkpoint:
    """Look at the NICs and write down what they have. Raises InUse."""
    datapath.observe()
    checkpoint = Checkpoint(settings.state / "checkpoint.json")
    hands_off = HandsOff(settings.state / "hands-off.json").load()
    found = [nic for nic in datapath.nics(settings.nics) if nic.device not in hands_off]
    check_nics(found, [name for name in settings.nics if name not in hands_off], datapath.foreign_master, settings.take_over)
    note(checkpoint, found)
    return checkpoint


def hello_of(settings: Settings, identity: str, backend: Backend | None, checkpoint: Checkpoint, nics: tuple[NIC, ...]) -> Hello:
    """The agent's first word: a NIC taken over is told with the addresses that it brought, wherever they are by now."""
    brought = {nic.device: nic for nic in checkpoint.load()}
    told = tuple(
        msgspec.structs.replace(nic, addresses=brought[nic.device].addresses, gateway=brought[nic.device].gateway)
        if nic.device in brought
        else msgspec.structs.replace(nic, addresses=(), gateway="")
        for nic in nics
    )
    named = backend.name if backend else "bridge"
    has_gre, lacks = (not find_lack(), quiet_lacks()) if backend else (False, ())
    return Hello(identity, settings.name, named, settings.guests, told, place_of(settings), has_gre, lacks)


async def serve(settings: Settings, replica: Replica, datapath: Datapath, guests: Guests, backend: Backend | None, checkpoint: Checkpoint) -> None:
    """Run until SIGTERM or SIGINT. Raises InUse when a take-over had to be given back."""
    learner = Learner(replica, None if settings.datapath == "fake" else Listener())
    moves = Moves(replica, guests, datapath, learner.book.addresses)
    keeper = Keeper(replica, datapath, guests, settings.nics, moves.announce)
    hello = partial(hello_of, settings, host_uuid(settings.state), backend, checkpoint)
    answers, tell = (None, None) if settings.datapath == "fake" else (gateway_answers, Voice().announce)
    notes = (HandsOff(settings.state / "hands-off.json").note, ResolvConf(settings.state / "resolv.conf", settings.resolv_conf).follow)

    def heard(replica: Replica) -> bool:
        anew = backend.follow(replica) if backend else False
        if backend:
            keeper.standing = backend.failures
        for note_it in notes:
            note_it(replica)
        return anew

    loop = Loop(keeper, settings.link, hello, heard, settings.state, answers, moves, tell, learner)
    running = asyncio.create_task(loop.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    guard = asyncio.create_task(watch_gateway(loop, checkpoint))
    await asyncio.wait({running, guard}, return_when=asyncio.FIRST_COMPLETED)
    if guard.done() and guard.exception() is None:
        await asyncio.wait({running})
    elif guard.done():
        running.cancel()
        await asyncio.wait({running})
        give_back(datapath, guests, checkpoint)
        raise guard.exception() or InUse("the take-over was undone")
    guard.cancel()
    if not running.cancelled() and running.exception():
        raise running.exception() or RuntimeError


async def watch_gateway(loop: Loop, checkpoint: Checkpoint) -> None:
    """After a take-over: raises InUse unless each gateway answers in time, through the bridge that has the address now."""
    await loop.converged.wait()
    for nic in checkpoint.load():
        bridge = next((s for s in loop.keeper.datapath.switches().values() if s.uplink and nic.device in nics_of(s.uplink)), None)
        address = next((a.partition("/")[0] for a in nic.addresses if ":" not in a), "")
        if bridge is None or not nic.gateway or not address:
            continue
        if not await asyncio.to_thread(gateway_answers, bridge.bridge, bridge.mac, address, nic.gateway):
            raise InUse(f"gateway {nic.gateway} did not answer through {bridge.bridge}: the addresses are back on {nic.device}")


def end_with(parent: int) -> None:
    """SIGTERM when the parent dies, however it dies (prctl(2), PR_SET_PDEATHSIG). Raises OSError when it is dead already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise OSError("the server is gone")


def keep_alone(state: Path) -> int:
    """The lock that one agent or `down` at a time has on a state directory. Raises InUse when another one keeps it."""

    def lock() -> int:
        fd = held.take(state / "agent.pid")
        os.write(fd, f"{os.getpid()}\n".encode())
        return fd

    return in_turn(lock, held.Held, lambda: f"an agent keeps this host already: pid {held.holder(state / 'agent.pid')}; end it first")


def keep_namespace() -> int:
    """The name that one agent or `down` at a time has in its network namespace: two with different state directories would undo each
    other's work for ever. Raises InUse."""

    def bind() -> int:
        name = socket.socket(socket.AF_UNIX)
        name.bind(ALONE)
        return name.detach()

    return in_turn(bind, OSError, lambda: "an agent with another --state keeps this host's networking; end it first")


def in_turn(take: Callable[[], int], taken: type[Exception], why: Callable[[], str]) -> int:
    """What one process at a time can take; the one before may be about to end. Raises InUse."""
    until = time.monotonic() + ONE_AT_A_TIME
    while True:
        try:
            return take()
        except taken:
            if time.monotonic() > until:
                raise InUse(why()) from None
            time.sleep(0.05)


def run(settings: Settings) -> None:
    """The whole life of an agent. Raises InUse, OSError."""
    if settings.parent:
        end_with(settings.parent)
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    keep_alone(settings.state)
    if settings.netns:
        enter_netns(settings.netns)
    if settings.datapath != "fake":
        keep_namespace()
    replica = Replica()
    datapath, guests, backend = open_host(settings, replica)
    if backend:
        backend.say()
    checkpoint = prepare(settings, datapath)
    asyncio.run(serve(settings, replica, datapath, guests, backend, checkpoint))
    datapath.close()


def take_down(settings: Settings) -> list[str]:
    """`xenet down`: nothing of xenet's is left on this host, NICs taken over have their addresses back. What failed, as text."""
    keep_alone(settings.state)
    if settings.netns:
        enter_netns(settings.netns)
    if settings.datapath != "fake":
        keep_namespace()
    datapath, guests, _ = open_host(settings, Replica())
    failures = give_back(datapath, guests, Checkpoint(settings.state / "checkpoint.json"))
    datapath.dismantle()
    datapath.close()
    return [f"{datapath.command(failure.step)}: {failure.text}" for failure in failures]
