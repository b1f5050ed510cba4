"""A lab's hardware without its pool: namespaces, cables, switches, and nothing of them afterwards."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from xenet.guests import held
from xenet.lab import frames, operate, process
from xenet.lab.build import build, inside, ip
from xenet.lab.picture import observe
from xenet.lab.ports import access
from xenet.lab.run import LabError, Run, all_runs, base, find_run
from xenet.lab.topology import default_lab
from xenet.lab.up import clean, down, making

pytestmark = pytest.mark.kernel
LAB = default_lab(2, 2, 0)


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XENET_RUN", str(tmp_path / "labs"))
    return tmp_path / "labs"


@pytest.fixture
def wires(runs: Path) -> Iterator[Run]:
    run = find_run("lab")
    with making(run):
        run.save(LAB)
        build(run, LAB)
        yield run
        down(run)


def _inside(run: Run, name: str, *command: str) -> str:
    done = subprocess.run(inside(operate.locate(run, LAB, name).pid, command), check=True, capture_output=True, text=True)
    return done.stdout


def _processes_of(directory: Path) -> list[int]:
    """Every process whose command line names the directory."""
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and str(directory).encode() in _command_line(p)]


def _command_line(of: Path) -> bytes:
    try:
        return (of / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _wait_until(true: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def test_hosts_and_router_reach_each_other_through_the_switch(wires: Run) -> None:
    for source, target in (("host1", "10.0.0.254"), ("host2", "10.0.0.254"), ("router", "10.0.0.1"), ("host1", "10.0.0.2")):
        assert operate.ping(wires.namespace(source), target), f"{source} to {target}"
    assert not operate.ping(wires.namespace("host1"), "10.0.0.99")


def test_a_host_has_its_nics_with_their_macs_and_nothing_else(wires: Run) -> None:
    links = {link["ifname"]: link for link in operate.ip_json(wires.namespace("host2").pid, "address", "show")}
    assert set(links) == {"lo", "eth0", "eth1"}
    assert links["eth1"]["address"] == "02:00:00:00:02:01"
    assert [a["local"] for a in links["eth0"]["addr_info"]] == ["10.0.0.2"], "no link-local one"
    assert links["eth1"]["addr_info"] == []


def test_the_switch_has_no_address_and_says_nothing_by_itself(wires: Run) -> None:
    links = operate.ip_json(wires.namespace("sw1").pid, "address", "show")
    its = {link["ifname"]: link["addr_info"] for link in links if link["ifname"] != "lo"}
    assert set(its) == {"sw1", "router-eth0", "host1-eth0", "host1-eth1", "host2-eth0", "host2-eth1"}
    assert not any(its.values())
    (bridge,) = [link for link in links if link["ifname"] == "sw1"]
    settings = bridge["linkinfo"]["info_data"]
    assert (settings["stp_state"], settings["mcast_snooping"], settings["forward_delay"]) == (0, 0, 0)
    heard = subprocess.run(["timeout", "3", *operate.capture_command(wires, "host2/eth1", None)], capture_output=True, text=True, check=False).stdout
    assert heard.strip() == ""


def test_a_pulled_cable_takes_the_carrier_and_a_plugged_one_gives_it_back(wires: Run) -> None:
    def carrier() -> str:
        return _inside(wires, "host1", "ip", "-br", "link", "show", "eth0").split()[1]

    assert carrier() == "UP"
    operate.set_cable(wires, "host1/eth0", plugged=False)
    assert _wait_until(lambda: carrier() == "DOWN")
    assert not operate.ping(wires.namespace("host1"), "10.0.0.254")
    assert operate.ping(wires.namespace("host2"), "10.0.0.254"), "the others notice nothing"
    assert [(c.owner, c.nic) for c in observe(wires).cables if not c.plugged] == [("host1", "eth0")]
    operate.set_cable(wires, "host1/eth0", plugged=True)
    assert _wait_until(lambda: carrier() == "UP")
    assert _wait_until(lambda: operate.ping(wires.namespace("host1"), "10.0.0.254"))


def test_a_cable_that_is_not_there_is_said(wires: Run) -> None:
    for where, said in (("host9/eth0", "no host host9"), ("host1/eth9", "host1 has no NIC eth9; it has eth0, eth1"), ("sw1/eth0", "no host sw1")):
        with pytest.raises(LabError, match=said):
            operate.set_cable(wires, where, plugged=False)


@pytest.mark.parametrize("privileged", [True, False], ids=["tcpdump listens", "we listen, tcpdump reads"])
def test_captures_show_macs_and_tags(wires: Run, privileged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "privileges_can_be_dropped", lambda: privileged)
    tagged = "ffffffffffff 020000000101 8100 0007 88b5" + 46 * "00"  # 0x88b5: the EtherType for local experiments (IEEE 802)
    send = f"import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth1', 0)); s.send(bytes.fromhex('{tagged}'))"
    command = operate.capture_command(wires, "host2/eth1", 1, ["ether", "host", "02:00:00:00:01:01"])
    capture = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert capture.stderr is not None
    while "listening on" not in capture.stderr.readline():
        assert capture.poll() is None, "it ended before it began"
    _inside(wires, "host1", sys.executable, "-c", send)
    said, _ = capture.communicate(timeout=20)
    assert "02:00:00:00:01:01 > ff:ff:ff:ff:ff:ff" in said
    assert "vlan 7" in said
    assert capture.returncode == 0


def test_capturing_at_what_is_not_there_is_said(wires: Run) -> None:
    with pytest.raises(LabError, match="host1 has no device eth9"):
        operate.capture_command(wires, "host1/eth9")
    with pytest.raises(LabError, match="router has no device eth1"):
        operate.capture_command(wires, "router/1")


def test_a_command_runs_inside_with_its_own_exit_status(wires: Run) -> None:
    done = subprocess.run(operate.command_in(wires, "router", ["sh", "-c", "hostname; exit 7"]), capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("router\n", 7)
    with pytest.raises(LabError, match="no vm9 here; there are sw1, router, host1, host2"):
        operate.command_in(wires, "vm9", ["true"])


def test_machines_are_pinged_all_with_all(wires: Run) -> None:
    pings = operate.ping_all({name: (wires.namespace(name), address) for name, address in (("router", "10.0.0.254"), ("host1", "10.0.0.1"))})
    assert (pings.sent, pings.received) == (2, 2)
    assert [(p.source, p.target, p.ok) for p in pings.pairs] == [("router", "host1", True), ("host1", "router", True)]


def test_two_labs_with_the_same_addresses_side_by_side(wires: Run) -> None:
    other = find_run("other")
    with making(other):
        other.save(LAB)
        build(other, LAB)
        operate.set_cable(other, "router/eth0", plugged=False)
        assert operate.ping(wires.namespace("host1"), "10.0.0.254")
        assert not operate.ping(other.namespace("host1"), "10.0.0.254")
        assert [run.name for run in all_runs()] == ["lab", "other"]
        down(other)
    assert operate.ping(wires.namespace("host1"), "10.0.0.254")


def test_a_lab_that_is_there_is_not_made_again(wires: Run) -> None:
    with pytest.raises(LabError, match="is here already"), making(wires):
        pass
    assert operate.ping(wires.namespace("host1"), "10.0.0.254")


def test_nothing_is_left_after_down(wires: Run, runs: Path) -> None:
    subprocess.Popen(inside(wires.namespace("host1").pid, ["sleep", "60"]), start_new_session=True).returncode = 0
    process.start(wires.process("agent"), ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done", str(wires.directory)], {})
    assert process.first_line(wires.process("agent"), 10) == "ready"
    inside_host = wires.namespace("host1").processes()
    assert len(inside_host) == 2
    assert _processes_of(wires.directory)
    down(wires)
    assert _processes_of(wires.directory) == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in inside_host)
    assert list(runs.iterdir()) == []
    down(wires)


def test_an_exception_while_it_is_made_leaves_nothing(runs: Path) -> None:
    run = find_run("lab")
    with pytest.raises(KeyboardInterrupt), making(run):
        run.save(LAB)
        build(run, LAB)
        raise KeyboardInterrupt
    assert _processes_of(run.directory) == []
    assert list(runs.iterdir()) == []


def test_clean_takes_what_a_killed_maker_left_and_spares_what_is_being_made(wires: Run, runs: Path) -> None:
    script = (
        "import os, signal\n"
        "from xenet.lab.build import build\nfrom xenet.lab.run import find_run\n"
        "from xenet.lab.topology import default_lab\nfrom xenet.lab.up import making\n"
        "run = find_run('crashed')\n"
        "with making(run):\n    run.save(default_lab(2, 2, 0)); build(run, default_lab(2, 2, 0)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    crashed = find_run("crashed")
    assert operate.ping(crashed.namespace("host1"), "10.0.0.254"), "it is there, and nobody's"
    assert clean() == ["crashed"]
    assert _processes_of(crashed.directory) == []
    assert clean(everything=True) == [], "this test owns the other one"
    assert [run.name for run in all_runs()] == ["lab"]
    assert operate.ping(wires.namespace("host1"), "10.0.0.254")


def test_what_the_kernel_refuses_is_said_in_one_line(wires: Run) -> None:
    with pytest.raises(LabError, match=r"^ip: .*Cannot find device.*$"):
        ip(wires.namespace("host1").pid, ["link set dev eth0 up", "link set dev nowhere up"])


def test_a_lab_in_pieces_says_how_to_get_rid_of_it(wires: Run) -> None:
    wires.namespace("host1").kill()
    with pytest.raises(LabError, match="xenet lab down --name lab"):
        operate.locate(wires, LAB, "host1")


def test_a_process_says_why_it_ended(tmp_path: Path) -> None:
    process.start(tmp_path / "server", ["/bin/sh", "-c", "echo busy >&2; echo no address >&2; exit 1"], {})
    with pytest.raises(LabError, match="server ended: no address"):
        process.first_line(tmp_path / "server", 10)
    assert not process.is_running(tmp_path / "server")
    process.start(tmp_path / "server", ["/bin/sh", "-c", "exec sleep 60"], {})
    try:
        with pytest.raises(LabError, match="runs already"):
            process.start(tmp_path / "server", ["true"], {})
        with pytest.raises(LabError, match=r"not ready after 0 s: no address"):
            process.first_line(tmp_path / "server", 0.1)
    finally:
        process.stop(tmp_path / "server")
    process.stop(tmp_path / "server")
    assert held.holder(tmp_path / "server" / "pid") is None


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "x" * 60])
def test_a_lab_has_a_name_that_is_a_folder(name: str) -> None:
    with pytest.raises(LabError, match="is no name for a lab"):
        find_run(name)


def test_where_labs_live(runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert base() == runs
    monkeypatch.delenv("XENET_RUN")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert base() == tmp_path / "xenet" / "labs"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert base() == tmp_path / ".cache" / "xenet" / "labs"


def test_ports_that_need_more_than_there_is_are_said(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = msgspec.structs.replace(LAB, machines=(msgspec.structs.replace(LAB.machines[0], port=access(7)),))
    monkeypatch.setattr("xenet.lab.vswitch.is_here", lambda: False)
    monkeypatch.setattr("xenet.lab.build._switch_lines", lambda switch, filtering: [f"link add name {switch} type no-such-kind"])
    run = find_run("lab")
    said = r"sw1: ip: .*its ports need a kernel with VLAN filtering in its bridge, or Open vSwitch"
    with pytest.raises(LabError, match=said), making(run):
        build(run, lab)
    assert not run.directory.exists()


def test_pings_go_to_the_nic_with_the_lowest_number_whatever_came_first(wires: Run) -> None:
    for number, device in enumerate(("br9", "eth10", "eth2")):
        ip(wires.namespace("sw1").pid, [f"link add {device} type bridge", f"address add 10.9.{number}.1/24 dev {device}"])
    assert operate.first_address(wires.namespace("sw1")) == "10.9.2.1"


def test_a_virtual_machine_is_listened_to_at_its_tap(wires: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operate, "guests", lambda run, lab: [operate.Guest("vm9", "uuid-9", 3, "host1", None)])
    ip(wires.namespace("host1").pid, ["link add tap3.1 type bridge"])
    for where in ("vm9/1", "uuid-9/eth1"):
        assert operate.capture_command(wires, where, 1) == operate.capture_command(wires, "host1/tap3.1", 1)
    with pytest.raises(LabError, match=r"host1 has no device tap3\.0"):
        operate.capture_command(wires, "vm9")
