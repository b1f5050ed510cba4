"""Steps as commands where the switches are Open vSwitch's. What it does not make (devices of VIFs, addresses, routes) is said as on a bridge.

Source: ovs-vsctl(8), ovs-vswitchd.conf.db(5). xenet writes a batch as one transaction; each of these is one of its own.
"""

from collections.abc import Iterator

from xenet.plan import steps as s
from xenet.plan.ethtool import told
from xenet.plan.limit_commands import far_of, leg_commands, limit_commands, silence
from xenet.plan.view import BondView, LockView, MirrorView, PortView, SwitchView, TunnelView, UplinkView, end_name


def vswitch_command(step: s.Step, userspace: bool) -> str:
    """`userspace`: ovs-vswitchd moves the frames, no module of the kernel's."""
    return " && ".join(_commands(step, userspace))


def _commands(step: s.Step, userspace: bool) -> Iterator[str]:
    match step:
        case s.CreateSwitch():
            yield _added(step.switch, userspace)
            yield from _said(step.switch, fresh=True)
            yield from told(step.switch.bridge, step.switch.ethtool, {})
        case s.SetSwitch():
            yield from _said(step.switch, fresh=False)
            yield from _taught(step)
            yield from told(step.switch.bridge, step.switch.ethtool, step.ethtool)
        case s.DeleteSwitch():
            yield f"ovs-vsctl --if-exists del-br {step.bridge}"
        case s.AttachUplink():
            yield from _attached(step, userspace)
            yield from (text for nic, want in step.uplink.ethtool.items() for text in told(nic, want, step.ethtool.get(nic)))
        case s.DetachUplink():
            yield from _detached(step, userspace)
        case s.CreatePort():
            yield from _created(step, userspace)
        case s.SetPort():
            yield from _changed(step, userspace)
        case s.RemovePort():
            yield f"ovs-vsctl del-port {step.bridge} {step.port.device}"
            yield f"ip link del {step.port.device}"
        case s.SetMirrors():
            yield from _mirrored(step)
        case _:
            yield step.text


# --- switches ----------------------------------------------------------------------------------------


def _added(switch: SwitchView, userspace: bool) -> str:
    if switch.uplink and switch.uplink.vlan:
        vlan = switch.uplink.vlan
        return f"ovs-vsctl add-br {switch.bridge} $(ovs-vsctl port-to-br {vlan.parent}) {vlan.tag}"
    kind = f" -- set bridge {switch.bridge} datapath_type=netdev" if userspace else ""
    return f"ovs-vsctl add-br {switch.bridge}{kind}"


def _taught(step: s.SetSwitch) -> Iterator[str]:
    if not step.learning:
        yield f"ovs-ofctl add-flow $(ovs-vsctl br-to-parent {step.switch.bridge}) priority=0,actions=normal"


def _said(switch: SwitchView, fresh: bool) -> Iterator[str]:
    """All that a switch is told, since one that is as it shall be takes no harm; to one that is fresh only what is not usual."""
    of_vlan = switch.uplink is not None and switch.uplink.vlan is not None
    parts = [f"set interface {switch.bridge} mtu_request={switch.mtu}" + (f' mac=\\"{switch.mac}\\"' if switch.mac and of_vlan else "")]
    if not of_vlan:
        mac = f' other_config:hwaddr=\\"{switch.mac}\\"' if switch.mac else ""
        mode = f" fail_mode={switch.fail_mode or '[]'}" if switch.fail_mode or not fresh else ""
        band = f" other_config:disable-in-band={switch.disable_in_band}" if switch.disable_in_band else ""
        snoops = f"{switch.snooping}".lower()
        heard = f" mcast_snooping_enable={snoops} other_config:mcast-snooping-disable-flood-unregistered={snoops}"
        columns = f"{mac}{mode}{band}{heard if switch.snooping or not fresh else ''}"
        parts += [f"set bridge {switch.bridge}{columns}"] if columns else []
        parts += [f"remove bridge {switch.bridge} other_config disable-in-band"] if not band and not fresh else []
    yield f"ovs-vsctl {' -- '.join(parts)}"
    yield f"ip link set {switch.bridge} {'up' if switch.up else 'down'}"


