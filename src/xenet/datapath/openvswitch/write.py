"""From the rows that there are to those that must be, within a transaction: only what differs is written, and of maps only our keys.

Ports are put into a bridge and taken out of it one by one, so what others put there at the same time stays.
"""

from collections.abc import Mapping
from typing import Any

from xenet.datapath.openvswitch.read import is_ours, read_port
from xenet.datapath.openvswitch.rows import BOND, HUB, LOCK, MIRROR, NETWORK, TRUNKS, TUNNEL, UPLINK, VIF, Bridge, Interface, Mirror, Port
from xenet.datapath.openvswitch.specs import FLOOD, KERNEL, REPORTS, UNHEARD

_MARKS = frozenset({NETWORK, UPLINK, VIF, BOND})
_KEYS = {
    "external_ids": _MARKS
    | {LOCK, TRUNKS, TUNNEL, HUB}
    | {f"{prefix}{key}" for prefix in ("", "fake-bridge-") for key in ("xs-network-uuids", "network-uuids")}
    | {"xs-vif-uuid", "xs-vm-uuid", "xs-network-uuid", "attached-mac", "iface-id", "vm-id", "iface-status"},
    "other_config": frozenset(
        {"hwaddr", "mac-table-size", "disable-in-band", "bond-detect-mode", "bond-miimon-interval", "bond-rebalance-interval", "bond-primary"}
        | {"lacp-time", "lacp-fallback-ab", "lacp-aggregation-key", UNHEARD, FLOOD, REPORTS}
    ),
}
"""The keys of a map that are ours to set and to take away."""


