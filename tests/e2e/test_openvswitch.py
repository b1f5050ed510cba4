"""A whole lab on Open vSwitch, by the command line: everybody reaches everybody, kills in between, nothing left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.world import until
from xenet.datapath.openvswitch.daemons import holder
from xenet.datapath.openvswitch.flows import COOKIE
from xenet.datapath.openvswitch.programs import find_programs

pytestmark = pytest.mark.kernel


class LabOf:
    """`xenet` and `xe` for one lab."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "lab"
        self.environment = {**os.environ, "XENET_RUN": str(folder)}

    def __call__(self, *argv: str, program: str = "xenet", check: bool = True) -> str:
        command = [str(Path(sys.executable).with_name(program)), *argv]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def up(self, *argv: str) -> None:
        line = self("lab", "up", "--datapath", "openvswitch", *argv)
        self.environment |= dict(word.split("=", 1) for word in line.split())

    def xe(self, *argv: str) -> str:
        return self(*argv, program="xe")

    def pings(self) -> tuple[int, int]:
        said = json.loads(self("lab", "ping-all", "--json", check=False))
        return said["received"], said["sent"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabOf]:
    made = LabOf(tmp_path_factory.mktemp("labs"))
    made.up("--hosts", "2", "--nics", "2", "--vms", "3")
    try:
        yield made
    finally:
        made("lab", "down")
        assert not made.folder.exists()


def kill(pidfile: Path) -> None:
    pid: int = until(lambda: holder(pidfile))
    os.kill(pid, signal.SIGKILL)


def test_everybody_reaches_everybody(lab):
    assert lab.pings() == (12, 12)
    hosts = lab.xe("host-list", "--minimal").split(",")
    assert "network_backend: openvswitch" in lab.xe("host-param-get", f"uuid={hosts[0]}", "param-name=software-version")
    assert lab("drift") == lab("plan") == ""


def test_open_vswitchs_programs_are_at_home_in_a_host(lab):
    assert lab("lab", "exec", "host1", "ovs-vsctl", "list-br") == "xenbr0\nxenbr1"
    uuids = {lab("lab", "exec", host, "--", "ovs-vsctl", "get", "Open_vSwitch", ".", "_uuid") for host in ("host1", "host2")}
    assert len(uuids) == 2, "each host's own"
    assert "actions=NORMAL" in lab("lab", "exec", "host2", "--", "ovs-ofctl", "dump-flows", "xenbr0")
    assert "MAC" in lab("lab", "exec", "host1", "--", "sh", "-c", "ovs-appctl -t $OVS_RUNDIR/vswitchd.ctl fdb/show xenbr0")
    assert "OVS_RUNDIR" not in lab("lab", "exec", "vm1", "env")


def test_kill_9_of_agent_and_daemons_changes_nothing_for_long(lab):
    agent = lab.folder / "processes" / "host1" / "pid"
    os.kill(int(agent.read_text()), signal.SIGKILL)
    assert lab.pings() == (12, 12), "frames flow without the agent"
    folder = lab.folder / "host1" / "openvswitch"
    for name in ("ovs-vswitchd", "ovsdb-server"):
        kill(folder / f"{name}.pid")
    lab("lab", "revive")
    until(lambda: lab.pings() == (12, 12), 30)
    kill(folder / "ovs-vswitchd.pid")
    until(lambda: lab.pings() == (12, 12), 30)


def test_a_host_changes_its_backend_under_running_vms_and_nothing_is_left(lab):
    def has(*devices: str) -> bool:
        return set(devices) <= {link["ifname"] for link in json.loads(lab("lab", "exec", "host2", "--", "ip", "-j", "link"))}

    vif = lab.xe("vif-list", "vm-name-label=vm2", "--minimal")
    lab.xe("vif-param-set", f"uuid={vif}", "qos_algorithm_type=ratelimit", "qos_algorithm_params:kbps=100000")
    lab.xe("vif-param-set", f"uuid={vif}", "locking-mode=locked", "ipv4-allowed=10.0.0.102")
    for backend, there, gone in (("bridge", "ifb", "ovs-netdev"), ("openvswitch", "ovs-netdev", "ifb")):
        assert lab(backend, "--host", "host2", program="xe-switch-network-backend") == f"host2: {backend}"
        assert lab.pings() == (12, 12)
        assert lab("drift") == lab("plan") == ""
        device = there if there == "ovs-netdev" else f"{there}{domid(lab, vif)}.0"
        until(partial(has, device))
        until(partial(lacks, lab, gone))
        assert f"network_backend: {backend}" in lab.xe("host-param-list", f"uuid={lab.xe('host-list', 'name-label=host2', '--minimal')}")
    os.kill(int((lab.folder / "processes" / "host2" / "pid").read_text()), signal.SIGKILL)
    lab("lab", "revive")
    assert lab.pings() == (12, 12)
    assert lab("drift") == ""


def lacks(lab: LabOf, prefix: str) -> bool:
    return not any(link["ifname"].startswith(prefix) for link in links(lab))


def links(lab: LabOf) -> list[dict]:
    found: list[dict] = json.loads(lab("lab", "exec", "host2", "--", "ip", "-j", "link"))
    return found