# --- what they lead out by ---------------------------------------------------------------------------


def _attached(step: s.AttachUplink, userspace: bool) -> Iterator[str]:
    uplink, bridge = step.uplink, step.bridge
    if uplink.vlan:
        yield f"ovs-vsctl set port {bridge} tag={uplink.vlan.tag}"
    elif uplink.tunnel:
        yield from _meshed(bridge, uplink, uplink.tunnel, userspace)
    elif uplink.bond:
        for slave in uplink.bond.slaves:
            yield from _ready(slave, uplink.mtu, userspace and step.bond is None)
        yield _bonded(bridge, uplink.device, uplink.bond, step.bond is not None)
    else:
        yield f"ovs-vsctl --may-exist add-port {bridge} {uplink.device}"
        yield from _ready(uplink.device, uplink.mtu, userspace)


def _ready(nic: str, mtu: int, silent: bool) -> Iterator[str]:
    yield f"ip link set {nic} mtu {mtu} up"
    if silent:
        yield from silence(nic)


def _bonded(bridge: str, device: str, bond: BondView, there: bool) -> str:
    mode = bond.mode if bond.mode != "lacp" else "balance-tcp" if bond.hashing == "tcpudp_ports" else "balance-slb"
    delays = f"bond_updelay={bond.updelay} bond_downdelay={bond.downdelay}"
    said = f"bond_mode={mode} lacp={'active' if bond.mode == 'lacp' else 'off'} {delays}"
    again = f"del-port {bridge} {device} -- " if there else ""
    return f"ovs-vsctl {again}add-bond {bridge} {device} {' '.join(bond.slaves)} {said}"


def _meshed(bridge: str, uplink: UplinkView, tunnel: TunnelView, userspace: bool) -> Iterator[str]:
    home = bridge
    if userspace:
        near, far, home = uplink.device, f"{uplink.device}-far", _hub(uplink.device)
        yield f"ip link add {near} mtu {uplink.mtu} up type veth peer name {far}"
        yield from (text for end in (near, far) for text in silence(end))
        yield f"ethtool -K {near} tx off sg off tso off gso off"
        made = f"--may-exist add-br {home} -- set bridge {home} datapath_type=netdev"
        yield f"ovs-vsctl --may-exist add-port {bridge} {near} -- {made} -- --may-exist add-port {home} {far}"
    for peer in tunnel.peers:
        end = end_name(uplink.device, peer)
        options = f"options:local_ip={tunnel.local} options:remote_ip={peer} options:key={tunnel.key}"
        port = f"--may-exist add-port {home} {end} -- set port {end} protected=true"
        yield f"ovs-vsctl {port} -- set interface {end} type={tunnel.protocol} {options}"
    if not userspace and not tunnel.peers:
        yield f"ovs-vsctl set bridge {bridge} external_ids:xenet-tunnel=..."


def _hub(device: str) -> str:
    return f"hub{device.removeprefix('tunnel')}"


def _detached(step: s.DetachUplink, userspace: bool) -> Iterator[str]:
    device, bridge = step.device, step.bridge
    if device.startswith("tunnel"):
        if userspace:
            yield f"ovs-vsctl --if-exists del-br {_hub(device)} -- del-port {bridge} {device}"
            yield f"ip link del {device}"
        else:
            ends = "".join(f" -- del-port {bridge} {end}" for end in step.ends or ())
            yield f"ovs-vsctl remove bridge {bridge} external_ids xenet-tunnel{ends}"
    elif step.made and not step.slaves:
        yield f"ovs-vsctl clear port {bridge} tag"
    else:
        yield f"ovs-vsctl del-port {bridge} {device}"


# --- VIFs --------------------------------------------------------------------------------------------


