"""Both data planes against each other, and both against a model of the wires that knows nothing of either: random pools of two hosts with
networks, tags, bonds, tunnels and locks, one after the other on the same hosts; who hears whom is found by frames, and must be the same for
all three."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from random import Random

import msgspec
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.datapath.bridge_host import Host, hosts
from tests.datapath.switch_host import switch_hosts
from tests.e2e.world import PATIENCE
from tests.netns import Namespace, cable
from xenet.plan.view import BondView, LockView, PortView, SwitchView, TunnelView, UplinkView, VLANView

pytestmark = pytest.mark.kernel
GUESTS = 3
"""On each of the two hosts."""


class Network(msgspec.Struct, frozen=True):
    """`wire` is the cable that carries it, 0 for none: then it ends at its host, unless it is tunnelled. `tag` -1: as it is."""

    wire: int
    tag: int = -1
    tunnel: int = 0
    """The key, 0 for none. The address that it goes by is on the network of the wire 1."""


class VIF(msgspec.Struct, frozen=True):
    """Of the guest `number` of the host `host`: on a network, cut off or not, and whom its lock lets it be."""

    host: int
    number: int
    network: Network
    up: bool = True
    allowed: tuple[str, ...] | None = None

    @property
    def address(self) -> str:
        return f"10.0.{self.host}.{self.number}"

    @property
    def mac(self) -> str:
        return f"02:00:00:{self.host:02x}:{self.number:02x}:00"


class Pool(msgspec.Struct, frozen=True):
    """`bonded`: the hosts whose eth2 and eth3 are one."""

    vifs: tuple[VIF, ...]
    bonded: frozenset[int] = frozenset()


def any_pool(random: Random, everything: bool) -> Pool:
    tags = (-1, 10, 20) if everything else (-1,)
    vifs = []
    for host in (0, 1):
        for number in range(1, GUESTS + 1):
            wire = random.choice((0, 1, 2))
            network = Network(wire, random.choice(tags)) if wire else Network(0, tunnel=random.choice((0, 1, 1, 2)))
            vif = VIF(host, number, network, random.random() < 0.85)
            allowed = random.choice((None, None, (vif.address,), ("10.9.9.9",), ("10.0.0.0/16",), ()))
            vifs.append(msgspec.structs.replace(vif, allowed=allowed))
    return Pool(tuple(vifs), frozenset(host for host in (0, 1) if everything and random.random() < 0.5))


# --- the wires -------------------------------------------------------------------------------------


def heard(pool: Pool) -> set[tuple[str, str]]:
    """Who hears whom when everybody calls out with his own addresses."""
    return {(a.address, b.address) for a in pool.vifs for b in pool.vifs if a != b and speaks(a) and b.up and joined(a, b)}


def speaks(vif: VIF) -> bool:
    return vif.up and (vif.allowed is None or any(entry == vif.address or entry.endswith("/16") for entry in vif.allowed))


def joined(a: VIF, b: VIF) -> bool:
    return a.network == b.network and (a.network.wire > 0 or a.network.tunnel > 0 or a.host == b.host)


# --- as a data plane has it ------------------------------------------------------------------------


def switches(host: Host, number: int, pool: Pool) -> list[SwitchView]:
    mine = [vif for vif in pool.vifs if vif.host == number]
    networks = {vif.network for vif in mine}
    carriers = {Network(network.wire or 1) for network in networks if network.wire or network.tunnel}
    return [
        switch(host, number, network, [vif for vif in mine if vif.network == network], number in pool.bonded)
        for network in sorted_(networks | carriers)
    ]


def sorted_(networks: set[Network]) -> list[Network]:
    return sorted(networks, key=lambda network: (network.wire, network.tag, network.tunnel))


def switch(host: Host, number: int, network: Network, vifs: list[VIF], bonded: bool) -> SwitchView:
    name = f"x{network.wire}t{network.tag if network.tag >= 0 else 'n'}"
    ports = {port.device: port for port in map(port_of, vifs)}
    if network.tunnel:
        return tunnelled(name + str(network.tunnel), number, network.tunnel, ports)
    if not network.wire:
        return SwitchView(name, f"net-{name}", ports=ports)
    nic = f"eth{network.wire}"
    mac = str(host.json("link", "show", nic)[0]["address"])
    below = UplinkView(nic)
    if bonded and network.wire == 2:
        mac = str(host.json("link", "show", "eth2")[0].get("permaddr") or mac)
        below = UplinkView("bond0", bond=BondView(("eth2", "eth3"), "active-backup", mac, primary="eth2", updelay=0, downdelay=0))
    uplink = below if network.tag < 0 else UplinkView(f"{below.device}.{network.tag}", vlan=VLANView(below.device, network.tag))
    own = (f"{end_of(number)}/24",) if network == Network(1) else ()
    return SwitchView(name, f"net-{name}", mac=mac, uplink=uplink, ports=ports, addresses=own)


def tunnelled(name: str, number: int, key: int, ports: dict[str, PortView]) -> SwitchView:
    uplink = UplinkView(f"tunnel{key}", 1450, tunnel=TunnelView("vxlan", key, end_of(number), (end_of(1 - number),)))
    return SwitchView(name, f"net-{name}", mac=f"02:00:00:77:{number:02x}:{key:02x}", mtu=1450, uplink=uplink, ports=ports)


def end_of(number: int) -> str:
    return f"192.0.2.{number + 1}"


def port_of(vif: VIF) -> PortView:
    lock = None if vif.allowed is None else LockView(vif.allowed)
    return PortView(f"vif{vif.number}.0", f"vif-{vif.number}", f"vm-{vif.number}", 0, vif.mac, up=vif.up, lock=lock)


def measured(pair: tuple[Host, Host], pool: Pool) -> set[tuple[str, str]]:
    """Everybody calls out, everybody listens."""
    ears: dict[str, list[bytes]] = {}
    with ExitStack() as listening:
        for vif in pool.vifs:
            ears[vif.address] = listening.enter_context(listen(pair[vif.host].guests[vif.number - 1]))
        for _ in range(2):
            for vif in pool.vifs:
                pair[vif.host].guests[vif.number - 1](call_out, vif)
    return {(a.address, b.address) for a in pool.vifs for b in pool.vifs if a != b and any(word(a) in frame for frame in ears[b.address])}


@contextmanager
def listen(guest: Namespace) -> Iterator[list[bytes]]:
    """What comes without a tag: a guest with no use for VLANs does not hear others. The kernel tells of a tag beside the frame."""
    heard: list[bytes] = []
    with guest(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:
        sock.setsockopt(263, 8, 1)  # PACKET_AUXDATA of linux/if_packet.h
        sock.bind(("eth0", 3))
        sock.setblocking(False)
        yield heard
        time.sleep(0.05 * PATIENCE)
        with suppress(BlockingIOError):
            while True:
                frame, beside, _, _ = sock.recvmsg(2048, 256)
                if not any(struct.unpack_from("=I", data)[0] & 0x10 for _, _, data in beside):
                    heard.append(frame)


def word(vif: VIF) -> bytes:
    return f"<{vif.address} calls>".encode()


def call_out(vif: VIF) -> None:
    frame = Ether(src=vif.mac, dst="ff:ff:ff:ff:ff:ff") / IP(src=vif.address, dst="10.0.255.255") / UDP(sport=7, dport=9) / Raw(word(vif))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("eth0", 0))
        try:
            sock.send(bytes(frame))
        except OSError:  # a guest that is cut off has no carrier
            return


@contextmanager
def pair(make: Callable[[int], AbstractContextManager[Host]]) -> Iterator[tuple[Host, Host]]:
    """Two hosts with three cables between them."""
    with make(GUESTS) as one, make(GUESTS) as two:
        for number in (1, 2, 3):
            cable(one.ns, f"eth{number}", two.ns, f"eth{number}")
        yield one, two


def matrices(make: Callable[[int], AbstractContextManager[Host]], pools: list[Pool]) -> list[set[tuple[str, str]]]:
    found = []
    with pair(make) as made:
        for pool in pools:
            for number, host in enumerate(made):
                host.ns(host.datapath.refresh)
                host.reach(*switches(host, number, pool))
            found.append(settled(made, pool))
    return found


def settled(pair: tuple[Host, Host], pool: Pool) -> set[tuple[str, str]]:
    """Where bonds are they take a moment to choose a link, where tunnels are to ask for the other's MAC."""
    found = measured(pair, pool)
    for _ in range(20 if pool.bonded or any(vif.network.tunnel for vif in pool.vifs) else 0):
        if found == heard(pool):
            break
        found = measured(pair, pool)
    return found


@pytest.mark.parametrize("seed", range(2))
def test_bridge_open_vswitch_and_the_wires_say_the_same(seed: int) -> None:
    """What every kernel has. Tags and bonds, too, are in tests/stock."""
    check_alike(seed, 4, everything=False)


def check_alike(seed: int, count: int, everything: bool) -> None:
    """So many pools; `everything` where the kernel has VLANs and bonds."""
    random = Random(seed)
    pools = [any_pool(random, everything) for _ in range(count)]
    wires = [heard(pool) for pool in pools]
    assert any(wires)
    bridge, openvswitch = matrices(hosts, pools), matrices(switch_hosts, pools)
    assert openvswitch == wires
    assert bridge == wires


@pytest.mark.parametrize("seed", range(2, 4))
def test_open_vswitch_and_the_wires_say_the_same_of_tags_and_bonds(seed: int) -> None:
    random = Random(seed)
    pools = [any_pool(random, everything=True) for _ in range(4)]
    assert matrices(switch_hosts, pools) == [heard(pool) for pool in pools]
