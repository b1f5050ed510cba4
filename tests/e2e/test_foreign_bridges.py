"""Unmanaged networks: VIFs as ports of a bridge that an administrator has made and keeps; nothing of it but these ports is xenet's."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from tests.datapath.bridge_host import needs_tap
from tests.e2e.test_pif_life import refusal
from tests.e2e.world import Pool, links, pool, ports, until
from tests.netns import Namespace, cable, namespaces, ping
from xenet.datapath.openvswitch.programs import find_programs

pytestmark = pytest.mark.kernel


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Pool, Namespace]]:
    """A host whose administrator has a bridge br-lab, with an address, a large MTU and a cable to a machine."""
    with namespaces(3) as (host, switch, machine), pool(tmp_path) as made:
        cable(host, "eth0", switch, "port")
        cable(host, "lab0", machine, "eth0")
        machine.ip("link", "set", "eth0", "mtu", "2000")
        machine.ip("address", "add", "10.0.0.9/24", "dev", "eth0")
        host.ip("link", "set", "lab0", "mtu", "2000")
        make_bridge(host)
        made.start_agent("host1", netns=host)
        made.wait_for("host1")
        yield made, host


def make_bridge(host: Namespace) -> None:
    host.ip("link", "add", "br-lab", "up", "type", "bridge", "ageing_time", "12345")
    host.ip("address", "add", "10.0.0.1/24", "dev", "br-lab")
    host.ip("link", "set", "lab0", "master", "br-lab")


def unmanaged(made: Pool, bridge: str = "br-lab") -> str:
    return str(made.api.network.create({"name_label": "the administrator's", "other_config": {}, "bridge": bridge, "managed": False}))


KEPT = ("ifindex", "flags", "mtu", "address", "master", "group")
SETTINGS = ("ageing_time", "forward_delay", "stp_state", "mcast_snooping", "vlan_filtering")


def is_like(host: Namespace) -> dict[str, Any]:
    """The bridge and its own port as their owner made them. Whether a port is promiscuous is the bridge's own affair, by how many it has."""
    said = links(host)
    kept = {name: {key: said[name].get(key) for key in KEPT} for name in ("br-lab", "lab0")}
    settings = {key: said["br-lab"]["linkinfo"]["info_data"][key] for key in SETTINGS}
    addresses = host.ip("-o", "address", "show", "dev", "br-lab").replace(" tentative", "")
    return {**kept, "settings": settings, "addresses": addresses}


def test_vifs_are_ports_of_a_bridge_that_stays_its_owners(site: tuple[Pool, Namespace]) -> None:
    made, host = site
    before = is_like(host)
    network = unmanaged(made)
    vm = made.vm("vm", network)
    guest = made.start(vm, "host1", "10.0.0.2/24")
    (vif,) = made.api.VM.get_VIFs(vm)
    assert ports(host, "br-lab") == {"lab0", made.device(vif)}
    assert made.api.VIF.get_MTU(vif) == "2000", "the bridge's: a smaller port would make the bridge smaller"
    for address in ("10.0.0.1", "10.0.0.9"):
        assert ping(guest, address)
    assert is_like(host) == before
    rows = made.api.network.get_fdb(network)
    assert any(row["owner"] == f"VIF {made.api.VIF.get_uuid(vif)}" for row in rows)
    made.api.VIF.move(vif, made.network("internal"))
    assert ports(host, "br-lab") == {"lab0"}
    made.api.VIF.move(vif, network)
    assert ping(guest, "10.0.0.9")
    made.kill("host1")
    assert ping(guest, "10.0.0.9")
    made.start_agent("host1")
    made.wait_for("host1")
    host.ip("link", "set", made.device(vif), "nomaster")
    until(lambda: made.device(vif) in ports(host, "br-lab"))
    made.api.VM.hard_shutdown(vm)
    assert ports(host, "br-lab") == {"lab0"}
    assert is_like(host) == before


