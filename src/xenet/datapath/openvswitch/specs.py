"""What Open vSwitch's database must say of our switches, as values, and the switches that such values describe.

A network on a NIC or on a bond is a bridge; a VLAN's is a fake bridge: an internal port with the tag on the bridge of what carries it, and so is
each of its VIFs. Rows of ours say so in their external_ids by keys of their own (`xenet-*`), beside those that XenServer writes.
Source: ovs-vswitchd.conf.db(5); for fake bridges ovs-vsctl(8).
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from xenet.datapath.openvswitch.mesh import hub_of, hub_row, seen_tunnel, tunnel_mark, tunnel_ports
from xenet.datapath.openvswitch.rows import BOND, HUB, LOCK, MIRROR, NETWORK, TRUNKS, UPLINK, VIF, Bridge, Interface, Mirror, Port
from xenet.model.guests import PortKind
from xenet.plan.view import BondView, LockView, MirrorView, PortView, SwitchView, UplinkView, VLANView

UNHEARD, FLOOD, REPORTS = "mcast-snooping-disable-flood-unregistered", "mcast-snooping-flood", "mcast-snooping-flood-reports"
"""Of a bridge that snoops: what nobody has asked for goes nowhere. Of a port of it: all multicast goes there; what guests ask for, too."""
USERSPACE, KERNEL = "netdev", "system"
"""Datapath types. In the first one, the way of a port's frames to a queue is another (see `legs`)."""
_IN_BAND: dict[str, Literal["", "true", "false"]] = {"true": "true", "false": "false"}
ALONE = (0,)
"""The trunks of a port that has frames without a tag alone."""
_TAGS = re.compile(r"\d{1,4}(,\d{1,4})*")
_DEVICE = re.compile(r"(vif|tap)\d+\.(\d+)\Z")


# --- from switches to rows -------------------------------------------------------------------------


def bridges_of(switches: Mapping[str, SwitchView], datapath: str) -> dict[str, Bridge]:
    """The rows for these switches. A VLAN whose carrier is not there stands alone, and so is seen to have no uplink."""
    lodged = {name: _lodgings(switch, datapath) for name, switch in switches.items() if switch.foreign}
    switches = {name: switch for name, switch in switches.items() if not switch.foreign}
    carriers = {switch.uplink.device: name for name, switch in switches.items() if switch.uplink and not switch.uplink.vlan}
    homes = {name: carriers.get(switch.uplink.vlan.parent, name) for name, switch in switches.items() if switch.uplink and switch.uplink.vlan}
    found = {name: _bridge(switch, datapath) for name, switch in switches.items() if homes.get(name, name) == name}
    for name, home in homes.items():
        if home != name:
            ports = {**found[home].ports, **_fake(switches[name], switches[home], datapath == USERSPACE)}
            mirrors = {**found[home].mirrors, **_mirrors(switches[name], _tag(switches[name]))}
            found[home] = msgspec.structs.replace(found[home], ports={name: _apart(port) for name, port in ports.items()}, mirrors=mirrors)
    hubs = [
        hub_row(found[name], switch.uplink) for name, switch in switches.items() if switch.uplink and switch.uplink.tunnel and datapath == USERSPACE
    ]
    return found | lodged | {hub.name: hub for hub in hubs}


def _lodgings(switch: SwitchView, datapath: str) -> Bridge:
    ports = {name: _vif(port, "", datapath == USERSPACE) for name, port in switch.ports.items()}
    return Bridge(switch.bridge, ports, datapath=datapath, foreign=True)


def _apart(port: Port) -> Port:
    """A VIF of the untagged network, beside VLANs that are networks of their own: their frames are none of its, unless it is a trunk for them."""
    plain = VIF in port.external and port.tag < 0 and not port.trunks
    return msgspec.structs.replace(port, trunks=ALONE) if plain else port


