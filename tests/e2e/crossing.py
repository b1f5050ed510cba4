"""Live migration on networks that are more than a NIC: a VLAN, a bond. The announcement leaves like all else that the VM sends: with the network's
tag, and by one link of the bond. For any datapath; the switch's ports are those of `yard`."""

import socket
import struct

from tests.e2e.world import ETH_P_ALL, Inside, until
from tests.e2e.yard import HOSTS, Yard
from xenet.cli.xe.tasks import members

NICS = ("eth0", "eth1", "eth2")
TAG = 42
SOL_PACKET, PACKET_AUXDATA, VLAN_VALID = 263, 8, 0x10
ARP = b"\x08\x06"


def heard_at(port: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    wire.bind((port, ETH_P_ALL))
    wire.setblocking(False)
    return wire


def tags_of_announcements(wire: socket.socket, mac: str) -> list[int]:
    """Of each ARP frame from this MAC that the switch got at a port so far; 0: without a tag."""
    tags = []
    while True:
        try:
            frame, notes, _, source = wire.recvmsg(2048, 256)
        except BlockingIOError:
            return tags
        if frame[6:12] == bytes.fromhex(mac.replace(":", "")) and ARP in (frame[12:14], frame[16:18]) and source[2] != socket.PACKET_OUTGOING:
            status, tci = struct.unpack_from("=I12xH", notes[0][2])
            tags.append(tci & 0xFFF if status & VLAN_VALID else 0)


def pif(site: Yard, host: str, nic: str) -> str:
    api = site.pool.api
    return next(ref for ref in api.host.get_PIFs(site.pool.host(host)) if api.PIF.get_device(ref) == nic and api.PIF.get_VLAN(ref) == "-1")


def vlan_network(site: Yard) -> str:
    """A network on the VLAN of both hosts' eth0."""
    red = site.pool.network("red")
    for host in HOSTS:
        site.pool.api.PIF.plug(site.pool.api.VLAN.get_untagged_PIF(site.pool.api.VLAN.create(pif(site, host, "eth0"), str(TAG), red)))
    return red


def bond_network(site: Yard) -> str:
    """A network on a bond of both hosts' eth1 and eth2."""
    network = site.pool.network("bonded")
    for host in HOSTS:
        site.pool.api.Bond.create(network, [pif(site, host, "eth1"), pif(site, host, "eth2")], "", "active-backup", {})
    return network


def moved(site: Yard, network: str, prefix: str, ports: list[str]) -> dict[str, list[int]]:
    """A VM on this network moves from host1 to host2, and is reached from a VM that stays on each; the announcements at these ports."""
    api = site.pool.api
    vm = site.pool.vm(f"mover{prefix}", network)
    guest = site.pool.start(vm, "host1", f"{prefix}.1/24")
    stay = [site.pool.start(site.pool.vm(f"{host}{prefix}", network), host, f"{prefix}.{10 + n}/24") for n, host in enumerate(HOSTS)]
    for number in range(2):
        until(lambda number=number: pinged(guest, f"{prefix}.{10 + number}"))  # type: ignore[misc]
    mac = api.VIF.get_MAC(api.VM.get_VIFs(vm)[0])
    wires = {port: site.switch(heard_at, port) for port in ports}
    said = measured(site, vm)
    assert said["whole"] == "true", said
    assert float(said["announced"]) > 0
    found = {port: tags_of_announcements(wire, mac) for port, wire in wires.items()}
    for wire in wires.values():
        wire.close()
    for place in stay:
        until(lambda place=place: pinged(place, f"{prefix}.1"))  # type: ignore[misc]
    assert site.port_of(mac) in ports
    return found


def measured(site: Yard, vm: str) -> dict[str, str]:
    """It moves to host2; what the task says that it cost."""
    api = site.pool.api
    task = api.Async.VM.pool_migrate(vm, site.pool.host("host2"), {})
    until(lambda: api.task.get_status(task) != "pending")
    record = api.task.get_record(task)
    assert record["status"] == "success", record["error_info"]
    return members(record["result"])


def pinged(place: Inside, address: str) -> bool:
    return "1 received" in place.command("sh", "-c", f"ping -c1 -W1 {address} || true")


def check_vlan(site: Yard) -> None:
    (tags,) = moved(site, vlan_network(site), "10.2.0", ["host2"]).values()
    assert tags, "it was not announced before the call ended"
    assert set(tags) == {TAG}


def check_bond(site: Yard) -> None:
    found = moved(site, bond_network(site), "10.3.0", ["host2-eth1", "host2-eth2"])
    assert sorted(map(bool, found.values())) == [False, True], "it was announced by both links, or by none"
