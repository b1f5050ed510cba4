"""The lab's hardware: a namespace for every host, switch and machine, and veth pairs as cables between them.

What goes into a namespace is one batch of lines for ip(8), run inside it. A cable is made in its switch's namespace
with the other end born in its owner's, so no device is ever moved. A switch is a bridge without spanning tree,
snooping, delay or address of its own: frames come out of it only if they went in.
"""

import subprocess
from collections.abc import Iterable, Mapping, Sequence

from xenet.guests import namespace
from xenet.guests.namespace import Namespace
from xenet.lab.run import LabError, Run
from xenet.lab.topology import Host, Lab, Machine, port_name


def build(run: Run, lab: Lab) -> None:
    """Every namespace, then every cable. Raises GuestError or LabError; what was made by then stays until the lab is taken down."""
    pids = {name: _place(run, name).pid for name in places(lab)}
    for switch in lab.switches:
        ip(pids[switch], switch_lines(lab, switch, pids))
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
    text = "\n".join(lines)
    done = subprocess.run(inside(pid, ["ip", "-batch", "-"]), input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"ip: {' '.join(done.stderr.split())}")


def switch_lines(lab: Lab, switch: str, pids: Mapping[str, int]) -> list[str]:
    """The switch and all its cables."""
    bridge = [
        f"link add name {switch} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        *_silent_up(switch),
    ]
    cables = [(host.name, nic.name, nic.mac) for host in lab.hosts for nic in host.nics if nic.switch == switch]
    cables += [(machine.name, "eth0", machine.mac) for machine in lab.machines if machine.switch == switch]
    return bridge + [line for owner, nic, mac in cables for line in _cable_lines(switch, owner, nic, mac, pids[owner])]


def _cable_lines(switch: str, owner: str, nic: str, mac: str, pid: int) -> list[str]:
    port = port_name(owner, nic)
    return [
        f"link add name {port} type veth peer name {nic} address {mac} netns {pid}",
        f"link set dev {port} master {switch}",
        *_silent_up(port),
    ]


def _machine_lines(machine: Machine) -> list[str]:
    return [*_silent_up("eth0"), f"address add {machine.address} dev eth0"]


def _host_lines(host: Host) -> list[str]:
    """NICs up as an installed system has them, the first with the address that the agent shall take over."""
    lines = [line for nic in host.nics for line in _silent_up(nic.name)]
    return [*lines, f"address add {host.management} dev {host.nics[0].name}"]


def _silent_up(device: str) -> list[str]:
    """Up, without a link-local address: in one line the kernel would bring it up first and give it one."""
    return [f"link set dev {device} addrgenmode none", f"link set dev {device} up"]
