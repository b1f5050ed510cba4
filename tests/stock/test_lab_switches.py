"""The lab's physical switches where the kernel has VLAN filtering and bonding: trunks, access ports, native VLANs, aggregated links."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xenet.lab import operate
from xenet.lab.build import build, ip
from xenet.lab.run import Run, find_run
from xenet.lab.topology import Lab, read_lab
from xenet.lab.up import down, making

pytestmark = [pytest.mark.kernel, pytest.mark.stock]

FILE = """
hosts:
  host1: {nics: {eth0: {switch: sw1, vlans: [10, 20]}, eth1: {switch: sw1, lag: lag1}, eth2: {switch: sw1, lag: lag1}}}
  host2: {nics: {eth0: {switch: sw1, vlans: [10, 30]}, eth1: {switch: sw1, native: 10, vlans: []}}}
machines:
  router: {switch: sw1, address: 10.0.0.254/24}
  nas: {switch: sw1, address: 10.10.0.254/24, vlan: 10}
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Run, Lab]]:
    monkeypatch.setenv("XENET_RUN", str(tmp_path / "labs"))
    (tmp_path / "lab.yaml").write_text(FILE)
    lab, run = read_lab(tmp_path / "lab.yaml"), find_run("lab")
    with making(run):
        run.save(lab)
        build(run, lab)
        yield run, lab
        down(run)


def tagged(run: Run, host: str, vlan: int, address: str) -> None:
    """A VLAN device of the host's own on its eth0."""
    ip(
        run.namespace(host).pid,
        [f"link add link eth0 name eth0.{vlan} type vlan id {vlan}", f"address add {address} dev eth0.{vlan}", f"link set eth0.{vlan} up"],
    )


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def test_vlans_are_kept_apart(lab: tuple[Run, Lab]) -> None:
    run, _ = lab
    tagged(run, "host1", 10, "10.10.0.1/24")
    tagged(run, "host2", 10, "10.10.0.2/24")
    tagged(run, "host1", 30, "10.30.0.1/24")
    tagged(run, "host2", 30, "10.30.0.2/24")
    one, two = run.namespace("host1"), run.namespace("host2")
    assert operate.ping(one, "10.10.0.2"), "the same tag connects, where both trunks have it"
    assert operate.ping(one, "10.10.0.254"), "an access port gets the VLAN's frames, without their tag"
    assert operate.ping(one, "10.0.0.254"), "the native VLAN is untagged"
    assert operate.ping(two, "10.0.0.1")
    assert not operate.ping(one, "10.30.0.2"), "a VLAN that the trunk's list lacks"
    ip(two.pid, ["address add 10.10.0.22/24 dev eth1"])
    assert operate.ping(run.namespace("nas"), "10.10.0.22"), "a trunk's native VLAN is the one that its port says"


def test_an_access_port_shows_no_tags(lab: tuple[Run, Lab]) -> None:
    run, _ = lab
    tagged(run, "host1", 10, "10.10.0.1/24")
    command = operate.capture_command(run, "nas/eth0", 1, ["icmp"])
    capture = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert capture.stderr is not None
    while "listening on" not in capture.stderr.readline():
        assert capture.poll() is None
    assert operate.ping(run.namespace("host1"), "10.10.0.254")
    said, _ = capture.communicate(timeout=30)
    assert "10.10.0.1 > 10.10.0.254" in said
    assert "vlan" not in said


def test_an_aggregated_link_speaks_lacp_and_outlives_a_cable(lab: tuple[Run, Lab]) -> None:
    run, _ = lab
    host = run.namespace("host1")
    slaves = [line for nic in ("eth1", "eth2") for line in (f"link set {nic} down", f"link set {nic} master bond0")]
    ip(
        host.pid,
        ["link add bond0 type bond mode 802.3ad miimon 100 lacp_rate fast", *slaves, "address add 10.0.0.99/24 dev bond0", "link set bond0 up"],
    )

    def partners() -> tuple[int, str]:
        """How many cables carry the link, and who is on the other side (ip-link(8))."""
        (bond,) = operate.ip_json(host.pid, "link", "show", "bond0")
        its = bond["linkinfo"]["info_data"].get("ad_info", {"num_ports": 0, "partner_mac": ""})
        return its["num_ports"], its["partner_mac"]

    (of_switch,) = [link["address"] for link in operate.ip_json(run.namespace("sw1").pid, "link", "show", "lag1")]
    assert wait_until(lambda: partners() == (2, of_switch), 60), partners()
    ip(host.pid, ["address del 10.0.0.1/24 dev eth0"])  # eth0 is in the same subnet
    assert wait_until(lambda: operate.ping(host, "10.0.0.254"), 30)
    operate.set_cable(run, "host1/eth1", plugged=False)
    assert wait_until(lambda: partners()[0] == 1, 30)
    assert wait_until(lambda: operate.ping(host, "10.0.0.254", count=5), 30)
