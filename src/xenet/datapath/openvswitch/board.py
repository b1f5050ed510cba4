"""What is observed: our switches, from the database's rows and the kernel's devices together.

The database says which switches and ports there are; the kernel, what became of them: a port counts when its device carries our mark, and a
switch is up when its local device does.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from xenet.datapath.kernel import Kernel
from xenet.datapath.links import Link
from xenet.datapath.mark import is_switch, port_view
from xenet.datapath.openvswitch.database import Database
from xenet.datapath.openvswitch.hubs import is_whole
from xenet.datapath.openvswitch.learning import Learning
from xenet.datapath.openvswitch.locks import FlowLocks
from xenet.datapath.openvswitch.mesh import far_of
from xenet.datapath.openvswitch.monitor import LEARNING, FlowMonitor
from xenet.datapath.openvswitch.ofctl import dump_flows
from xenet.datapath.openvswitch.read import has_part_of_ours, is_ours, read_bridge
from xenet.datapath.openvswitch.rows import UPLINK, VIF, Bridge
from xenet.datapath.openvswitch.specs import USERSPACE, switches_of
from xenet.plan.view import LockView, PortView, Settings, SwitchView, UplinkView, same_device

replace = msgspec.structs.replace
Told = Mapping[str, Settings]
"""What is asked of drivers, by device."""


class Board:
    """Of one database and one kernel."""

    def __init__(self, database: Database, kernel: Kernel, management: Callable[[str], Path]) -> None:
        self._database = database
        self._kernel = kernel
        self.monitor = FlowMonitor(management)
        self.locks = FlowLocks(management, self.place_of, kernel.table.relock, self.monitor.pass_over)
        self.learning = Learning(management)
        self._management = management
        kernel.table.lock_of = self._lock_of
        self._places: dict[str, tuple[str, int]] = {}
        """Our ports: the bridge's row, and the number there."""
        self._faces: dict[str, str] = {}
        """Of these ports, the interface: the device itself, or the leg of its limit."""
        self._bridges: dict[str, Bridge] = {}
        """Ours and those that have ports of ours, as rows."""
        self._standalone: set[str] = set()
        """Of ours, those that nobody steers: each is a learning switch."""
        self._others: set[str] = set()
        """Bridges of others."""
        self._foreign: dict[str, str] = {}
        """Device -> the bridge, none of ours, that has it."""
        self._asked: dict[str, SwitchView] = {}
        """Our switches as the rows describe them."""
        self._users: dict[str, set[str]] = {}
        """Device -> the switches in whose views it shows."""
        self._views: dict[str, SwitchView] = {}

    # --- news --------------------------------------------------------------------------------------

    def take(self, news: Iterable[tuple[str, str, Any]]) -> set[str]:
        """Take in what changed in the database; the switches and devices that it concerns."""
        if not any(table in ("Bridge", "Port", "Interface", "Mirror") for _, table, _ in news):
            return set()
        before, asked, places = self._bridges, self._asked, self._places
        self._read()
        moved = {name for name in places.keys() | self._places.keys() if places.get(name) != self._places.get(name)}
        changed = {name for name in before.keys() | self._bridges.keys() if before.get(name) != self._bridges.get(name)}
        if not changed and not moved:
            return set()
        self._asked = switches_of(self._bridges)
        self._index()
        touched = {name for name in asked.keys() | self._asked.keys() if asked.get(name) != self._asked.get(name)}
        touched |= changed | self._on(changed) | {name for device in moved for name in self._users.get(device, ())}
        for name in touched:
            self._views.pop(name, None)
        return touched

    def _read(self) -> None:
        rows = self._database.rows("Bridge")
        self._bridges = {row.name: read_bridge(row) for row in rows if has_part_of_ours(row)}
        self._standalone = {row.name for row in rows if is_ours(row) and not row.controller and "secure" not in row.fail_mode}
        self._others = {row.name for row in rows if not is_ours(row)}
        numbers = {row.name: row.ofport[0] for row in self._database.rows("Interface") if row.ofport and row.ofport[0] > 0}
        self._places = {
            port.name: (bridge.name, numbers[port.interfaces[0].name])
            for bridge in self._bridges.values()
            for port in bridge.ports.values()
            if port.interfaces and port.interfaces[0].name in numbers
        }
        self._faces = {port.name: port.interfaces[0].name for bridge in self._bridges.values() for port in bridge.ports.values() if port.interfaces}
        self._foreign = {name: row.name for row in rows if not is_ours(row) for port in row.ports for name in self._names(port)}

    def _names(self, port: Any) -> list[str]:
        """Of a port on somebody else's bridge that is not ours."""
        return [] if VIF in port.external_ids else [port.name, *(interface.name for interface in port.interfaces)]

    def _on(self, bridges: set[str]) -> set[str]:
        """The VLANs' switches on these."""
        return {port.name for name in bridges if name in self._bridges for port in self._bridges[name].ports.values() if port.fake}

    def _index(self) -> None:
        self._users = {}
        for name, switch in self._asked.items():
            devices = {name, *switch.ports}
            if switch.uplink:
                devices |= {switch.uplink.device, far_of(switch.uplink.device), *(switch.uplink.bond.slaves if switch.uplink.bond else ())}
            for device in devices:
                self._users.setdefault(device, set()).add(name)

    def place_of(self, device: str) -> tuple[str, int] | None:
        """Where a device of a VIF is a port: the bridge's row, and its number there."""
        return self._places.get(device)

    def face_of(self, device: str) -> str:
        """The interface by which a device of a VIF is in the switch."""
        return self._faces.get(device, device)

    def outward(self, bridge: str) -> str:
        """An interface by which a bridge's row leads out; where it does not, its own."""
        found = (port for port in self._bridges[bridge].ports.values() if UPLINK in port.external and not port.fake and port.interfaces)
        return next((port.interfaces[0].name for port in found), bridge)

    def tag_of(self, device: str) -> int:
        """Of the VLAN that a device of a VIF is on, 0 for none."""
        found = (self.home(name)[1] for name in self._users.get(device, ()) if device in self._asked[name].ports)
        return max(next(found, 0), 0)

    def look_at_flows(self) -> None:
        """Read anew which locks are in force, and which switches learn. Raises OSError."""
        flows = {name: dump_flows(self._management(name)) for name in self._bridges}
        self.learning.observe({name: lines for name, lines in flows.items() if name in self._standalone})
        locked = {port.device: (port.mac, port.lock) for switch in self._asked.values() for port in switch.ports.values() if port.lock}
        self.locks.observe(flows, locked)
        self._views.clear()

    def hear_of_flows(self) -> set[str]:
        """What others have done to flows; the switches that it concerns."""
        news = self.monitor.take()
        self.locks.lose(news)
        emptied = self._look_whether_they_learn({bridge for bridge, number in news if number == LEARNING})
        locked = [port.device for switch in self._asked.values() for port in switch.ports.values() if port.lock]
        self.monitor.follow({place[0] for device in locked if (place := self.place_of(device))} | self._standalone)
        return self.touch(self._kernel.table.touched_devices()) | emptied

    def _look_whether_they_learn(self, bridges: set[str]) -> set[str]:
        """Bridges whose own flow was deleted or changed; the switches that it concerns."""
        with suppress(OSError):  # it is gone: the next one has that flow
            self.learning.observe({name: dump_flows(self._management(name)) for name in bridges & self._standalone})
        touched = {name for name in self._asked if self.home(name)[0] in bridges}
        for name in touched:
            self._views.pop(name, None)
        return touched

    def _lock_of(self, device: str, mac: str) -> LockView | None:
        """What the database says, whole where its flows are there; one that is not whole where there are flows and shall be none."""
        lock = next((port.lock for name in self._users.get(device, ()) if (port := self._asked[name].ports.get(device))), None)
        if lock is None:
            return LockView(whole=False) if self.locks.strays(device) else None
        return replace(lock, whole=lock.whole and self.locks.whole(device, mac, lock))

    def touch(self, devices: Iterable[str]) -> set[str]:
        """The kernel has news of these devices; the switches in whose views they show."""
        touched = {name for device in devices for name in self._users.get(device, ())}
        for name in touched:
            self._views.pop(name, None)
        return touched

    def forget(self) -> None:
        """Build every view anew."""
        self._views.clear()

    # --- looking -----------------------------------------------------------------------------------

    @property
    def bridges(self) -> dict[str, Bridge]:
        return self._bridges

    @property
    def asked(self) -> dict[str, SwitchView]:
        return self._asked

    def standing(self) -> dict[str, SwitchView]:
        """The same without ports that have lost their device, such as an agent leaves that dies between the two."""
        left = {name: {device: port for device, port in switch.ports.items() if self._link(port)} for name, switch in self._asked.items()}
        return {name: replace(switch, ports=left[name]) for name, switch in self._asked.items() if left[name] or not switch.foreign}

    def _link(self, asked: PortView) -> tuple[Link, PortView] | None:
        """The device of a port and what it says of itself, where it is this port's."""
        link = self._kernel.table.link(asked.device)
        port = port_view(link) if link else None
        return (link, port) if link and port and same_device(port, asked) else None

    @property
    def others(self) -> set[str]:
        """Bridges in the database that are none of ours."""
        return self._others

    def foreign(self, device: str) -> str | None:
        """The bridge, none of ours, that has this device."""
        return self._foreign.get(device)

    def ports(self) -> set[str]:
        """Devices of VIFs that the database has."""
        return {name for switch in self._asked.values() for name in switch.ports}

    def snooped(self) -> dict[str, tuple[int, ...]]:
        """The VIFs' ports on switches that snoop, VLANs' included, whose guests are there, with their trunks."""
        homes = {bridge.name for bridge in self._bridges.values() if bridge.snooping}
        if not homes:
            return {}
        views = [view for name in self._asked if self.home(name)[0] in homes for view in self._view(name).ports.values()]
        return {view.device: view.trunks for view in views if not view.moving}

    def rows_of_ports(self) -> set[str]:
        """The names of all ports of our bridges."""
        return {name for bridge in self._bridges.values() for name in bridge.ports}

    def taken(self) -> set[str]:
        """Devices that our switches lead out by."""
        return {
            interface.name
            for bridge in self._bridges.values()
            for port in bridge.ports.values()
            if UPLINK in port.external and not port.fake
            for interface in port.interfaces
        }

    def home(self, bridge: str) -> tuple[str, int]:
        """The row of the table Bridge that a switch is in, and its tag there, -1 for none."""
        switch = self._asked.get(bridge)
        if bridge in self._bridges or switch is None or switch.uplink is None or switch.uplink.vlan is None:
            return bridge, -1
        name = next((row.name for row in self._bridges.values() if bridge in row.ports), bridge)
        return name, switch.uplink.vlan.tag

    def switches(self) -> dict[str, SwitchView]:
        return {name: self._view(name) for name in self._asked}

    def switch(self, bridge: str) -> SwitchView | None:
        return self._view(bridge) if bridge in self._asked else None

    def _view(self, name: str) -> SwitchView:
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = self._build(self._asked[name])
        return view

    def _build(self, asked: SwitchView) -> SwitchView:
        table = self._kernel.table
        link = table.link(asked.bridge)
        told = table.heeded(asked.bridge)
        ports = {name: port for name, wanted in asked.ports.items() if (port := self._port(wanted, told))}
        uplink = self._uplink(asked, asked.uplink, told) if asked.uplink else None
        if asked.foreign:
            return replace(asked, ports=ports)
        if link is None:
            return replace(asked, mac="", mtu=0, up=False, ports=ports, uplink=uplink)
        addresses, routes = table.layer3.of(link)
        served = is_switch(link)  # else nobody has told the kernel yet to take nothing from routers
        up, advertisements = served and link.up, link.advertisements if served else None
        ethtool = table.settings_of(link, told.get(asked.bridge, {}))
        learning = not self.learning.has_ended(self.home(asked.bridge)[0])
        seen = replace(asked, ethtool=ethtool, mac=link.mac, mtu=link.mtu, up=up, learning=learning, ports=ports, uplink=uplink)
        return replace(seen, addresses=addresses, routes=routes, advertisements=advertisements)

    def _port(self, asked: PortView, told: Told) -> PortView | None:
        if found := self._link(asked):
            link, port = found
            return replace(self._kernel.table.held(link.index, port, told.get(port.device)), trunks=asked.trunks)
        return None

    def _uplink(self, switch: SwitchView, asked: UplinkView, told: Told) -> UplinkView | None:
        """A VLAN has no device of its own here but the local one; a bond and a tunnel have none at all: a bond's slaves are, and a tunnel has
        the MTU of its switch. What drivers shall do is nothing to a tunnel."""
        local = self._kernel.table.link(switch.bridge)
        if asked.tunnel:
            if self._bridges[switch.bridge].datapath == USERSPACE and not is_whole(self._kernel.table, asked.device):
                return None
            ethtool = {asked.device: told[asked.device]} if asked.device in told else {}
            return replace(asked, mtu=local.mtu if local else 0, ethtool=ethtool)
        if asked.vlan:
            return replace(asked, mtu=local.mtu if local else 0) if asked.vlan.parent else None
        names = asked.bond.slaves if asked.bond else (asked.device,)
        links = [link for name in names if (link := self._kernel.table.link(name))]
        if len(links) < len(names):
            return None
        ethtool = {link.name: self._kernel.table.settings_of(link, told[link.name]) for link in links if link.name in told}
        return replace(asked, mtu=min(link.mtu for link in links), up=all(link.up for link in links), ethtool=ethtool)