def _bridge(switch: SwitchView, datapath: str) -> Bridge:
    local = Port(switch.bridge, (Interface(switch.bridge, "internal", switch.mtu),), other=_flooded(switch, FLOOD))
    ports = {local.name: local, **{name: _vif(port, switch.network, datapath == USERSPACE) for name, port in switch.ports.items()}}
    external = {NETWORK: switch.network, "xs-network-uuids": switch.network, "network-uuids": switch.network}
    if switch.uplink and switch.uplink.tunnel:
        ports |= tunnel_ports(switch.uplink, switch.uplink.tunnel, datapath == USERSPACE)
        external |= tunnel_mark(switch.uplink, switch.uplink.tunnel)
    elif switch.uplink and not switch.uplink.vlan:
        uplink = _uplink(switch.uplink)
        ports[uplink.name] = msgspec.structs.replace(uplink, other={**uplink.other, **_flooded(switch, FLOOD, REPORTS)})
    other = {"mac-table-size": "10000", **({"hwaddr": switch.mac} if switch.mac else {})}
    if switch.disable_in_band:
        other["disable-in-band"] = switch.disable_in_band
    other |= _flooded(switch, UNHEARD)
    return Bridge(switch.bridge, ports, external, other, datapath, switch.fail_mode, switch.snooping, _mirrors(switch, 0))


def _tag(switch: SwitchView) -> int:
    return switch.uplink.vlan.tag if switch.uplink and switch.uplink.vlan else 0


def _mirrors(switch: SwitchView, tag: int) -> dict[str, Mirror]:
    """Of ports that are there. A bridge has the frames of its VLANs as well: all of a network's are those with its tag."""
    found = {}
    for view in switch.mirrors:
        if view.target in switch.ports:
            sources = tuple(device for device in view.sources if device in switch.ports)
            vlans = (tag,) if view.everything else ()
            found[f"xenet-{view.target}"] = Mirror(view.target, view.everything, sources, sources, vlans, external={MIRROR: switch.bridge})
    return found


def _flooded(switch: SwitchView, *keys: str) -> dict[str, str]:
    """The host and who is outside hear all, as there is nobody who would ask them again and again what they want to hear."""
    return dict.fromkeys(keys, "true") if switch.snooping else {}


def _fake(switch: SwitchView, lower: SwitchView, legs: bool) -> dict[str, Port]:
    assert switch.uplink and switch.uplink.vlan
    tag, networks = switch.uplink.vlan.tag, f"{switch.network};{lower.network}"
    said = {f"fake-bridge-{key}": networks for key in ("xs-network-uuids", "network-uuids")}
    local = Interface(switch.bridge, "internal", switch.mtu, switch.mac)
    marks = {NETWORK: switch.network, UPLINK: switch.uplink.device, **said}
    port = Port(switch.bridge, (local,), tag, True, external=marks, other=_flooded(lower, FLOOD))
    return {port.name: port, **{name: _vif(view, switch.network, legs, tag) for name, view in switch.ports.items()}}


def _vif(port: PortView, network: str, legs: bool, tag: int = -1) -> Port:
    said = {
        "xs-vif-uuid": port.vif,
        "xs-vm-uuid": port.vm,
        **({"xs-network-uuid": network} if network else {}),
        "attached-mac": port.mac,
        "iface-id": port.vif,
        "vm-id": port.vm,
        "iface-status": "active",
    }
    device = leg_of(port.device) if port.rate and legs else port.device
    lock = {LOCK: msgspec.json.encode(port.lock).decode()} if port.lock else {}
    trunks = tuple(vlan for vlan in port.trunks if vlan >= 0) if tag < 0 else ()
    asked = {TRUNKS: ",".join(map(str, trunks))} if trunks else {}
    return Port(port.device, (Interface(device, external=said),), tag, trunks=trunks, external={VIF: port.vif, **lock, **asked})


def leg_of(device: str) -> str:
    """What is the port of the switch in place of a limited one: the far end of a pair whose near end holds the queue."""
    return f"lim{device[3:]}"