class Writer:
    """Of one transaction."""

    def __init__(self, txn: Any, root: Any) -> None:
        self._txn = txn
        self._root = root
        self._tables = txn.idl.tables
        self._bridges = {row.name: row for row in self._tables["Bridge"].rows.values()}
        self._ports = {row.name: row for row in self._tables["Port"].rows.values()}
        self._mirrors = {row.name: row for bridge in self._bridges.values() for row in bridge.mirrors if MIRROR in row.external_ids}
        self._made: dict[str, Any] = {}
        """Rows of ports that this transaction makes."""
        self._homes = {port.name: bridge for bridge in self._bridges.values() for port in bridge.ports}

    def conflicts(self, want: Mapping[str, Bridge]) -> dict[str, str]:
        """Names of bridges and ports that are another's already, and why they cannot be had."""
        found: dict[str, str] = {}
        for name, bridge in want.items():
            row = self._bridges.get(name)
            if bridge.foreign:
                found |= dict.fromkeys(bridge.ports, why) if (why := _unfit(row, bridge)) else {}
            elif row is not None and not is_ours(row):
                found[name] = f"{name} exists and is another's"
            for port in bridge.ports.values():
                for device in {port.name, *(interface.name for interface in port.interfaces)} - {name}:
                    if owner := self._other(device):
                        found[port.name] = f"{device} is on the bridge {owner} already, and is another's"
        return found

    def _other(self, device: str) -> str:
        """The bridge that has this port, when it is no port of ours."""
        home, row = self._homes.get(device), self._ports.get(device)
        if home is None or row is None or _MARKS & row.external_ids.keys() or (device == home.name and is_ours(home)):
            return ""
        return str(home.name)

    def write(self, have: Mapping[str, Bridge], want: Mapping[str, Bridge]) -> None:
        """`have`: our bridges as they are. Nothing in `want` may be in conflict."""
        for name in have.keys() - want.keys():
            if have[name].foreign:
                self._take_out(have[name], Bridge(name))
            else:
                self._root.delvalue("bridges", self._bridges[name])
        for name in sorted(have.keys() & want.keys()):
            self._take_out(have[name], want[name])
        for name in sorted(want):
            self._bridge(name, have.get(name), want[name])

    def _take_out(self, have: Bridge, want: Bridge) -> None:
        """Ports of ours that leave this bridge; also such that become another thing."""
        for name, port in have.ports.items():
            gone = name not in want.ports and name != have.name and _MARKS & port.external.keys()
            if gone or (name in want.ports and want.ports[name].fake != port.fake):
                self._bridges[have.name].delvalue("ports", self._ports[name])

    def _bridge(self, name: str, have: Bridge | None, want: Bridge) -> None:
        if want.foreign:
            self._ports_of(self._bridges[name], have, want)
            return
        row = self._bridges[name] if have else self._txn.insert(self._tables["Bridge"])
        if have is None:
            row.name = name
            self._root.addvalue("bridges", row)
        _set(row, have, "datapath_type", have.datapath if have else "", want.datapath)
        _set(row, have, "fail_mode", have.fail_mode if have else "", want.fail_mode)
        if (have.snooping if have else False) != want.snooping:
            row.mcast_snooping_enable = want.snooping
        self._maps(row, have, want)
        self._ports_of(row, have, want)
        self._mirrors_of(row, have.mirrors if have else {}, want.mirrors)

    def _mirrors_of(self, bridge: Any, have: Mapping[str, Mirror], want: Mapping[str, Mirror]) -> None:
        """Others' mirrors stay. A row that names a port which is being replaced is written anew."""
        for name in have.keys() - want.keys():
            bridge.delvalue("mirrors", self._mirrors[name])
        for name, mirror in want.items():
            fresh = self._made.keys() & {mirror.output, *mirror.sent}
            if have.get(name) == mirror and not fresh:
                continue
            row = self._mirrors[name] if name in have else self._txn.insert(self._tables["Mirror"])
            row.name, row.external_ids, row.output_vlan = name, dict(mirror.external), []
            row.select_all, row.select_vlan = mirror.everything, list(mirror.vlans)
            row.select_src_port, row.select_dst_port = ([self._port_row(port) for port in ports] for ports in (mirror.sent, mirror.heard))
            row.output_port = self._port_row(mirror.output)
            if name not in have:
                bridge.addvalue("mirrors", row)

    def _port_row(self, name: str) -> Any:
        return self._made.get(name) or self._ports[name]

    def _ports_of(self, row: Any, have: Bridge | None, want: Bridge) -> None:
        for port in want.ports.values():
            there = have.ports.get(port.name) if have else None
            self._port(row, port, there if there is not None and there.fake == port.fake else None)

    def _maps(self, row: Any, have: Bridge | Port | Interface | None, want: Bridge | Port | Interface) -> None:
        for column, before, after in (
            ("external_ids", have.external if have else {}, want.external),
            ("other_config", have.other if have else {}, want.other),
        ):
            if have is None:
                if after:
                    setattr(row, column, dict(after))
                continue
            for key in (before.keys() & _KEYS[column]) - after.keys():
                row.delkey(column, key)
            for key, value in after.items():
                if before.get(key) != value:
                    row.setkey(column, key, value)

    def _port(self, bridge: Any, want: Port, have: Port | None) -> None:
        if have is None:
            have, row = self._moved(want)
            row = row or self._new_port(want)
            bridge.addvalue("ports", row)
        else:
            row = self._ports[want.name]
        if have is None or have.tag != want.tag:
            row.tag = [want.tag] if want.tag >= 0 else []
        if (have.trunks if have else ()) != want.trunks:
            row.trunks = list(want.trunks)
        if VIF in want.external:  # of what leads out, how it is tagged is the administrator's
            _set(row, have, "vlan_mode", have.mode if have else "", want.mode)
        if have is None and want.fake:
            row.fake_bridge = True
        if want.protected and not (have and have.protected):
            row.protected = True
        for column, before, after in (("bond_mode", have.bond_mode if have else "", want.bond_mode), ("lacp", have.lacp if have else "", want.lacp)):
            _set(row, have, column, before, after)
        for column, was, now in (
            ("bond_updelay", have.updelay if have else 0, want.updelay),
            ("bond_downdelay", have.downdelay if have else 0, want.downdelay),
        ):
            if was != now:
                setattr(row, column, now)
        self._maps(row, have, want)
        self._interfaces(row, have, want)

    def _moved(self, want: Port) -> tuple[Port | None, Any]:
        """A port of ours that comes from another bridge keeps its row."""
        home = self._homes.get(want.name)
        if home is None or want.interfaces[0].type == "internal":
            return None, None
        port = read_port(self._ports[want.name])
        if port.fake != want.fake or not _MARKS & port.external.keys():
            return None, None
        return port, self._ports[want.name]

    def _new_port(self, want: Port) -> Any:
        row = self._made[want.name] = self._txn.insert(self._tables["Port"])
        row.name = want.name
        return row

    def _interfaces(self, port: Any, have: Port | None, want: Port) -> None:
        before = {interface.name: interface for interface in have.interfaces} if have else {}
        rows = {row.name: row for row in port.interfaces} if have else {}
        kept = []
        for interface in want.interfaces:
            there = before.get(interface.name)
            row = rows[interface.name] if there else self._txn.insert(self._tables["Interface"])
            self._interface(row, there, interface)
            kept.append(row)
        if before.keys() != {interface.name for interface in want.interfaces}:
            port.interfaces = kept

    def _interface(self, row: Any, have: Interface | None, want: Interface) -> None:
        if have is None:
            row.name = want.name
        _set(row, have, "type", have.type if have else "", want.type, optional=False)
        if (have.mtu if have else 0) != want.mtu:
            row.mtu_request = [want.mtu] if want.mtu else []
        _set(row, have, "mac", have.mac if have else "", want.mac)
        if want.options and (have is None or have.options != want.options):
            row.options = dict(want.options)
        self._maps(row, have, want)


def _unfit(row: Any, want: Bridge) -> str:
    """Why a bridge cannot take ports of ours as somebody else's; empty: it can."""
    if row is None:
        return f"Open vSwitch has no bridge {want.name}"
    if is_ours(row):
        return f"{want.name} is xenet's own bridge"
    if (row.datapath_type or KERNEL) != want.datapath:
        return f"{want.name} is of the datapath {row.datapath_type or KERNEL}, xenet's switches are of {want.datapath}"
    return ""


def _set(row: Any, have: object, column: str, before: str, after: str, optional: bool = True) -> None:
    """An empty text leaves an optional column empty."""
    if before != after:
        setattr(row, column, ([after] if after else []) if optional and column != "datapath_type" else after)