def test_a_bridge_that_is_not_there_comes_and_goes(site: tuple[Pool, Namespace]) -> None:
    made, host = site
    vm = made.vm("vm", unmanaged(made, "br-late"))
    assert refusal(made.api.VM.start_on, vm, made.host("host1"), False, False) == ["BRIDGE_NOT_AVAILABLE", "br-late"]
    host.ip("link", "add", "br-late", "up", "type", "bridge")
    until(lambda: starts(made, vm))
    (vif,) = made.api.VM.get_VIFs(vm)
    assert ports(host, "br-late") == {made.device(vif)}
    host.ip("link", "del", "br-late")
    host.ip("link", "add", "br-late", "up", "type", "bridge")
    until(lambda: ports(host, "br-late") == {made.device(vif)})
    made.api.VM.hard_shutdown(vm)
    assert "br-late" in links(host)
    no_bridge = made.vm("other", unmanaged(made, "lab0"))
    assert refusal(made.api.VM.start_on, no_bridge, made.host("host1"), False, False) == ["BRIDGE_NOT_AVAILABLE", "lab0"]


def test_a_managed_network_takes_no_bridge_that_is_there(site: tuple[Pool, Namespace]) -> None:
    made, host = site
    host.ip("link", "add", "br-mine", "up", "type", "bridge")
    network = str(made.api.network.create({"name_label": "of that name", "other_config": {}, "bridge": "br-mine"}))
    vm = made.vm("vm", network)
    until(lambda: refusal(made.api.network.attach, network, made.host("host1")) == ["BRIDGE_NAME_EXISTS", "br-mine"])
    assert refusal(made.api.VM.start_on, vm, made.host("host1"), False, False) == ["BRIDGE_NAME_EXISTS", "br-mine"]
    assert ports(host, "br-mine") == set()
    host.ip("link", "del", "br-mine")
    until(lambda: attaches(made, network))
    made.start(vm, "host1")
    (vif,) = made.api.VM.get_VIFs(vm)
    assert ports(host, "br-mine") == {made.device(vif)}


def attaches(made: Pool, network: str) -> bool:
    try:
        made.api.network.attach(network, made.host("host1"))
    except XenAPI.Failure:
        return False
    return True


def starts(made: Pool, vm: str) -> bool:
    try:
        made.api.VM.start_on(vm, made.host("host1"), False, False)
    except XenAPI.Failure as error:
        assert error.details[:1] == ["BRIDGE_NOT_AVAILABLE"]
        return False
    return True


def test_xe_makes_such_a_network(site: tuple[Pool, Namespace]) -> None:
    made, host = site
    xe = ("-m", "xenet.cli.xe", "network-create", "name-label=lab", "bridge=br-lab", "managed=false")
    done = subprocess.run([sys.executable, *xe], capture_output=True, text=True, check=True, env={**os.environ, "XENET_SOCKET": made.socket})
    network = made.api.network.get_by_uuid(done.stdout.strip())
    assert made.api.network.get_managed(network) is False
    made.start(made.vm("vm", network), "host1")
    assert len(ports(host, "br-lab")) == 2


# --- a host on Open vSwitch ------------------------------------------------------------------------


