"""A whole lab as its users meet it: `xenet lab` in a process of its own, a server, agents, guests, real packets."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from xenet.cli.lab import lab
from xenet.client import Client
from xenet.lab import process
from xenet.lab.run import Run

pytestmark = pytest.mark.kernel
XENET = [sys.executable, "-m", "xenet.cli.xenet", "lab"]


def _environment(labs: Path) -> Mapping[str, str]:
    return {**os.environ, "XENET_RUN": str(labs), "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"}


def _lab(labs: Path, *arguments: str, status: int = 0, **environment: str) -> str:
    """What the command printed."""
    surroundings = {**_environment(labs), **environment}
    done = subprocess.run([*XENET, *arguments], capture_output=True, text=True, check=False, env=surroundings, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stdout + done.stderr


def _processes_of(directory: Path) -> list[str]:
    """The command lines that name the directory."""
    lines = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and folder.name != str(os.getpid()):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            lines += [line] if str(directory) in line else []
    return lines


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two hosts, two NICs each, three VMs, for the tests that leave it as they found it."""
    directory = tmp_path_factory.mktemp("labs")
    try:
        line = _lab(directory, "up", "--nics", "2", "--vms", "3")
        assert line.startswith("XENET_URL=http://127.0.0.1:")
        yield directory
    finally:
        subprocess.run([*XENET, "down"], check=False, env=_environment(directory), capture_output=True)
        assert not (directory / "lab").exists()


def _client(labs: Path) -> Client:
    return Client.connect(str(Run(labs / "lab").socket)).login()


def test_the_url_answers_where_the_lab_was_started(labs: Path) -> None:
    line = (labs / "lab" / "ready").read_text()
    words = dict(word.split("=", 1) for word in line.split())
    assert set(words) == {"XENET_URL", "XENET_USER", "XENET_SOCKET"}
    with Client.connect(words["XENET_URL"]) as client:
        client.login("root", "xenet")
        assert sorted(r["name_label"] for r in client.call("host.get_all_records").values()) == ["host1", "host2"]


def test_everyone_reaches_everyone(labs: Path) -> None:
    said = json.loads(_lab(labs, "ping-all", "--json"))
    assert (said["sent"], said["received"]) == (12, 12)
    assert {(p["from"], p["to"]) for p in said["pairs"]} == {(a, b) for a in NAMES for b in NAMES if a != b}
    assert all(p["ok"] for p in said["pairs"])
    assert "12 of 12 got through" in _lab(labs, "ping-all")


NAMES = ("vm1", "vm2", "vm3", "router")


def test_status_says_where_everything_is(labs: Path) -> None:
    said = json.loads(_lab(labs, "status", "--json"))
    host1, host2 = said["hosts"]
    assert (host1["name"], host1["nics"], host1["agent"], said["server"]) == ("host1", ["eth0", "eth1"], True, True)
    assert [(b["name"], b["nics"], b["address"]) for b in host2["bridges"]] == [("xenbr0", ["eth0"], "10.0.0.2/24"), ("xenbr1", ["eth1"], "")]
    assert [(p["guest"], p["device"], p["address"]) for b in host1["bridges"] for p in b["ports"]] == [
        ("vm1", "eth0", "10.0.0.101/24"),
        ("vm3", "eth0", "10.0.0.103/24"),
    ]
    text = _lab(labs, "status")
    assert "xenbr0" in text
    assert "router" in text


def test_exec_gives_the_commands_own_status_and_options(labs: Path) -> None:
    assert _lab(labs, "exec", "vm1", "--", "hostname") == "vm1\n"
    assert "02:00:00:00:02:01" in _lab(labs, "exec", "host2", "ip", "-br", "link", "show", "eth1")
    _lab(labs, "exec", "vm2", "--", "sh", "-c", "exit 7", status=7)
    assert "no vm9 here" in _lab(labs, "exec", "vm9", "true", status=2)
    assert "no lab nowhere here" in _lab(labs, "exec", "--name", "nowhere", "vm1", "true", status=2)
    _lab(labs, "exec", "vm1", status=2)


def test_a_guest_that_the_api_reboots_has_its_address_again(labs: Path) -> None:
    with _client(labs) as client:
        (vm,) = client.call("VM.get_by_name_label", "vm1")
        before = client.call("VM.get_domid", vm)
        client.call("VM.hard_reboot", vm)
        assert client.call("VM.get_domid", vm) != before
    assert "10.0.0.101/24" in _lab(labs, "exec", "vm1", "--", "ip", "-br", "-4", "address", "show", "eth0")
    assert json.loads(_lab(labs, "ping-all", "--json"))["received"] == 12


