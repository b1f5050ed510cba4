"""A tunnelled network's ends: for each peer a port that sends frames to it alone, and no such port passes frames to another one, so the mesh has
no loops (split horizon). What was asked for stands at the bridge, as there may be no peer yet; a port that somebody changed joins nobody. With the
kernel's datapath these ports are on the network's own bridge, with that in userspace on another one beside it (see `hubs`).
"""

import msgspec

from xenet.datapath.openvswitch.rows import HUB, NETWORK, TUNNEL, UPLINK, Bridge, Interface, Port
from xenet.plan.view import BROKEN, TunnelView, UplinkView, end_name


class Asked(msgspec.Struct, frozen=True):
    device: str
    tunnel: TunnelView


def ends_of(uplink: UplinkView) -> list[str]:
    """The names of all that its tunnel has or may have in the database."""
    if uplink.tunnel is None:
        return []
    return [_hub(uplink.device), far_of(uplink.device), *(end_name(uplink.device, peer) for peer in uplink.tunnel.peers)]


def far_of(device: str) -> str:
    """The other end of the pair that a tunnel of the userspace datapath has."""
    return f"{device}-far"


def _hub(device: str) -> str:
    return f"hub{device.removeprefix('tunnel')}"


def hub_of(bridge: Bridge) -> str:
    """The name of the bridge that serves this one's tunnel; empty for one without a tunnel."""
    asked = _asked(bridge)
    return _hub(asked.device) if asked else ""


def tunnel_ports(uplink: UplinkView, tunnel: TunnelView, apart: bool) -> dict[str, Port]:
    """By name; `apart`: those for the peers are on a hub."""
    ports = [_system(uplink.device, uplink.device)] if apart else [_port(uplink.device, tunnel, peer) for peer in tunnel.peers]
    return {port.name: port for port in ports}


def _system(name: str, device: str) -> Port:
    return Port(name, (Interface(name),), external={UPLINK: device})


def hub_row(bridge: Bridge, uplink: UplinkView) -> Bridge:
    """The bridge beside this one, with the tunnel's ports."""
    assert uplink.tunnel
    name, far = _hub(uplink.device), far_of(uplink.device)
    local = Port(name, (Interface(name, "internal"),))
    ports = {local.name: local, far: _system(far, uplink.device), **tunnel_ports(uplink, uplink.tunnel, apart=False)}
    external = {NETWORK: bridge.external[NETWORK], HUB: bridge.name}
    return Bridge(name, ports, external, {"mac-table-size": "10000"}, bridge.datapath)


def tunnel_mark(uplink: UplinkView, tunnel: TunnelView) -> dict[str, str]:
    """What stands at the bridge."""
    return {TUNNEL: msgspec.json.encode(Asked(uplink.device, msgspec.structs.replace(tunnel, peers=()))).decode()}


def _port(device: str, tunnel: TunnelView, peer: str) -> Port:
    options = {"remote_ip": peer, "local_ip": tunnel.local, "key": str(tunnel.key)}
    interface = Interface(end_name(device, peer), tunnel.protocol, options=options)
    return Port(interface.name, (interface,), external={UPLINK: device}, protected=True)


def seen_tunnel(bridge: Bridge, hub: Bridge | None, apart: bool) -> UplinkView | None:
    """None for a bridge without. Its peers are those that a whole port leads to."""
    asked = _asked(bridge)
    if asked is None:
        return None
    ports = [port for port in (hub if apart and hub else bridge).ports.values() if UPLINK in port.external and not port.fake]
    joined = not apart or (hub is not None and hub.external.get(HUB) == bridge.name and asked.device in bridge.ports)
    far = [port for port in ports if apart and port.name == far_of(asked.device)]
    peers = [_peer(asked, port) for port in ports if port not in far]
    if not joined or len(far) != apart:
        peers = [BROKEN]
    return UplinkView(asked.device, tunnel=msgspec.structs.replace(asked.tunnel, peers=tuple(sorted(peers))))


def _asked(bridge: Bridge) -> Asked | None:
    try:
        return msgspec.json.decode(bridge.external.get(TUNNEL, ""), type=Asked)
    except msgspec.DecodeError:
        return None


def _peer(asked: Asked, port: Port) -> str:
    address = port.interfaces[0].options.get("remote_ip", "") if len(port.interfaces) == 1 else ""
    try:
        must = _port(asked.device, asked.tunnel, address)
    except ValueError:
        return BROKEN
    return address if _form(port) == _form(must) else BROKEN


def _form(port: Port) -> tuple[object, ...]:
    """What it must be; its other columns may say more, of others."""
    interface = port.interfaces[0]
    return port.name, port.tag, port.trunks, port.protected, port.external[UPLINK], interface.type, dict(interface.options)