def _uplink(uplink: UplinkView) -> Port:
    if uplink.bond is None:
        return Port(uplink.device, (Interface(uplink.device),), external={UPLINK: uplink.device})
    bond = uplink.bond
    key = {"lacp-aggregation-key": str(bond.lacp_key)} if bond.lacp_key else {}
    other = {"bond-detect-mode": "carrier", "bond-miimon-interval": str(bond.miimon), "bond-rebalance-interval": str(bond.rebalance)}
    if bond.mode == "lacp":
        other |= {"lacp-time": bond.lacp_time, "lacp-fallback-ab": "true" if bond.lacp_fallback else "false"}
    if bond.primary:
        other["bond-primary"] = bond.primary
    return Port(
        uplink.device,
        tuple(Interface(slave, other=key) for slave in bond.slaves),
        external={UPLINK: uplink.device, BOND: msgspec.json.encode(bond).decode()},
        other=other,
        bond_mode=_bond_mode(bond),
        lacp="active" if bond.mode == "lacp" else "off",
        updelay=bond.updelay,
        downdelay=bond.downdelay,
    )


def _bond_mode(bond: BondView) -> str:
    if bond.mode == "lacp":
        return "balance-tcp" if bond.hashing == "tcpudp_ports" else "balance-slb"
    return bond.mode


# --- from rows to switches -------------------------------------------------------------------------


def switches_of(bridges: Mapping[str, Bridge]) -> dict[str, SwitchView]:
    """The switches that these rows describe: what is no row of ours is left out. MACs and MTUs are those that were asked for."""
    found: dict[str, SwitchView] = {}
    for bridge in bridges.values():
        if bridge.foreign:
            if ports := _seen_ports(bridge, -1):
                found[bridge.name] = SwitchView(bridge.name, "", ports=ports, foreign=True)
        elif bridge.external.get(NETWORK) and HUB not in bridge.external:
            found[bridge.name] = _switch(bridge, bridges)
            fakes = [port for port in bridge.ports.values() if port.fake and port.external.get(NETWORK)]
            found |= {fake.name: _fake_switch(bridge, fake) for fake in fakes}
    return found


def _switch(bridge: Bridge, bridges: Mapping[str, Bridge]) -> SwitchView:
    local = bridge.ports.get(bridge.name)
    uplink = next((port for port in bridge.ports.values() if port.external.get(UPLINK) and not port.fake), None)
    return SwitchView(
        bridge.name,
        bridge.external[NETWORK],
        bridge.other.get("hwaddr", ""),
        local.interfaces[0].mtu if local else 0,
        uplink=seen_tunnel(bridge, bridges.get(hub_of(bridge)), bridge.datapath == USERSPACE) or (_seen_uplink(uplink) if uplink else None),
        ports=_seen_ports(bridge, -1),
        fail_mode="secure" if bridge.fail_mode == "secure" else "",
        disable_in_band=_IN_BAND.get(bridge.other.get("disable-in-band", ""), ""),
        snooping=bridge.snooping and bridge.other.get(UNHEARD) == "true",
        mirrors=_seen_mirrors(bridge, bridge.name, 0),
    )


def _fake_switch(bridge: Bridge, fake: Port) -> SwitchView:
    carrier = next((port.name for port in bridge.ports.values() if port.external.get(UPLINK) and not port.fake), "")
    local = fake.interfaces[0]
    uplink = UplinkView(fake.external.get(UPLINK, ""), local.mtu, vlan=VLANView(carrier, fake.tag))
    mirrors = _seen_mirrors(bridge, fake.name, fake.tag)
    return SwitchView(fake.name, fake.external[NETWORK], local.mac, local.mtu, uplink=uplink, ports=_seen_ports(bridge, fake.tag), mirrors=mirrors)


