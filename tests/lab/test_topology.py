"""What a lab consists of: from numbers, from a file, and what is refused."""

from pathlib import Path

import pytest

from xenet.lab.ports import SwitchPort
from xenet.lab.topology import NIC, VM, Host, Lab, Machine, TopologyError, check_lab, default_lab, read_lab

WHOLE = """
switches: [sw1, sw2]
hosts:
  host1: {nics: {eth0: sw1, eth1: sw2}, management: 10.0.0.77/24}
  host2: {nics: {eth0: sw1}, datapath: openvswitch}
machines:
  router: {switch: sw2, address: 10.0.0.254/24}
vms:
  web: {host: host1, nic: eth1, address: 10.0.0.101/24}
  db: {host: host2, address: 10.0.0.102/24}
"""


def test_the_default_lab_is_as_the_manual_says() -> None:
    lab = default_lab(2, 3, 4)
    assert [host.name for host in lab.hosts] == ["host1", "host2"]
    assert [host.management for host in lab.hosts] == ["10.0.0.1/24", "10.0.0.2/24"]
    assert {(nic.name, nic.switch) for host in lab.hosts for nic in host.nics} == {("eth0", "sw1"), ("eth1", "sw1"), ("eth2", "sw1")}
    assert lab.machines == (Machine("router", "sw1", "10.0.0.254/24", "02:00:00:ff:00:00"),)
    assert [(vm.name, vm.host, vm.address) for vm in lab.vms] == [
        ("vm1", "host1", "10.0.0.101/24"),
        ("vm2", "host2", "10.0.0.102/24"),
        ("vm3", "host1", "10.0.0.103/24"),
        ("vm4", "host2", "10.0.0.104/24"),
    ]


@pytest.mark.parametrize("size", [(1, 1, 0), (2, 3, 4), (99, 32, 150)])
def test_every_default_lab_can_be_built(size: tuple[int, int, int]) -> None:
    lab = default_lab(*size)
    assert check_lab(lab) is lab
    macs = [nic.mac for host in lab.hosts for nic in host.nics] + [machine.mac for machine in lab.machines]
    assert len(set(macs)) == len(macs)
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs), "locally administered, of one machine (IEEE 802)"


@pytest.mark.parametrize("size", [(0, 1, 1), (100, 1, 1), (1, 0, 1), (1, 33, 1), (1, 1, -1), (1, 1, 151)])
def test_sizes_that_do_not_fit_are_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(TopologyError, match="a lab has"):
        default_lab(*size)


def test_a_file_says_it_all(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(WHOLE)
    assert read_lab(file) == Lab(
        switches=("sw1", "sw2"),
        hosts=(
            Host("host1", (NIC("eth0", "sw1", "02:00:00:00:01:00"), NIC("eth1", "sw2", "02:00:00:00:01:01")), "10.0.0.77/24"),
            Host("host2", (NIC("eth0", "sw1", "02:00:00:00:02:00"),), "10.0.0.2/24", "openvswitch"),
        ),
        machines=(Machine("router", "sw2", "10.0.0.254/24", "02:00:00:ff:00:00"),),
        vms=(VM("web", "host1", "eth1", "10.0.0.101/24"), VM("db", "host2", "eth0", "10.0.0.102/24")),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts: {}", "at least one host"),
        ("hosts: {host1: {nics: {eth0: sw1}, datapath: dpdk}}", "Invalid enum value 'dpdk' - at `$.hosts[...].datapath`"),
        ("hosts: {host1: {nics: {}}}", "host1 has no NIC"),
        ("hosts: {host1: {nics: {eth0: sw9}}}", "host1/eth0 is cabled to sw9, which is not among the switches (sw1)"),
        ("hosts: {sw1: {nics: {eth0: sw1}}}", "sw1 is named twice"),
        ("hosts: {Host: {nics: {eth0: sw1}}}", "'Host' is no name"),
        ("hosts: {abcdefghijklmnop: {nics: {eth0: sw1}}}", "is no name"),
        ("hosts: {abcdefghijkl: {nics: {eth0: sw1}}}", "the cable's name abcdefghijkl-eth0"),
        ("hosts: {host1: {nics: {eth0: sw1}, management: 10.0.0.1}}", "10.0.0.1 lacks its prefix length"),
        ("hosts: {host1: {nics: {eth0: sw1}, management: ten}}", "'ten' is no address"),
        ("hosts: {host1: {nics: {eth0: sw1}}}\nvms: {vm1: {host: host2, address: 10.0.0.9/24}}", "no host host2; there are host1"),
        ("hosts: {host1: {nics: {eth0: sw1}}}\nvms: {vm1: {host: host1, nic: eth7, address: 10.0.0.9/24}}", "vm1 is on host1/eth7"),
        ("hosts: {host1: {nics: {eth0: sw1}}}\nvms: {vm1: {host: host1, address: 10.0.0.1/24}}", "10.0.0.1/24 is given to host1 and vm1"),
        ("hosts: {host1: {nics: {eth0: sw1}}}\nmachines: {nas: {switch: sw2, address: 10.0.0.9/24}}", "nas is cabled to sw2"),
        ("hosts: {host1: {nics: {eth0: sw1}}}\ncables: 5", "unknown field `cables`"),
        ("hosts: {host1: {nics: [eth0]}}", "Expected `object`, got `array`"),
        ("hosts: {host1: {nics: [eth0}}", "parsing a flow sequence"),
        ("switches: [sw1]", "missing required field `hosts`"),
    ],
)
def test_a_file_that_cannot_be_built_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(text)
    with pytest.raises(TopologyError) as refused:
        read_lab(file)
    line = str(refused.value)
    assert line.startswith(f"{file}: ")
    assert said in line
    assert "\n" not in line


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="No such file"):
        read_lab(tmp_path / "none.yaml")