def domid(lab: LabOf, vif: str) -> str:
    return lab.xe("vm-param-get", f"uuid={lab.xe('vif-param-get', f'uuid={vif}', 'param-name=vm-uuid')}", "param-name=dom-id")


def test_a_locks_flows_that_somebody_deletes_are_back_within_seconds(lab):
    vif = lab.xe("vif-list", "vm-name-label=vm1", "--minimal")
    lab.xe("vif-param-set", f"uuid={vif}", "locking-mode=locked", "ipv4-allowed=10.0.0.101")
    programs, management = find_programs(), f"unix:{lab.folder / 'host1' / 'openvswitch' / 'xenbr0.mgmt'}"

    def ofctl(*words: str) -> str:
        done = subprocess.run([programs.ofctl, *words], env=programs.environment, capture_output=True, text=True, check=True)
        return done.stdout

    ours = f"cookie={COOKIE:#x}/-1"
    flows = ofctl("--no-stats", "dump-flows", management, ours)
    assert "actions=drop" in flows
    began = time.monotonic()
    ofctl("del-flows", management, ours)
    until(lambda: ofctl("--no-stats", "dump-flows", management, ours) == flows, 10)
    assert time.monotonic() - began < 10
    lab.xe("vif-param-set", f"uuid={vif}", "locking-mode=network_default")
    assert lab("drift") == ""


def test_the_switches_outside_hear_who_was_on_a_bond_that_is_gone(lab):
    """The VMs say nothing meanwhile, and the physical switch had them behind the other cable."""
    nics = [lab.xe("pif-list", "host-name-label=host1", f"device={nic}", "--minimal") for nic in ("eth0", "eth1")]
    network = lab.xe("network-create", "name-label=both")
    bond = lab.xe("bond-create", f"network-uuid={network}", f"pif-uuids={','.join(nics)}", "mode=active-backup")
    macs = {lab.xe("vif-list", f"vm-name-label={vm}", "params=MAC", "--minimal") for vm in ("vm1", "vm3")}
    lab("lab", "cut", "host1/eth0")
    until(lambda: lab.pings() == (12, 12))
    assert places(lab, macs) == {"host1-eth1"}
    lab("lab", "mend", "host1/eth0")
    with captured(lab) as said:
        lab.xe("bond-destroy", f"uuid={bond}")
        until(lambda: places(lab, macs) == {"host1-eth0"})
        time.sleep(1)
    told = [line for line in said if "Reverse Request" in line]
    assert all(any(mac in line for line in told) for mac in macs), said
    assert lab.pings() == (12, 12)
    lab.xe("network-destroy", f"uuid={network}")


def test_the_switches_outside_hear_where_a_host_is_on_a_vlan(lab):
    """When the NIC below becomes a slave of a bond, and when it is none any more; the host itself says nothing of its own."""
    nics = [lab.xe("pif-list", "host-name-label=host1", f"device={nic}", "VLAN=-1", "--minimal") for nic in ("eth0", "eth1")]
    networks = [lab.xe("network-create", f"name-label={name}") for name in ("storage", "both")]
    lab.xe("vlan-create", f"pif-uuid={nics[0]}", f"network-uuid={networks[0]}", "vlan=42")
    (pif,) = lab.xe("pif-list", f"network-uuid={networks[0]}", "--minimal").split(",")
    lab.xe("pif-reconfigure-ip", f"uuid={pif}", "mode=static", "IP=10.77.0.1", "netmask=255.255.255.0")
    with captured(lab) as said:
        bond = lab.xe("bond-create", f"network-uuid={networks[1]}", f"pif-uuids={','.join(nics)}", "mode=active-backup")
        time.sleep(1)
    assert announced(said), said
    with captured(lab) as said:
        lab.xe("bond-destroy", f"uuid={bond}")
        time.sleep(1)
    assert announced(said), said
    (pif,) = lab.xe("pif-list", f"network-uuid={networks[0]}", "--minimal").split(",")
    lab.xe("vlan-destroy", f"uuid={pif}")
    for network in networks:
        lab.xe("network-destroy", f"uuid={network}")


def announced(said: list[str]) -> list[str]:
    return [line for line in said if "vlan 42" in line and "who-has 10.77.0.1 " in line and "tell 10.77.0.1" in line]


@contextmanager
def captured(lab: LabOf) -> Iterator[list[str]]:
    """What comes to the router while the block runs; read the list after the block."""
    command, lines = [str(Path(sys.executable).with_name("xenet")), "lab", "capture", "router/eth0"], list[str]()
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as capture:
        try:
            assert capture.stdout
            assert capture.stderr
            while "listening on" not in capture.stderr.readline():
                assert capture.poll() is None
            yield lines
        finally:
            capture.terminate()
        lines += capture.stdout.read().splitlines()


def places(lab: LabOf, macs: set[str]) -> set[str]:
    """The ports of the physical switch behind which these are."""
    return {row["port"] for row in json.loads(lab("lab", "fdb", "sw1", "--json")) if row["mac"] in macs}
