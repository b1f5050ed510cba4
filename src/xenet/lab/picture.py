"""A lab as it is right now, read from the kernel: which NIC and which guest hang on which bridge, which cable is pulled."""

from collections.abc import Iterable
from typing import Any

import msgspec

from xenet.datapath.links import SWITCHES
from xenet.datapath.mark import words
from xenet.lab import operate, process
from xenet.lab.run import Run
from xenet.lab.topology import Host, Lab, port_name
from xenet.lab.up import SERVER


class Port(msgspec.Struct, frozen=True):
    """A guest's NIC on a bridge."""

    guest: str
    device: str
    """As the guest sees it: eth0."""
    address: str = ""


class Bridge(msgspec.Struct, frozen=True):
    name: str
    nics: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    address: str = ""


class HostPicture(msgspec.Struct, frozen=True):
    """A host: `nics` are all it has, whether or not a bridge has them; `guests` those without any port."""

    name: str
    nics: tuple[str, ...]
    bridges: tuple[Bridge, ...] = ()
    guests: tuple[str, ...] = ()
    agent: bool = True
    """Whether its agent runs."""


class Cable(msgspec.Struct, frozen=True):
    """From a host's or machine's NIC to a switch; `plugged` is false for one that is pulled."""

    owner: str
    nic: str
    switch: str
    plugged: bool = True


class MachinePicture(msgspec.Struct, frozen=True):
    name: str
    address: str


class Picture(msgspec.Struct, frozen=True):
    name: str
    switches: tuple[str, ...]
    hosts: tuple[HostPicture, ...]
    machines: tuple[MachinePicture, ...] = ()
    cables: tuple[Cable, ...] = ()
    url: str = ""
    server: bool = True
    """Whether the server runs."""


def lines_of(*parts: str) -> list[str]:
    """What stands in a drawn box: the parts that are not empty."""
    return [part for part in parts if part]


def observe(run: Run) -> Picture:
    """Raises LabError when there is no such lab, or parts of it are gone."""
    lab = run.lab()
    guests = operate.guests(run, lab)
    return Picture(
        name=run.name,
        switches=lab.switches,
        hosts=tuple(_observe_host(run, host, [guest for guest in guests if guest.host == host.name]) for host in lab.hosts),
        machines=tuple(MachinePicture(machine.name, machine.address) for machine in lab.machines),
        cables=tuple(_observe_cables(run, lab)),
        url=_url(run),
        server=process.is_running(run.process(SERVER)),
    )


def _url(run: Run) -> str:
    """From the server's ready line: XENET_URL=... XENET_USER=..."""
    words = run.ready.read_text().split() if run.ready.exists() else []
    return next((word.partition("=")[2] for word in words if word.startswith("XENET_URL=")), "")


def _observe_cables(run: Run, lab: Lab) -> Iterable[Cable]:
    plugged = {name for switch in lab.switches for name in _up_links(operate.ip_json(run.namespace(switch).pid, "link", "show"))}
    ends = [(host.name, nic.name, nic.switch) for host in lab.hosts for nic in host.nics]
    ends += [(machine.name, "eth0", machine.switch) for machine in lab.machines]
    return (Cable(owner, nic, switch, port_name(owner, nic) in plugged) for owner, nic, switch in ends)


def _up_links(links: Iterable[dict[str, Any]]) -> set[str]:
    return {link["ifname"] for link in links if "UP" in link["flags"]}


def _observe_host(run: Run, host: Host, guests: list[operate.Guest]) -> HostPicture:
    links = _with_members(run, host, operate.ip_json(run.namespace(host.name).pid, "address", "show"))
    its = {guest.vm: guest for guest in guests}
    addresses = {guest.vm: operate.addresses_of(run, guest) for guest in guests}
    aliases = {link["ifname"]: words(link.get("ifalias", "")) for link in links}
    nics = tuple(nic.name for nic in host.nics)

    def port(device: str) -> Port | None:
        guest, index = its.get(aliases[device].get("vm", "")), device.rpartition(".")[2]
        return None if guest is None else Port(guest.name, f"eth{index}", next(iter(addresses[guest.vm].get(f"eth{index}", [])), ""))

    bridges = tuple(bridge_of(link, links, nics, port) for link in links if _is_switch(link))
    shown = {port.guest for bridge in bridges for port in bridge.ports}
    idle = tuple(guest.name for guest in guests if guest.name not in shown)
    return HostPicture(host.name, nics, bridges, idle, process.is_running(run.process(host.name)))


def _is_switch(link: dict[str, Any]) -> bool:
    kind = link.get("linkinfo", {}).get("info_kind", "")
    return kind == "bridge" or (kind in SWITCHES and "network" in words(link.get("ifalias", "")))


def _with_members(run: Run, host: Host, links: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """On Open vSwitch a port has no master: its database says which switch has it. Where that does not answer, nothing is shown on it."""
    socket = run.directory / host.name / "openvswitch" / "db.sock"
    if not socket.exists():
        return links
    from xenet.datapath.openvswitch.members import find_members

    try:
        members = find_members(socket)
    except OSError:
        return links
    return [{**link, "master": members[link["ifname"]]} if link["ifname"] in members else link for link in links]


def _slaves(device: str, links: list[dict[str, Any]]) -> list[str]:
    """Of a bond; they hang on its bridge as it does."""
    return [link["ifname"] for link in links if link.get("master") == device]


def bridge_of(link: dict[str, Any], links: list[dict[str, Any]], nics: tuple[str, ...], port: Any) -> Bridge:
    """From the links of a host as ip(8) shows them; `port` finds the guest of a device."""
    devices = [other["ifname"] for other in links if other.get("master") == link["ifname"]]
    return Bridge(
        name=link["ifname"],
        nics=tuple(nic for device in devices for nic in (device, *_slaves(device, links)) if nic in nics),
        ports=tuple(found for device in devices if (found := port(device)) is not None),
        address=next((f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["family"] == "inet"), ""),
    )