def _created(step: s.CreatePort, userspace: bool) -> Iterator[str]:
    port = step.port
    if port.kind == "tap":
        yield f"ip tuntap add {port.device} mode tap"
        yield f"ip link set {port.device} mtu {port.mtu}"
    else:
        nic = port.device if port.moving else f"eth{port.index}"
        yield f"ip link add {port.device} mtu {port.mtu} type veth peer name {nic} address {port.mac} netns {port.vm}"
    yield from told(port.device, port.ethtool, {})
    if userspace:
        yield from silence(port.device)
    yield from (leg_commands if userspace else limit_commands)(port, 0)
    yield _put_in(step.bridge, port, userspace)
    yield from _lock(step.bridge, port, None)
    yield f"ip link set {port.device} {'up' if port.up else 'down'}"


def _put_in(bridge: str, port: PortView, userspace: bool) -> str:
    trunks = f" trunks={','.join(map(str, port.trunks))}" if port.trunks else ""
    if not (port.rate and userspace):
        return f"ovs-vsctl add-port {bridge} {port.device}{trunks}"
    interface = f"--id=@leg create interface name={far_of(port)}"
    home = f"$(ovs-vsctl br-to-parent {bridge})"
    tag = f"tag=$(ovs-vsctl br-to-vlan {bridge})"
    return f"ovs-vsctl -- {interface} -- --id=@port create port name={port.device} interfaces=@leg {tag}{trunks} -- add bridge {home} ports @port"


def _changed(step: s.SetPort, userspace: bool) -> Iterator[str]:
    """Into the switch it comes anew, since who knows where it is; with or without a leg, where that is what changes."""
    port = step.port
    yield from _lock(step.bridge, port, step.lock)
    yield from (leg_commands if userspace else limit_commands)(port, step.rate)
    yield f"ovs-vsctl --if-exists del-port {port.device} && {_put_in(step.bridge, port, userspace)}"
    yield from told(port.device, port.ethtool, step.ethtool)
    yield f"ip link set {port.device} mtu {port.mtu} {'up' if port.up else 'down'}"


def _lock(bridge: str, port: PortView, now: LockView | None) -> Iterator[str]:
    """The flows are dozens: said is whose frames they let pass."""
    home = f"$(ovs-vsctl br-to-parent {bridge})"
    if port.lock and port.lock != now:
        tags = (f"dl_vlan={tag}" for tag in port.lock.tags)
        who = " ".join((port.mac, *port.lock.ipv4, *port.lock.ipv6, *tags))
        yield f"ovs-ofctl --bundle add-flows {home} '... in_port={port.device} from {who} ...'"
    elif now and not port.lock:
        yield f"ovs-ofctl del-flows {home} in_port={port.device}"


def _mirrored(step: s.SetMirrors) -> Iterator[str]:
    gone = [mirror for mirror in step.now if mirror not in step.mirrors]
    come = [mirror for mirror in step.mirrors if mirror not in step.now]
    yield from (_mirror_gone(step.bridge, mirror) for mirror in gone)
    yield from (_mirror(step.bridge, mirror) for mirror in come)
    if not gone and not come:
        yield "ovs-vsctl list mirror"


def _mirror(bridge: str, mirror: MirrorView) -> str:
    """A row of the table Mirror."""
    sources = [f"--id=@from{number} get port {source}" for number, source in enumerate(mirror.sources)]
    these = ",".join(f"@from{number}" for number in range(len(sources)))
    picked = [*(["select_all=true", f"select_vlan=$(ovs-vsctl br-to-vlan {bridge})"] if mirror.everything else [])]
    picked += [f"select_src_port={these}", f"select_dst_port={these}"] if sources else []
    row = f"--id=@mirror create mirror name=xenet-{mirror.target} output_port=@to {' '.join(picked)}"
    added = f"add bridge $(ovs-vsctl br-to-parent {bridge}) mirrors @mirror"
    return f"ovs-vsctl {' '.join(f'-- {part}' for part in (f'--id=@to get port {mirror.target}', *sources, row, added))}"


def _mirror_gone(bridge: str, mirror: MirrorView) -> str:
    got = f"--id=@mirror get mirror xenet-{mirror.target or '...'}"
    return f"ovs-vsctl -- {got} -- remove bridge $(ovs-vsctl br-to-parent {bridge}) mirrors @mirror"