def test_a_pulled_cable_cuts_a_host_off_and_shows(labs: Path) -> None:
    _lab(labs, "cut", "host2/eth0")
    try:
        said = json.loads(_lab(labs, "ping-all", "--json", status=1))
        assert {(p["from"], p["to"]) for p in said["pairs"] if p["ok"]} == {(a, b) for a in NAMES for b in NAMES if a != b and "vm2" not in (a, b)}
        assert "cable pulled: host2/eth0 - sw1" in _lab(labs, "status")
        assert ". pulled ." in _lab(labs, "graph", "--format", "mermaid")
    finally:
        _lab(labs, "mend", "host2/eth0")
    assert json.loads(_lab(labs, "ping-all", "--json"))["received"] == 12
    assert "host2 has no NIC eth7" in _lab(labs, "cut", "host2/eth7", status=2)


def test_a_graph_can_be_drawn(labs: Path) -> None:
    texts = [text.text for text in ET.fromstring(_lab(labs, "graph")).iter("{http://www.w3.org/2000/svg}text")]
    assert {"sw1", "router", "host1", "xenbr0", "vm3", "eth0 10.0.0.103/24"} <= set(texts)
    assert 'subgraph cluster_host2 { label="host2"' in _lab(labs, "graph", "--format", "dot")


