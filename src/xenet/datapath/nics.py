"""NICs: what the host has to reach the world with. Source: linux/ethtool.h; /sys/bus, which unlike /sys/class/net shows all namespaces'."""

import array
import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from xenet.datapath.addresses import GLOBAL
from xenet.datapath.links import Link
from xenet.datapath.mark import is_ours
from xenet.datapath.table import Table
from xenet.model.hidden import NIC

_SIOCETHTOOL, _ETHTOOL_GSET = 0x8946, 0x00000001
_COMMAND = struct.Struct("=IIIHBBBBBBIIHBBIII")
_DEFAULTS = ("0.0.0.0/0", "::/0")


def nic_facts(table: Table, ioctl: socket.socket, devices: Sequence[str]) -> list[NIC]:
    """Facts of these devices, those that are not there left out; of every NIC where none is named."""
    named = [table.link(device) for device in devices] if devices else find_nics(table)
    return [_facts(table, ioctl, link) for link in named if link]


def find_nics(table: Table) -> list[Link]:
    """The hardware's devices, by name. In a namespace without any (a lab) the ends of cables: veths that are neither ours nor
    a foreign bridge's ports."""
    links = sorted((link for link in table.links() if not is_ours(link)), key=lambda link: link.name)
    physical = [link for link in links if _parent(link)]
    return physical or [link for link in links if link.kind == "veth" and not foreign_master(table, link.name)]


def foreign_master(table: Table, device: str) -> Link | None:
    """What holds this device as its port, when that is none of ours."""
    link = table.link(device)
    master = table.link(link.master) if link else None
    return master if master and not is_ours(master) else None


def _facts(table: Table, ioctl: socket.socket, link: Link) -> NIC:
    speed, duplex = _speed(ioctl, link.name)
    path = _pci(_parent(link))
    return NIC(
        device=link.name,
        mac=link.slave.mac if link.slave else link.mac,
        mtu=link.mtu,
        max_mtu=link.max_mtu,
        carrier=link.carrier and link.up,
        speed=speed,
        duplex=duplex,
        addresses=tuple(sorted(cidr for cidr, address in table.layer3.addresses.get(link.index, {}).items() if address.scope == GLOBAL)),
        gateway=_gateway(table, link.index),
        vendor_id=_hex(path, "vendor"),
        device_id=_hex(path, "device"),
        pci_bus_path=path.name if path else "",
        capabilities=capabilities(path),
        vlans=tuple(sorted(other.tag for other in table.links() if other.kind == "vlan" and other.peer == link.index and not is_ours(other))),
    )


def _gateway(table: Table, index: int) -> str:
    """Of the default route through this device, IPv4 first, then the one with the lowest metric."""
    routes = sorted(table.layer3.routes.get(index, ()), key=lambda route: (":" in route.view.gateway, route.metric))
    return next((route.view.gateway for route in routes if route.view.destination in _DEFAULTS), "")


def _speed(ioctl: socket.socket, device: str) -> tuple[int, bool]:
    """(Mbit/s, full duplex); (0, False) of a device without a cable or that does not say."""
    command = array.array("B", _COMMAND.pack(_ETHTOOL_GSET, *(0,) * 17))
    try:
        fcntl.ioctl(ioctl, _SIOCETHTOOL, struct.pack("16sP16x", device.encode(), command.buffer_info()[0]))
    except OSError:
        return 0, False
    answer = _COMMAND.unpack(command.tobytes())
    speed, duplex = answer[3] | answer[12] << 16, answer[4]
    return (speed, duplex == 1) if 0 < speed < 0xFFFF_FFFF and speed != 0xFFFF else (0, False)


def _parent(link: Link) -> str:
    """The hardware behind a device, `bus name`. Before Linux 5.14 only sysfs says it, and its view may be another namespace's."""
    if link.parent or link.kind:
        return link.parent
    seen = Path("/sys/class/net", link.name)
    try:
        if (seen / "address").read_text().strip() != link.mac or int((seen / "ifindex").read_text()) != link.index:
            return ""
        return f"{(seen / 'device/subsystem').resolve(strict=True).name} {(seen / 'device').resolve(strict=True).name}"
    except OSError:
        return ""


@cache
def _pci(parent: str) -> Path | None:
    """The PCI function of this hardware, or the one that carries it (virtio), None for other hardware."""
    bus, _, name = parent.partition(" ")
    if not name:
        return None
    device = Path(f"/sys/bus/{bus}/devices/{name}").resolve()
    for path in (device, device.parent):
        if os.path.exists(f"/sys/bus/pci/devices/{path.name}"):
            return path
    return None


def capabilities(path: Path | None) -> tuple[str, ...]:
    """What PIF.capabilities says of the PCI function there: `sriov` where it can have virtual functions (Documentation/PCI/pci-iov-howto.rst)."""
    try:
        return ("sriov",) if path and int((path / "sriov_totalvfs").read_text()) else ()
    except (OSError, ValueError):
        return ()


def _hex(path: Path | None, name: str) -> str:
    """A PCI id as XenServer writes it: four digits, without 0x."""
    return (path / name).read_text().strip().removeprefix("0x") if path else ""