class Switch:
    """An administrator's hand on the host's Open vSwitch."""

    def __init__(self, made: Pool) -> None:
        self.folder = made.folder / "host1" / "openvswitch"

    def __call__(self, *argv: str) -> str:
        programs = find_programs()
        command = [programs.vsctl, f"--db=unix:{self.folder / 'db.sock'}", "--timeout=10", *argv]
        done = subprocess.run(command, env=programs.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def add(self, bridge: str) -> None:
        kind = self("get", "Bridge", "xenbr0", "datapath_type")
        self("add-br", bridge, "--", "set", "Bridge", bridge, f"datapath_type={kind}", "other_config:mac-aging-time=77")

    def ports(self, bridge: str) -> set[str]:
        return set(self("list-ports", bridge).split())

    def is_like(self) -> tuple[str, ...]:
        """The bridge's row but for its ports, and its own port's rows."""
        bridge = self("--columns=_uuid,external_ids,other_config,fail_mode,datapath_type,flow_tables,controller", "list", "Bridge", "br-lab")
        return bridge, self("list", "Port", "lab0"), self("--columns=_uuid,type,external_ids,other_config,mtu,ofport", "list", "Interface", "lab0")


@pytest.fixture
def switched(tmp_path: Path) -> Iterator[tuple[Pool, Namespace, Switch]]:
    """A host on Open vSwitch whose administrator has a bridge br-lab in the same database, with a cable to a machine."""
    with namespaces(3) as (host, switch, machine), pool(tmp_path) as made:
        cable(host, "eth0", switch, "port")
        cable(host, "lab0", machine, "eth0")
        machine.ip("address", "add", "10.0.0.9/24", "dev", "eth0")
        made.start_agent("host1", netns=host, extra=("--datapath", "openvswitch"))
        made.wait_for("host1")
        admin = Switch(made)
        admin.add("br-lab")
        admin("add-port", "br-lab", "lab0")
        yield made, host, admin


@needs_tap
def test_a_bridge_of_open_vswitch_stays_its_owners(switched: tuple[Pool, Namespace, Switch]) -> None:
    made, _, admin = switched
    before = admin.is_like()
    network = unmanaged(made)
    vm = made.vm("vm", network)
    until(lambda: starts(made, vm))
    guest = made.inside(vm, "host1")
    guest.command("ip", "address", "add", "10.0.0.2/24", "dev", "eth0")
    (vif,) = made.api.VM.get_VIFs(vm)
    device = made.device(vif)
    assert admin.ports("br-lab") == {"lab0", device}
    assert ping(guest, "10.0.0.9")
    assert any(row["owner"] == f"VIF {made.api.VIF.get_uuid(vif)}" for row in made.api.network.get_fdb(network))
    made.api.VIF.set_ipv4_allowed(vif, ["10.0.0.2"])
    made.api.VIF.set_locking_mode(vif, "locked")
    assert ping(guest, "10.0.0.9")
    guest.command("ip", "address", "flush", "dev", "eth0")
    guest.command("ip", "address", "add", "10.0.0.3/24", "dev", "eth0")
    assert not ping(guest, "10.0.0.9", 0.5), "a lock holds there as elsewhere"
    made.api.VIF.set_locking_mode(vif, "unlocked")
    made.api.VIF.set_qos_algorithm_params(vif, {"kbps": "50000"})
    made.api.VIF.set_qos_algorithm_type(vif, "ratelimit")
    assert ping(guest, "10.0.0.9")
    made.api.VIF.move(vif, made.network("internal"))
    assert admin.ports("br-lab") == {"lab0"}
    made.api.VIF.move(vif, network)
    assert ping(guest, "10.0.0.9")
    made.kill("host1")
    assert ping(guest, "10.0.0.9")
    made.start_agent("host1", extra=("--datapath", "openvswitch"))
    made.wait_for("host1")
    admin("del-port", "br-lab", device)
    until(lambda: device in admin.ports("br-lab"))
    assert ping(guest, "10.0.0.9")
    made.api.VM.hard_shutdown(vm)
    assert admin.ports("br-lab") == {"lab0"}
    assert admin.is_like() == before


@needs_tap
def test_a_bridge_of_open_vswitch_comes_and_goes(switched: tuple[Pool, Namespace, Switch]) -> None:
    made, host, admin = switched
    vm = made.vm("vm", unmanaged(made, "br-late"))
    assert refusal(made.api.VM.start_on, vm, made.host("host1"), False, False) == ["BRIDGE_NOT_AVAILABLE", "br-late"]
    admin.add("br-late")
    until(lambda: starts(made, vm))
    (vif,) = made.api.VM.get_VIFs(vm)
    admin("del-br", "br-late")
    admin.add("br-late")
    until(lambda: admin.ports("br-late") == {made.device(vif)})
    taken = made.network("of that name")
    mine = str(made.api.network.create({"name_label": "of that name", "other_config": {}, "bridge": "br-lab"}))
    until(lambda: refusal(made.api.network.attach, mine, made.host("host1")) == ["BRIDGE_NAME_EXISTS", "br-lab"])
    made.api.network.attach(taken, made.host("host1"))
    host.ip("link", "add", "br-kernel", "up", "type", "bridge")
    other = made.vm("other", unmanaged(made, "br-kernel"))
    until(lambda: refusal(made.api.VM.start_on, other, made.host("host1"), False, False)[0] == "OPERATION_NOT_ALLOWED")
    assert ports(host, "br-kernel") == set()
    made.api.VM.hard_shutdown(vm)
    assert "br-late" in admin("list-br").split()