def test_a_capture_sees_the_frames_of_a_guest(labs: Path) -> None:
    capture = subprocess.Popen(
        [*XENET, "capture", "vm1/0", "--count", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(labs)
    )
    assert capture.stderr is not None
    while "listening on" not in capture.stderr.readline():
        assert capture.poll() is None, "it ended before it began"
    _lab(labs, "exec", "vm1", "--", "ping", "-c", "1", "10.0.0.254")
    said, _ = capture.communicate(timeout=30)
    assert capture.returncode == 0
    assert " > " in said


def test_an_agent_that_was_killed_is_started_again(labs: Path) -> None:
    assert _lab(labs, "revive") == ""
    os.kill(int((labs / "lab" / "processes" / "host1" / process.PID).read_text()), signal.SIGKILL)
    assert "host1 (no agent)" in _lab(labs, "status")
    with _client(labs) as client:
        unplugged = _pif(client, "host1", "eth1")
        assert _lab(labs, "revive") == "host1 has an agent again\n"
        assert "(no agent)" not in _lab(labs, "status")
        client.call("PIF.unplug", unplugged)
        os.kill(int((labs / "lab" / "processes" / "host1" / process.PID).read_text()), signal.SIGKILL)
        assert _lab(labs, "revive") == "host1 has an agent again\n", "a NIC that is not in use, or a bond's, is not waited for"
        client.call("PIF.plug", unplugged)


def test_a_server_that_was_killed_is_started_again_where_it_was(labs: Path) -> None:
    def kill(name: str) -> None:
        os.kill(int((labs / "lab" / "processes" / name / process.PID).read_text()), signal.SIGKILL)

    with _client(labs) as client:
        network = client.call("network.create", {"name_label": "kept", "other_config": {}})
    kill("server")
    assert "the server is gone" in _lab(labs, "status")
    assert _lab(labs, "revive", "host1") == "", "its agent lives"
    kill("host1")
    assert "`xenet lab revive` starts all of it" in _lab(labs, "revive", "host1", status=1)
    assert _lab(labs, "revive", "server") == "the server runs again\n"
    with Client.connect((labs / "lab" / "ready").read_text().split()[0].removeprefix("XENET_URL=")) as client:
        client.login("root", "xenet")
        assert client.call("network.get_name_label", network) == "kept"
        assert "host1 (no agent)" in _lab(labs, "status")
        assert _lab(labs, "revive", "host1") == "host1 has an agent again\n"
    kill("server")
    kill("host2")
    assert _lab(labs, "revive") == "the server runs again\nhost2 has an agent again\n"
    with _client(labs) as client:
        for host in ("host1", "host2"):
            pif = _pif(client, host, "eth1")
            client.call("PIF.unplug", pif)
            client.call("PIF.plug", pif)
        client.call("network.destroy", network)
    assert "host1, host2" in _lab(labs, "revive", "vm1", status=2)
    assert "12 of 12 got through" in _lab(labs, "ping-all")


def _pif(client: Client, host: str, device: str) -> str:
    (ref,) = client.call("host.get_by_name_label", host)
    return next(pif for pif, record in client.call("PIF.get_all_records").items() if (record["host"], record["device"]) == (ref, device))


def test_a_lab_that_is_up_is_not_made_again_and_not_cleaned(labs: Path) -> None:
    assert "lab lab is here already" in _lab(labs, "up", status=1)
    assert _lab(labs, "clean") == ""
    assert json.loads(_lab(labs, "status", "--json"))["server"]


def test_another_lab_with_the_same_addresses_beside_it(labs: Path) -> None:
    try:
        _lab(labs, "up", "--name", "two", "--hosts", "1", "--nics", "1", "--vms", "1")
        assert json.loads(_lab(labs, "ping-all", "--name", "two", "--json"))["received"] == 2
        _lab(labs, "cut", "--name", "two", "host1/eth0")
        assert json.loads(_lab(labs, "ping-all", "--name", "two", "--json", status=1))["received"] == 0
        assert json.loads(_lab(labs, "ping-all", "--json"))["received"] == 12
    finally:
        _lab(labs, "down", "--name", "two")
    assert _processes_of(labs / "two") == []
    assert sorted(folder.name for folder in labs.iterdir()) == ["lab"]
    assert "no lab two here" in _lab(labs, "down", "--name", "two", status=2)


@pytest.mark.parametrize("stage", ["namespaces/sw1/init", "processes/server/pid", "processes/host1/pid"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_up_that_is_interrupted_leaves_nothing(tmp_path: Path, stage: str, number: signal.Signals) -> None:
    up = subprocess.Popen([*XENET, "up"], env=_environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "lab" / stage).exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    up.send_signal(number)
    _, said = up.communicate(timeout=60)
    assert up.returncode != 0, said
    assert "Traceback" not in said
    assert _processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_clean_takes_away_a_lab_whose_server_was_killed(tmp_path: Path) -> None:
    _lab(tmp_path, "up", "--hosts", "1", "--nics", "1", "--vms", "1")
    try:
        server = Run(tmp_path / "lab").process("server")
        os.kill(int((server / process.PID).read_text()), signal.SIGKILL)
        deadline = time.monotonic() + 10
        while process.is_running(server) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert _lab(tmp_path, "clean") == "lab lab taken away\n"
    finally:
        subprocess.run([*XENET, "down"], check=False, env=_environment(tmp_path), capture_output=True)
    assert _processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_cannot_start_is_said_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nif 'agent' in sys.orig_argv: sys.exit('not today')\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    labs = tmp_path / "labs"
    assert _lab(labs, "up", "--hosts", "1", status=1, PYTHONPATH=path) == "xenet lab: host1 ended: SystemExit: not today\n"
    assert list(labs.iterdir()) == []


def test_what_can_be_no_lab_is_said_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    assert _lab(tmp_path, "up", "--datapath", "nonsense", status=2).endswith("'nonsense' is not one of 'auto', 'bridge', 'openvswitch'.\n")
    assert "100 hosts: a lab has 1 to 99" in _lab(tmp_path, "up", "--hosts", "100", status=2)
    assert list(tmp_path.iterdir()) == []


def test_it_runs_in_a_user_namespace(tmp_path: Path) -> None:
    """As `unshare -Urn` gives it to any user: no rights outside, a loopback that is down."""
    xenet = " ".join(XENET)
    script = f"{xenet} up --hosts 2 --nics 1 --vms 2 >&2 && {xenet} ping-all --json; {xenet} down >&2; ls -A {tmp_path}"
    probe = subprocess.run(["unshare", "-Urn", "true"], check=False, capture_output=True)
    if probe.returncode != 0:
        pytest.skip("user namespaces are not allowed here (user.max_user_namespaces, apparmor_restrict_unprivileged_userns)")
    done = subprocess.run(
        ["unshare", "-Urn", "sh", "-c", script], capture_output=True, text=True, check=False, env=_environment(tmp_path), timeout=120
    )
    assert json.loads(done.stdout)["received"] == 6, done.stderr
    assert _processes_of(tmp_path) == []


@pytest.mark.parametrize("command", ["up", "down", "clean", "status", "ping-all", "graph", "exec", "cut", "mend", "capture", "revive"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    said = CliRunner().invoke(lab, [command, "--help"])
    assert said.exit_code == 0
    assert f"Example: xenet lab {command} " in said.output.replace("\n", " ")
    assert f"  {command} " in CliRunner().invoke(lab, ["--help"]).output
