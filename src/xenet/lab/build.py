"""The lab's hardware: a namespace for every host, switch and machine, and veth pairs as cables between them.

What goes into a namespace is a batch of lines for ip(8) or bridge(8), run inside it. A cable is made in its switch's namespace
with the other end born in its owner's, so no device is ever moved. A switch is a bridge without spanning tree,
snooping, delay or address of its own: frames come out of it only if they went in. It looks at tags only where its ports differ in
their VLANs; an aggregated link is a bond device of the switch. Where the kernel cannot do that, the switch is an Open vSwitch (`vswitch`).
"""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from xenet.guests import namespace
from xenet.guests.namespace import Namespace
from xenet.lab import vswitch
from xenet.lab.mixed import finish_in
from xenet.lab.ports import FIRST_VLAN, LAST_VLAN, SwitchPort
from xenet.lab.run import LabError, Run
from xenet.lab.topology import Host, Lab, Machine, port_name

JUMBO = 9216
"""What a switch passes, as most physical ones do: which frames are too large is the hosts' affair."""


def build(run: Run, lab: Lab) -> None:
    """Every namespace, then every cable. Raises GuestError or LabError; what was made by then stays until the lab is taken down."""
    pids = {name: _place(run, name).pid for name in places(lab)}
    for switch in lab.switches:
        _build_switch(run, lab, switch, pids)
    for machine in lab.machines:
        ip(pids[machine.name], _machine_lines(machine))
    for host in lab.hosts:
        ip(pids[host.name], _host_lines(host))


def places(lab: Lab) -> list[str]:
    """The names of all that has a namespace of the lab's own; guests get theirs from their agent."""
    return [*lab.switches, *(machine.name for machine in lab.machines), *(host.name for host in lab.hosts)]


def _place(run: Run, name: str) -> Namespace:
    directory = run.place(name)
    directory.mkdir(parents=True)
    return namespace.spawn(directory, name)


def inside(pid: int, command: Sequence[str]) -> list[str]:
    """The command, to be run in the network and host name of a namespace."""
    return ["nsenter", "--target", str(pid), "--net", "--uts", "--", *command]


def ip(pid: int, lines: Iterable[str]) -> None:
    """Run lines of ip(8) in a namespace, up to the first that fails. Raises LabError with what ip said of it."""
    _in_batch("ip", pid, lines)


def _in_batch(program: str, pid: int, lines: Iterable[str]) -> None:
    text = "\n".join(lines)
    done = subprocess.run(inside(pid, [program, "-batch", "-"]), input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{program}: {' '.join(done.stderr.split())}")


def _build_switch(run: Run, lab: Lab, switch: str, pids: Mapping[str, int]) -> None:
    """The switch, its cables, and which VLANs each carries. Raises LabError."""
    pid, ports, filtering = pids[switch], lab.ports(switch), lab.keeps_vlans_apart(switch)
    lags = sorted({port.lag for port in ports.values() if port.lag})
    bridged = _make_bridge(pid, switch, filtering, lags)
    cables = _cables(lab, switch)
    masters = {lag: (lag or switch) if bridged else "" for _, _, _, lag in cables}
    ip(pid, [line for owner, nic, mac, lag in cables for line in _cable_lines(owner, nic, mac, masters[lag], pids[owner])])
    if not bridged:
        for owner, nic, _, _ in cables:
            finish_in(pids[owner], [nic])
        vswitch.make(run, switch, ports, filtering)
    elif filtering:
        _in_batch("bridge", pid, vlan_lines(ports))


def _make_bridge(pid: int, switch: str, filtering: bool, lags: Sequence[str]) -> bool:
    """False where the kernel's bridge cannot be such a switch and Open vSwitch can. Raises LabError where neither can."""
    try:
        ip(pid, [*_switch_lines(switch, filtering), *(line for lag in lags for line in _lag_lines(switch, lag))])
    except LabError as error:
        if not vswitch.is_here():
            raise LabError(f"{switch}: {error} (its ports need a kernel with {_needs(filtering, lags)}, or Open vSwitch)") from error
        with suppress(LabError):  # where the bridge itself was what the kernel refused
            ip(pid, [f"link delete dev {switch}"])
        return False
    return True


def _needs(filtering: bool, lags: Sequence[str]) -> str:
    return " and ".join([*(["VLAN filtering in its bridge"] if filtering else []), *(["bonding"] if lags else [])]) or "bridge"


def _switch_lines(switch: str, filtering: bool) -> list[str]:
    vlans = " vlan_filtering 1 vlan_default_pvid 0" if filtering else ""
    return [f"link add name {switch} type bridge stp_state 0 forward_delay 0 mcast_snooping 0{vlans}", *_silent_up(switch)]


def _lag_lines(switch: str, lag: str) -> list[str]:
    """A link of several cables; the other side's LACP says which of them carry it (IEEE 802.1AX, with its fast time-out)."""
    return [
        f"link add name {lag} mtu {JUMBO} type bond mode 802.3ad miimon 100 lacp_rate fast xmit_hash_policy layer3+4",
        f"link set dev {lag} master {switch}",
        *_silent_up(lag),
    ]


def _cables(lab: Lab, switch: str) -> list[tuple[str, str, str, str]]:
    """The owner, its NIC, the NIC's MAC, and the link that it is a part of, if any."""
    cables = [(host.name, nic.name, nic.mac, nic.port.lag) for host in lab.hosts for nic in host.nics if nic.switch == switch]
    return cables + [(machine.name, "eth0", machine.mac, "") for machine in lab.machines if machine.switch == switch]


def _cable_lines(owner: str, nic: str, mac: str, master: str, pid: int) -> list[str]:
    port = port_name(owner, nic)
    return [
        f"link add name {port} mtu {JUMBO} type veth peer name {nic} mtu 1500 address {mac} netns {pid}",
        *([f"link set dev {port} master {master}"] if master else []),
        *_silent_up(port),
    ]


def vlan_lines(ports: Mapping[str, SwitchPort]) -> list[str]:
    """For bridge(8): the VLANs of each port, an aggregated link's once."""
    links = {port.lag or name: port for name, port in ports.items()}
    return [line for name, port in links.items() for line in _port_vlans(name, port)]


def _port_vlans(name: str, port: SwitchPort) -> list[str]:
    native = f"vlan add dev {name} vid {port.native} pvid untagged"
    if port.tagged is None:  # The native one last: the range takes it in.
        return [f"vlan add dev {name} vid {FIRST_VLAN}-{LAST_VLAN}", native]
    return [native, *(f"vlan add dev {name} vid {vlan}" for vlan in port.tagged)]


def _machine_lines(machine: Machine) -> list[str]:
    return [*_silent_up("eth0"), f"address add {machine.address} dev eth0"]


def _host_lines(host: Host) -> list[str]:
    """NICs up as an installed system has them, the first with the address that the agent shall take over."""
    lines = [line for nic in host.nics for line in _silent_up(nic.name)]
    return [*lines, f"address add {host.management} dev {host.nics[0].name}"]


def _silent_up(device: str) -> list[str]:
    """Up, without a link-local address: in one line the kernel would bring it up first and give it one."""
    return [f"link set dev {device} addrgenmode none", f"link set dev {device} up"]
