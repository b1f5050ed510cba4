"""A lab with hosts of both data planes, by the command line: what guests leave unfinished comes whole through a tunnel between them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_openvswitch import LabOf
from tests.e2e.test_tunnels_openvswitch import SEND, TAKE

pytestmark = pytest.mark.kernel
FILE = """
hosts:
  host1: {nics: {eth0: sw1, eth1: sw1}, datapath: bridge}
  host2: {nics: {eth0: sw1, eth1: sw1}, datapath: openvswitch}
vms:
  vm1: {host: host1, address: 10.0.0.101/24}
  vm2: {host: host2, address: 10.0.0.102/24}
"""
SIZE = 3_000_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabOf]:
    made = LabOf(tmp_path_factory.mktemp("labs"))
    file = made.folder.with_name("lab.yaml")
    file.write_text(FILE)
    made.environment |= dict(word.split("=", 1) for word in made("lab", "up", str(file)).split())
    try:
        yield made
    finally:
        made("lab", "down")


def transfers(lab: LabOf, sender: str, receiver: str, address: str) -> bool:
    """Whether so many octets get there by TCP, with all that a guest's kernel leaves to others."""
    command = [str(Path(sys.executable).with_name("xenet")), "lab", "exec", receiver, "--", "python3", "-c", TAKE]
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        server.stdout.readline()
        try:
            lab("lab", "exec", sender, "--", "python3", "-c", SEND.format(address, SIZE))
            return server.communicate(timeout=20)[0].strip() == str(SIZE)
        finally:
            server.kill()


@pytest.fixture(scope="module")
def overlay(lab: LabOf) -> None:
    """A network over eth1 of both hosts, with a second VIF of each VM."""
    network = lab.xe("network-create", "name-label=overlay")
    for number in (1, 2):
        pif = lab.xe("pif-list", f"host-name-label=host{number}", "device=eth1", "--minimal")
        lab.xe("pif-reconfigure-ip", f"uuid={pif}", "mode=static", f"IP=192.0.2.{number}", "netmask=255.255.255.0")
        lab.xe("tunnel-create", f"pif-uuid={pif}", f"network-uuid={network}", "protocol=vxlan")
        vm = lab.xe("vm-list", f"name-label=vm{number}", "--minimal")
        vif = lab.xe("vif-create", f"vm-uuid={vm}", f"network-uuid={network}", "device=1", "mac=random")
        lab.xe("vif-plug", f"uuid={vif}")
        lab("lab", "exec", f"vm{number}", "--", "ip", "address", "add", f"10.1.0.{number}/24", "dev", "eth1")


def test_the_planes_are_as_the_file_says(lab: LabOf) -> None:
    said = {name: lab.xe("host-param-list", f"uuid={lab.xe('host-list', f'name-label={name}', '--minimal')}") for name in ("host1", "host2")}
    assert [f"network_backend: {plane}" in said[name] for name, plane in (("host1", "bridge"), ("host2", "openvswitch"))] == [True, True]
    for port, state in (("host1-eth1", "on"), ("host2-eth1", "off")):
        assert f"tx-checksumming: {state}" in lab("lab", "exec", "sw1", "--", "ethtool", "-k", port)


@pytest.mark.usefixtures("overlay")
@pytest.mark.parametrize("addresses", [("10.0.0.101", "10.0.0.102"), ("10.1.0.1", "10.1.0.2")])
def test_tcp_flows_both_ways(lab: LabOf, addresses: tuple[str, str]) -> None:
    assert transfers(lab, "vm1", "vm2", addresses[1])
    assert transfers(lab, "vm2", "vm1", addresses[0])
