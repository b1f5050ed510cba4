"""What a lab consists of, as values: made from three numbers or read from a file; nothing here touches the system.

The file's form (YAML), all of it optional but `hosts`:

    switches: [sw1, sw2]
    hosts:
      host1: {nics: {eth0: sw1, eth1: sw2}, management: 10.0.0.1/24}
    machines:
      router: {switch: sw1, address: 10.0.0.254/24}
    vms:
      vm1: {host: host1, nic: eth0, address: 10.0.0.101/24}

A host's `datapath` is its data plane, where it is not that of all. A NIC's switch is the one its cable goes to; `ports` says what else can be
said of the switch's end, and `boot` what of a VM. A machine knows nothing of VLANs: its port is an access port of VLAN 1, or of the one that its
`vlan` names.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Literal

import msgspec

from xenet.lab.boot import Boot, BootError, VMForm, boot_of
from xenet.lab.ports import PortError, PortForm, SwitchPort, access, check_lags, port_of

NAME = re.compile(r"[a-z][a-z0-9-]*")
DEVICE_NAME_MAX = 15
"""IFNAMSIZ - 1, netdevice(7)."""
SEGMENT = "10.0.0.{}/24"
"""The lab's own addresses: hosts from 1, VMs from 101, the router at 254. They exist in its namespaces only."""
MIB = 1 << 20
Plane = Literal["", "auto", "bridge", "openvswitch"]
MOST_HOSTS, MOST_VMS, MOST_NICS = 99, 150, 32


class TopologyError(Exception):
    """A topology that cannot be built; the text says where and why, in one line."""


class NIC(msgspec.Struct, frozen=True):
    """A host's NIC and the switch its cable goes to."""

    name: str
    switch: str
    mac: str
    port: SwitchPort = SwitchPort()


class Host(msgspec.Struct, frozen=True):
    name: str
    nics: tuple[NIC, ...]
    management: str
    """CIDR; on the first NIC."""
    datapath: Plane = ""
    """Empty: what `lab up` says for all."""


class Machine(msgspec.Struct, frozen=True):
    """A computer that is not of the pool: its eth0 is cabled to a switch and has an address."""

    name: str
    switch: str
    address: str
    mac: str
    port: SwitchPort = access(1)


class VM(msgspec.Struct, frozen=True):
    """A guest to begin with, its VIF 0 on the network of a NIC of the host on which it starts."""

    name: str
    host: str
    nic: str
    address: str
    boot: Boot | None = None
    """Of a virtual machine; None for a namespace."""


class Lab(msgspec.Struct, frozen=True):
    switches: tuple[str, ...]
    hosts: tuple[Host, ...]
    machines: tuple[Machine, ...] = ()
    vms: tuple[VM, ...] = ()

    def host(self, name: str) -> Host:
        """Raises TopologyError when there is none of this name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise TopologyError(f"no host {name}; there are {', '.join(host.name for host in self.hosts)}")

    def ports(self, switch: str) -> dict[str, SwitchPort]:
        """A switch's ports, by their devices."""
        hosts = {port_name(host.name, nic.name): nic.port for host in self.hosts for nic in host.nics if nic.switch == switch}
        return hosts | {port_name(machine.name, "eth0"): machine.port for machine in self.machines if machine.switch == switch}

    def keeps_vlans_apart(self, switch: str) -> bool:
        """Whether a switch must look at tags; where every NIC may send any, it need not."""
        nics = (nic.port for host in self.hosts for nic in host.nics if nic.switch == switch)
        machines = (machine.port for machine in self.machines if machine.switch == switch)
        trunk = SwitchPort()
        return any((port.native, port.tagged) != (trunk.native, trunk.tagged) for port in nics) or any(port != access(1) for port in machines)


def port_name(owner: str, nic: str) -> str:
    """The switch's end of a cable is named after the other end."""
    return f"{owner}-{nic}"


def host_mac(host: int, nic: int) -> str:
    """The MAC of a host's NIC, both counted from 0: locally administered, readable, the same each time."""
    return f"02:00:00:00:{host + 1:02x}:{nic:02x}"


def default_lab(hosts: int, nics: int, vms: int) -> Lab:
    """So many hosts with so many NICs each, all cabled to sw1; the VMs on the network of eth0 of the hosts in turn. Raises TopologyError."""
    for count, least, most, word in ((hosts, 1, MOST_HOSTS, "hosts"), (nics, 1, MOST_NICS, "NICs"), (vms, 0, MOST_VMS, "VMs")):
        if not least <= count <= most:
            raise TopologyError(f"{count} {word}: a lab has {least} to {most}")
    return Lab(
        switches=("sw1",),
        hosts=tuple(
            Host(f"host{h + 1}", tuple(NIC(f"eth{n}", "sw1", host_mac(h, n)) for n in range(nics)), SEGMENT.format(h + 1)) for h in range(hosts)
        ),
        machines=(Machine("router", "sw1", SEGMENT.format(254), _machine_mac(0)),),
        vms=tuple(VM(f"vm{k + 1}", f"host{k % hosts + 1}", "eth0", SEGMENT.format(101 + k)) for k in range(vms)),
    )


def _machine_mac(index: int) -> str:
    return f"02:00:00:ff:00:{index:02x}"


class _HostForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nics: dict[str, str | PortForm]
    management: str = ""
    datapath: Plane = ""


class _MachineForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    switch: str
    address: str
    vlan: int = 1


class _Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hosts: dict[str, _HostForm]
    switches: tuple[str, ...] = ("sw1",)
    machines: dict[str, _MachineForm] = {}
    vms: dict[str, VMForm] = {}