def test_ports_are_as_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("""
hosts:
  host1: {nics: {eth0: sw1, eth1: {switch: sw1, access: 10}, eth2: {switch: sw1, native: 5, vlans: [30, 20, 5]}, eth3: {switch: sw1, lag: l1}}}
machines:
  nas: {switch: sw1, address: 10.0.0.9/24, vlan: 20}
""")
    lab = read_lab(file)
    assert lab.ports("sw1") == {
        "host1-eth0": SwitchPort(1, None),
        "host1-eth1": SwitchPort(10, ()),
        "host1-eth2": SwitchPort(5, (20, 30)),
        "host1-eth3": SwitchPort(1, None, "l1"),
        "nas-eth0": SwitchPort(20, ()),
    }


@pytest.mark.parametrize(
    ("port", "vlan", "apart"),
    [
        ("sw1", 1, False),
        ("{switch: sw1, lag: l1}", 1, False),
        ("sw1", 2, True),
        ("{switch: sw1, access: 1}", 1, True),
        ("{switch: sw1, vlans: []}", 1, True),
    ],
)
def test_a_switch_looks_at_tags_only_where_its_ports_differ(port: str, vlan: int, apart: bool, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(f"hosts: {{host1: {{nics: {{eth0: {port}}}}}}}\nmachines: {{nas: {{switch: sw1, address: 10.0.0.9/24, vlan: {vlan}}}}}")
    assert read_lab(file).keeps_vlans_apart("sw1") is apart


@pytest.mark.parametrize(
    ("nics", "said"),
    [
        ("{eth0: {switch: sw1, access: 4095}}", "there is no VLAN 4095: they go from 1 to 4094"),
        ("{eth0: {switch: sw1, access: 7, native: 8}}", "an access port has one VLAN"),
        ("{eth0: {switch: sw1, lag: l1}, eth1: {switch: sw1, lag: l1, access: 7}}", "sw1: host1-eth0 and host1-eth1 are both in l1, but differ"),
        ("{eth0: {switch: sw1, lag: sw1}}", "sw1: sw1 is a name that is taken"),
        ("{eth0: {switch: sw1, lag: 'a b'}}", "'a b' is no name"),
        ("{eth0: {switch: sw1, speed: 7}}", "contains unknown field `speed`"),
    ],
)
def test_ports_that_cannot_be_are_refused(nics: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(f"hosts: {{host1: {{nics: {nics}}}}}")
    with pytest.raises(TopologyError) as refusal:
        read_lab(file)
    assert said in str(refusal.value)
