"""xe against xenet's own server and agent, on the fake datapath: what one sends, the other takes."""

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.canned_pool import CannedPool
from tests.cli.xe_runner import Runner

PATIENCE = 60
"""Seconds for the server to say that it is ready, and to stop."""
Xe = Callable[[str], str]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    state = tmp_path_factory.mktemp("state")
    command = f"{sys.executable} -m xenet.cli.xenet serve --state {state} --listen 127.0.0.1:0 --datapath fake --nics eth0,eth1 --store memory"
    environ = {**os.environ, "XENET_PASSWORD": "secret"}
    with subprocess.Popen(shlex.split(command), env=environ, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield Runner(CannedPool(), _announced(server))
        finally:
            server.terminate()
            server.wait(PATIENCE)


def _announced(server: "subprocess.Popen[str]") -> dict[str, str]:
    """The variables of the line that the server prints when it is ready."""
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("XENET_URL="):
            return dict(word.split("=", 1) for word in line.split())
    raise AssertionError("the server ended before it was ready")


@pytest.fixture
def xe(runner: Runner) -> Xe:
    def run(line: str) -> str:
        outcome = runner(line)
        assert (outcome.status, outcome.err) == (0, ""), line
        return outcome.out.rstrip("\n")

    return run


def test_a_vm_s_life(xe: Xe, runner: Runner) -> None:
    green, red = xe("network-create name-label=green"), xe("network-create name-label=red MTU=9000")
    vm = xe("vm-create name-label=vm1")
    vif = xe(f"vif-create vm-uuid={vm} network-uuid={green} device=0 mac=random")
    xe("vm-start vm=vm1")
    assert xe("vm-list power-state=running params=name-label --minimal") == "vm1"
    xe(f"vif-unplug uuid={vif}")
    assert xe(f"vif-param-get uuid={vif} param-name=currently-attached") == "false"
    xe(f"vif-plug uuid={vif}")
    refused = runner(f"vif-plug uuid={vif}")
    assert (refused.status, refused.out, refused.err) == (1, "", f"The device is plugged already.\nvif: {vif} (0)\n")
    xe(f"vif-move uuid={vif} network-uuid={red}")
    assert xe("vm-vif-list vm=vm1 --minimal") == vif
    assert xe(f"vif-list uuid={vif} params=network-name-label --minimal") == "red"
    assert xe(f"network-fdb-list uuid={red}").split()[:6] == ["MAC", "HOST", "PORT", "OWNER", "AGE", "LOCAL"]
    assert runner(f"network-destroy uuid={red}").status == 1
    xe("vm-shutdown vm=vm1")
    xe("event-wait class=vm name-label=vm1 power-state=halted")
    xe(f"vif-destroy uuid={vif}")
    xe("vm-uninstall vm=vm1 --force")
    xe(f"network-destroy uuid={green}")
    xe(f"network-destroy uuid={red}")
    assert xe("vm-list --all --minimal") == xe("vif-list --minimal") == ""


def test_fields(xe: Xe, runner: Runner) -> None:
    network = xe("network-create name-label=blue")
    xe(f"network-param-set uuid={network} name-description=sky MTU=1400 other-config:a=b=c")
    xe(f"network-param-add uuid={network} param-name=tags param-key=x")
    assert xe(f"network-list uuid={network} other-config:a=b=c tags:contains=x params=MTU --minimal") == "1400"
    duplicate = runner(f"network-param-add uuid={network} param-name=other-config a=d")
    assert f"uuid: {network} (blue)\nkey: a\n" in duplicate.err
    xe(f"network-param-remove uuid={network} param-name=other-config param-key=a")
    xe(f"network-param-clear uuid={network} param-name=tags")
    assert xe(f"network-param-get uuid={network} param-name=tags") == ""
    assert xe(f"network-param-get uuid={network} param-name=other-config") == ""
    xe(f"network-destroy uuid={network}")


def test_a_vif_is_locked(xe: Xe, runner: Runner) -> None:
    network, vm = xe("network-create name-label=tenants"), xe("vm-create name-label=tenant")
    vif = xe(f"vif-create vm-uuid={vm} network-uuid={network} device=0 mac=random")
    xe("vm-start vm=tenant")
    xe(f"vif-param-set uuid={vif} locking-mode=locked ipv4-allowed=10.0.0.1,10.8.0.0/24 ipv6-allowed=2001:db8::1")
    xe(f"vif-param-add uuid={vif} param-name=ipv4-allowed param-key=10.0.0.2")
    xe(f"vif-param-remove uuid={vif} param-name=ipv4-allowed param-key=10.8.0.0/24")
    shown = xe(f"vif-list uuid={vif} params=locking-mode,ipv4-allowed,ipv6-allowed")
    assert [line.split(": ", 1)[1] for line in shown.splitlines() if line] == ["locked", "10.0.0.1; 10.0.0.2", "2001:db8::1"]
    refused = runner(f"vif-param-add uuid={vif} param-name=ipv4-allowed param-key=10.0.0.300")
    assert (refused.status, refused.out) == (1, "")
    assert "ipv4_allowed" in refused.err
    xe(f"vif-param-clear uuid={vif} param-name=ipv4-allowed")
    assert xe(f"vif-param-get uuid={vif} param-name=ipv4-allowed") == ""
    assert runner(f"network-param-set uuid={network} default-locking-mode=disabled").status == 1
    xe("vm-shutdown vm=tenant --force")
    xe(f"network-param-set uuid={network} default-locking-mode=disabled")
    assert xe(f"network-param-get uuid={network} param-name=default-locking-mode") == "disabled"
    xe(f"vif-destroy uuid={vif}")
    xe("vm-uninstall vm=tenant --force")
    xe(f"network-destroy uuid={network}")


def test_a_nic_is_forgotten_and_found_again(xe: Xe, runner: Runner) -> None:
    host, network = xe("host-list --minimal"), xe("network-list bridge=xenbr1 --minimal")
    assert xe(f"pif-forget uuid={xe('pif-list device=eth1 --minimal')}") == ""
    assert xe(f"pif-list host-uuid={host} params=device --minimal") == "eth0"
    missing = runner(f"pif-introduce host-uuid={host} device=eth7")
    assert (missing.status, missing.out, missing.err) == (1, "", "The host has no such NIC.\ndevice: eth7\nmac: \n")
    pif = xe(f"pif-introduce host-uuid={host} device=eth1 mac=02:00:00:00:00:01")
    listed = "params=device,managed,currently-attached,network-uuid"
    assert [line.split(": ")[1] for line in xe(f"pif-list uuid={pif} {listed}").splitlines()] == ["eth1", "true", "false", network]
    twice = runner(f"pif-introduce host-uuid={host} device=eth1")
    assert (twice.status, twice.err) == (1, "The host has a PIF with this device already.\ndevice: eth1\n")
    xe(f"pif-forget uuid={pif}")
    unmanaged = xe(f"pif-introduce host-uuid={host} device=eth1 managed=no")
    refused = runner(f"pif-plug uuid={unmanaged}")
    assert (refused.status, refused.err) == (1, f"The PIF is not managed, so it is left as it is.\nPIF: {unmanaged} (eth1)\n")
    xe(f"pif-forget uuid={unmanaged}")
    assert xe(f"pif-scan host-uuid={host}") == ""
    found = xe("pif-list device=eth1 --minimal")
    xe(f"pif-db-forget uuid={found}")
    xe(f"pif-scan host-uuid={host}")
    again = xe("pif-list device=eth1 --minimal")
    assert len({pif, unmanaged, found, again}) == 4
    xe(f"pif-plug uuid={again}")
    assert xe(f"pif-param-get uuid={again} param-name=currently-attached") == "true"
    assert runner(f"pif-db-forget uuid={again}").err.startswith("This is not allowed now.\nreason: the PIF is plugged")
    assert runner("pif-scan").err == "Required parameter not found: host-uuid\nFor usage run: 'xe help pif-scan'\n"


ADDRESS_FIELDS = "device,IP-configuration-mode,IP,netmask,gateway,IPv6-configuration-mode,IPv6,IPv6-gateway,DNS"
ADDRESSED = """\
device ( RO)                     : eth1
      IP-configuration-mode ( RO): Static
                         IP ( RO): 10.1.0.1
                    netmask ( RO): 255.255.255.0
                    gateway ( RO): 10.1.0.254
    IPv6-configuration-mode ( RO): Static
                       IPv6 ( RO): 2001:db8::1/64
               IPv6-gateway ( RO): 2001:db8::254
                        DNS ( RO): 2001:db8::53,10.1.0.53"""


def test_addresses_of_a_pif(xe: Xe, runner: Runner) -> None:
    pif = xe("pif-list device=eth1 --minimal")
    wrong = {
        "": "Required parameter not found: mode\nFor usage run: 'xe help pif-reconfigure-ip'\n",
        "mode=sometimes": "Error: Expected one of 'None', 'DHCP', 'Static', got sometimes\n",
        "mode=static": "A parameter is not an IP address.\nparameter: IP\n",
        "mode=static IP=10.1.0.1 netmask=255.0.255.0": f"The host could not configure the PIF.\nPIF: {pif} (eth1)\nmsg: 255.0.255.0 is no netmask\n",
    }
    for arguments, said in wrong.items():
        outcome = runner(f"pif-reconfigure-ip uuid={pif} {arguments}")
        assert (outcome.status, outcome.out, outcome.err) == (1, "", said)
    assert xe(f"pif-reconfigure-ip uuid={pif} mode=STATIC ip=10.1.0.1 netmask=255.255.255.0 gateway=10.1.0.254 dns=10.1.0.53") == ""
    assert xe(f"pif-reconfigure-ipv6 uuid={pif} mode=static IPv6=2001:db8::1/64 gateway=2001:db8::254 DNS=2001:db8::53") == ""
    assert xe(f"pif-list uuid={pif} params={ADDRESS_FIELDS}") == ADDRESSED
    xe(f"pif-reconfigure-ipv6 uuid={pif} mode=none")
    xe(f"pif-reconfigure-ip uuid={pif} mode=none")
    assert xe(f"pif-list uuid={pif} params=IP,IP-configuration-mode --minimal") == "None"


def test_management_moves_and_ends(xe: Xe, runner: Runner) -> None:
    pif, host = xe("pif-list device=eth1 --minimal"), xe("host-list --minimal")
    network = xe(f"pif-param-get uuid={pif} param-name=network-uuid")
    refused = runner(f"host-management-reconfigure pif-uuid={pif}")
    assert (refused.status, refused.err) == (1, f"The PIF has no IP configuration (mode None).\nPIF: {pif} (eth1)\n")
    # of the loopback's, since the agent has the API answer there, whatever its data plane
    xe(f"pif-reconfigure-ip uuid={pif} mode=static IP=127.1.0.1 netmask=255.255.255.0")
    for command in (f"host-management-reconfigure pif-uuid={pif}", f"pool-management-reconfigure network-uuid={network}"):
        assert xe(command) == ""
        assert xe(f"host-param-get uuid={host} param-name=address") == "127.1.0.1"
        assert runner(f"pif-reconfigure-ip uuid={pif} mode=none").err == f"The PIF carries management; move that away first.\nPIF: {pif} (eth1)\n"
        assert xe("host-management-disable") == "", "a local session, for which root needs no password here"
        assert xe("pif-list management=true --minimal") == xe(f"host-param-get uuid={host} param-name=address") == ""
    assert runner("host-emergency-management-reconfigure interface=xenbr0").err == "The host is not in emergency mode.\n"
    xe(f"pif-reconfigure-ip uuid={pif} mode=none")


def test_a_bond(xe: Xe, runner: Runner) -> None:
    """The fake host has links and says so: what the pool shows of them comes from its report."""
    nics = [xe(f"pif-list device=eth{n} VLAN=-1 --minimal") for n in (0, 1)]
    network, dmz = xe("network-create name-label=bonded"), xe("network-create name-label=dmz")
    address = xe(f"pif-param-get uuid={nics[0]} param-name=IP")
    vlan = xe(f"vlan-create pif-uuid={nics[0]} vlan=42 network-uuid={dmz}")
    bond = xe(f"bond-create network-uuid={network} pif-uuids={nics[0]},{nics[1]}")
    master = xe("pif-list device=bond0 VLAN=-1 --minimal")
    xe(f"event-wait class=bond uuid={bond} links-up=2")
    assert xe("bond-list") == (f"uuid ( RO)      : {bond}\n    master ( RO): {master}\n    slaves ( RO): {'; '.join(sorted(nics))}\n\n").rstrip("\n")
    assert xe(f"pif-list bond-slave-of={bond} params=device --minimal") == "eth0,eth1"
    assert [xe(f"pif-param-get uuid={master} param-name={name}") for name in ("bond-master-of", "IP", "carrier")] == [bond, address, "true"]
    assert vlan != xe("pif-list device=bond0 VLAN=42 network-name-label=dmz --minimal") != ""
    xe(f"bond-set-mode uuid={bond} mode=lacp")
    xe(f"bond-param-set uuid={bond} properties:lacp-time=fast")
    lacp = "hashing_algorithm: tcpudp_ports; lacp-time: fast; lacp-fallback-ab: true"
    assert xe(f"bond-param-get uuid={bond} param-name=properties") == lacp
    refused = runner(f"bond-param-set uuid={bond} properties:lacp-time=never")
    assert (refused.status, refused.err) == (1, "This value is not allowed here.\nfield: properties\nvalue: lacp-time = never\n")
    refused = runner(f"pif-plug uuid={nics[0]}")
    assert refused.err == f"A member of a bond cannot be plugged by itself; use the bond.\nPIF: {nics[0]} (eth0)\n"
    xe(f"bond-destroy uuid={bond}")
    assert xe("bond-list --minimal") == ""
    assert xe(f"pif-param-get uuid={nics[0]} param-name=IP") == address != ""
    xe(f"vlan-destroy uuid={xe('vlan-list --minimal')}")


@pytest.mark.parametrize(
    "name", ["network", "pif", "vif", "bond", "vlan", "tunnel", "network-sriov", "host", "pool", "vm", "template", "snapshot", "task"]
)
def test_every_class_is_listed_with_all_its_fields(xe: Xe, name: str) -> None:
    uuids = xe(f"{name}-list --minimal").split(",")
    assert xe(f"{name}-list params=all").count("uuid ( RO)") >= (len(uuids) if uuids != [""] else 0)
    for uuid in filter(None, uuids):
        shown = xe(f"{name}-param-list uuid={uuid}")
        assert "<invalid reference>" not in shown
        assert uuid in shown


def test_progress_is_shown_and_the_result_is_the_same(runner: Runner, xe: Xe) -> None:
    before = xe("task-list --minimal")
    made = runner("network-create name-label=slow --progress")
    assert made.status == 0
    assert made.err.endswith("100%\n")
    network = made.out.strip()
    assert xe(f"network-param-get uuid={network} param-name=name-label") == "slow"
    pif = xe("pif-list device=eth1 --minimal")
    first, second = (runner(f"pool-vlan-create pif-uuid={pif} network-uuid={network} vlan=7 --progress") for _ in range(2))
    assert first.out.strip() == xe("pif-list VLAN=7 --minimal")
    assert second.status == 1
    assert second.err.startswith("The host has a PIF on this network already.\n")
    xe(f"vlan-destroy uuid={first.out.strip()}")
    xe(f"network-destroy uuid={network}")
    assert xe("task-list --minimal") == before
    assert xe("task-list progress=0.5 --minimal") == "", "progress= is still a filter"


def test_waiting_for_an_event(runner: Runner, xe: Xe) -> None:
    vm = xe("vm-create name-label=awaited")
    ends: list[int] = []
    waiting = threading.Thread(target=lambda: ends.append(runner("event-wait class=vm name-label=awaited power-state=running").status))
    waiting.start()
    xe("vm-start vm=awaited")
    waiting.join(PATIENCE)
    assert ends == [0]
    xe("vm-shutdown vm=awaited --force")
    xe(f"vm-destroy uuid={vm}")


def test_a_remote_server_by_tls(tmp_path: Path) -> None:
    command = f"{sys.executable} -m xenet.cli.xenet serve --listen 127.0.0.1:0 --datapath fake --tls"
    with subprocess.Popen(shlex.split(command), env={**os.environ, "XENET_PASSWORD": "secret"}, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = _announced(server)["XENET_URL"].rstrip("/").rpartition(":")[2]
            remote = Runner(CannedPool(), {"HOME": str(tmp_path)})
            assert remote(f"-s 127.0.0.1 -p {port} -u root -pw secret host-list params=name-label --minimal").out == "host1\n"
            (tmp_path / "pwf").write_text("root\nsecret\n")
            assert remote(f"host-list -s 127.0.0.1 -p {port} -pwf {tmp_path}/pwf params=name-label --minimal").out == "host1\n"
            assert remote(f"-s 127.0.0.1 -p {port} --nossl -u root -pw secret host-list").status == 1
        finally:
            server.terminate()
            server.wait(PATIENCE)


def test_over_tcp_with_a_password(runner: Runner, tmp_path: Path) -> None:
    url = runner.environ["XENET_URL"]
    remote = Runner(CannedPool(), {"XENET_URL": url, "HOME": str(tmp_path)})
    assert remote("host-list --minimal -pw secret").out == runner("host-list --minimal").out
    assert remote("host-list -pw wrong").err == "Authentication failed\n"


def test_a_vlan_s_life(xe: Xe, runner: Runner) -> None:
    """vlan-create and pool-vlan-create answer with the untagged PIF, which vlan-destroy takes as well as the VLAN."""
    lower, network = xe("pif-list device=eth1 VLAN=-1 --minimal"), xe("network-create name-label=dmz")
    pif = xe(f"vlan-create pif-uuid={lower} vlan=42 network-uuid={network}")
    vlan = xe(f"vlan-list tagged-PIF={lower} tag=42 untagged-PIF={pif} --minimal")
    assert xe(f"pif-list uuid={pif} params=device,VLAN,vlan-master-of,currently-attached,MAC").split("\n") == [
        "device ( RO)                : eth1",
        "                   MAC ( RO): fe:ff:ff:ff:ff:ff",
        "    currently-attached ( RO): true",
        "                  VLAN ( RO): 42",
        f"        vlan-master-of ( RO): {vlan}",
    ]
    assert xe(f"pif-param-get uuid={lower} param-name=vlan-slave-of") == vlan
    assert xe(f"vlan-param-get uuid={vlan} param-name=tag") == "42"
    assert f"untagged-PIF ( RO): {pif}" in xe(f"vlan-param-list uuid={vlan}")
    other = xe("network-create name-label=other")
    refused = runner(f"vlan-create pif-uuid={lower} vlan=42 network-uuid={other}")
    assert (refused.status, refused.err) == (1, "There is a VLAN like this already.\ndevice: eth1\n")
    xe(f"vlan-destroy uuid={vlan}")
    assert xe(f"pool-vlan-create pif-uuid={lower} vlan=42 network-uuid={network}") != pif
    xe(f"vlan-destroy uuid={xe(f'pif-list network-uuid={network} --minimal')}")
    assert xe("vlan-list --minimal") == ""
    for each in (network, other):
        xe(f"network-destroy uuid={each}")