def read_lab(file: Path) -> Lab:
    """The lab that a YAML file describes. Raises TopologyError."""
    try:
        form = msgspec.yaml.decode(file.read_bytes(), type=_Form)
    except OSError as error:
        raise TopologyError(f"{file}: {error.strerror}") from error
    except msgspec.DecodeError as error:  # Also a value of the wrong type, whose path msgspec names.
        raise TopologyError(f"{file}: {' '.join(str(error).split())}") from error
    try:
        return check_lab(_lab(form, file.parent))
    except (TopologyError, PortError) as error:
        raise TopologyError(f"{file}: {error}") from error


def _lab(form: _Form, folder: Path) -> Lab:
    hosts = tuple(_host(index, name, host) for index, (name, host) in enumerate(form.hosts.items()))
    machines = tuple(Machine(name, m.switch, m.address, _machine_mac(i), access(m.vlan)) for i, (name, m) in enumerate(form.machines.items()))
    return Lab(form.switches, hosts, machines, tuple(_vm(name, vm, folder) for name, vm in form.vms.items()))


def _vm(name: str, form: VMForm, folder: Path) -> VM:
    try:
        return VM(name, form.host, form.nic, form.address, boot_of(form, folder))
    except BootError as error:
        raise TopologyError(f"{name}: {error}") from error


def _host(index: int, name: str, form: _HostForm) -> Host:
    forms = {nic: PortForm(cabled) if isinstance(cabled, str) else cabled for nic, cabled in form.nics.items()}
    nics = tuple(NIC(nic, its.switch, host_mac(index, n), port_of(its)) for n, (nic, its) in enumerate(forms.items()))
    return Host(name, nics, form.management or SEGMENT.format(index + 1), form.datapath)


def check_lab(lab: Lab) -> Lab:
    """The same lab, when it can be built. Raises TopologyError."""
    _check_counts(lab)
    _check_names([*lab.switches, *(h.name for h in lab.hosts), *(m.name for m in lab.machines), *(vm.name for vm in lab.vms)])
    for host in lab.hosts:
        _check_host(lab, host)
    for machine in lab.machines:
        _check_switch(lab, machine.name, machine.switch)
        _check_device(port_name(machine.name, "eth0"))
    for switch in lab.switches:
        _check_lags(lab, switch)
    for vm in lab.vms:
        _check_vm(lab, vm)
    _check_addresses({h.name: h.management for h in lab.hosts} | {m.name: m.address for m in lab.machines} | {vm.name: vm.address for vm in lab.vms})
    return lab


def _check_counts(lab: Lab) -> None:
    if not lab.hosts:
        raise TopologyError("a lab has at least one host")
    if len(lab.hosts) > MOST_HOSTS or any(len(host.nics) > MOST_NICS for host in lab.hosts):
        raise TopologyError(f"a lab has at most {MOST_HOSTS} hosts of {MOST_NICS} NICs")


def _check_names(names: list[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise TopologyError(f"{name} is named twice")
        if not NAME.fullmatch(name) or len(name) > DEVICE_NAME_MAX:
            raise TopologyError(f"{name!r} is no name: lower-case letters, digits and hyphens, a letter first, at most {DEVICE_NAME_MAX}")


def _check_host(lab: Lab, host: Host) -> None:
    if not host.nics:
        raise TopologyError(f"{host.name} has no NIC")
    _check_names([nic.name for nic in host.nics])
    for nic in host.nics:
        _check_switch(lab, f"{host.name}/{nic.name}", nic.switch)
        _check_device(port_name(host.name, nic.name))


def _check_switch(lab: Lab, owner: str, switch: str) -> None:
    if switch not in lab.switches:
        raise TopologyError(f"{owner} is cabled to {switch}, which is not among the switches ({', '.join(lab.switches)})")


def _check_lags(lab: Lab, switch: str) -> None:
    """A link's device stands among the switch's own ports."""
    ports = lab.ports(switch)
    try:
        check_lags(ports)
    except PortError as error:
        raise TopologyError(f"{switch}: {error}") from error
    lags = {port.lag for port in ports.values() if port.lag}
    _check_names(sorted(lags))
    for name in lags & {*ports, *lab.switches}:
        raise TopologyError(f"{switch}: {name} is a name that is taken")


def _check_device(name: str) -> None:
    if len(name) > DEVICE_NAME_MAX:
        raise TopologyError(f"the cable's name {name} has more than {DEVICE_NAME_MAX} letters")


def _check_vm(lab: Lab, vm: VM) -> None:
    nics = [nic.name for nic in lab.host(vm.host).nics]
    if vm.nic not in nics:
        raise TopologyError(f"{vm.name} is on {vm.host}/{vm.nic}, but {vm.host} has {', '.join(nics)}")


def _check_addresses(addresses: Mapping[str, str]) -> None:
    """Every one a CIDR, none given twice."""
    for owner, address in addresses.items():
        try:
            IPv4Interface(address)
        except ValueError:
            raise TopologyError(f"{owner}: {address!r} is no address such as 10.0.0.1/24") from None
        if "/" not in address:
            raise TopologyError(f"{owner}: {address} lacks its prefix length, such as {address}/24")
    for address in _twice(addresses.values()):
        raise TopologyError(f"{address} is given to {' and '.join(owner for owner, its in addresses.items() if its == address)}")


def _twice(values: Iterable[str]) -> list[str]:
    return [value for value, times in Counter(values).items() if times > 1]