def _seen_mirrors(bridge: Bridge, switch: str, tag: int) -> tuple[MirrorView, ...]:
    its = {name: mirror for name, mirror in bridge.mirrors.items() if mirror.external[MIRROR] == switch}
    return tuple(sorted(_seen_mirror(name, mirror, tag) for name, mirror in its.items()))


def _seen_mirror(name: str, mirror: Mirror, tag: int) -> MirrorView:
    vlans = (tag,) if mirror.everything else ()
    whole = mirror.sent == mirror.heard and mirror.vlans == vlans and not mirror.elsewhere and name == f"xenet-{mirror.output}"
    return MirrorView(mirror.output, mirror.everything, mirror.sent, whole)


def _seen_uplink(port: Port) -> UplinkView | None:
    if BOND not in port.external:
        return UplinkView(port.name)
    return UplinkView(port.name, bond=_seen_bond(port, msgspec.json.decode(port.external[BOND], type=BondView)))


def _seen_bond(port: Port, asked: BondView) -> BondView:
    """What was asked for, in the columns' words where there are columns for it."""
    other, lacp = port.other, port.lacp == "active"
    seen: dict[str, Any] = {
        "slaves": tuple(sorted(interface.name for interface in port.interfaces)),
        "mode": "lacp" if lacp else port.bond_mode,
        "primary": other.get("bond-primary", ""),
        "miimon": int(other.get("bond-miimon-interval", 0)),
        "downdelay": port.downdelay,
        "updelay": port.updelay,
        "rebalance": int(other.get("bond-rebalance-interval", 0)),
    }
    if lacp:
        key = port.interfaces[0].other.get("lacp-aggregation-key", "0") if port.interfaces else "0"
        seen["hashing"] = "tcpudp_ports" if port.bond_mode == "balance-tcp" else "src_mac"
        seen |= {"lacp_time": other.get("lacp-time", ""), "lacp_key": int(key), "lacp_fallback": other.get("lacp-fallback-ab") == "true"}
    return msgspec.structs.replace(asked, **seen)


def _seen_ports(bridge: Bridge, tag: int) -> dict[str, PortView]:
    apart = not bridge.foreign and any(port.fake and port.external.get(NETWORK) for port in bridge.ports.values())
    ports = (_seen_port(port, apart) for port in bridge.ports.values() if port.tag == tag and VIF in port.external)
    return {port.device: port for port in ports if port}


def _seen_trunks(port: Port, apart: bool) -> tuple[int, ...]:
    """What was asked for, as long as the columns say it. `apart`: beside VLANs that are networks of their own."""
    asked = port.external.get(TRUNKS, "")
    tags = tuple(int(tag) for tag in asked.split(",")) if _TAGS.fullmatch(asked) else ()
    if not port.mode and port.trunks == (tags or (ALONE if apart and port.tag < 0 else ())):
        return tags
    return (-1, *port.trunks)


def _seen_port(port: Port, apart: bool) -> PortView | None:
    named, said = _DEVICE.match(port.name), port.interfaces[0].external if port.interfaces else {}
    if named is None or not said.keys() >= {"xs-vm-uuid", "attached-mac"}:
        return None
    kind: PortKind = "tap" if named[1] == "tap" else "namespace"
    limited = -1 if port.interfaces[0].name != port.name else 0  # how much, the kernel knows
    view = PortView(port.name, port.external[VIF], said["xs-vm-uuid"], int(named[2]), said["attached-mac"], kind=kind, rate=limited)
    view = msgspec.structs.replace(view, trunks=_seen_trunks(port, apart))
    return msgspec.structs.replace(view, lock=_seen_lock(port.external[LOCK])) if LOCK in port.external else view


def _seen_lock(text: str) -> LockView:
    """Nothing is allowed by what cannot be read."""
    try:
        return msgspec.structs.replace(msgspec.json.decode(text, type=LockView), whole=True)
    except msgspec.DecodeError:
        return LockView(whole=False)
