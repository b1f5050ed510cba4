"""xe as a program: servers, passwords, help, completion, exit status."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.canned_pool import CannedPool, uuid
from tests.cli.jsonrpc_server import serving
from tests.cli.xe_runner import Runner, running
from xenet.cli.xe.catalog import commands
from xenet.cli.xe.complete import candidates
from xenet.cli.xe.connect import server_of
from xenet.cli.xe.grammar import Misuse, parse
from xenet.cli.xe.help import explain
from xenet.model.errors import Failure

ROOT = Path(__file__).parents[2]


@pytest.fixture
def xe(tmp_path: Path) -> Iterator[Runner]:
    with running(tmp_path) as runner:
        yield runner


SERVERS: list[tuple[str, dict[str, str], tuple[str, str, str | None]]] = [
    ("", {}, ("/var/lib/xcp/xapi", "root", None)),
    ("", {"XENET_SOCKET": "/run/x"}, ("/run/x", "root", None)),
    ("", {"XENET_SOCKET": "", "XENET_URL": ""}, ("/var/lib/xcp/xapi", "root", None)),
    ("", {"XENET_SOCKET": "", "XENET_URL": "http://127.0.0.1:4/"}, ("http://127.0.0.1:4/", "root", None)),
    ("", {"XENET_URL": "http://127.0.0.1:4/", "XENET_USER": "joe", "XENET_PASSWORD": "pw"}, ("http://127.0.0.1:4/", "joe", "pw")),
    ("", {"XENET_URL": "http://127.0.0.1:4/", "XENET_SOCKET": "/run/x"}, ("/run/x", "root", None)),
    ("-s h -u joe -pw x", {"XENET_SOCKET": "/run/x"}, ("https://h:443", "joe", "x")),
    ("-s h --nossl", {}, ("http://h:80", "root", None)),
    ("-s h -p 80", {}, ("http://h:80", "root", None)),
    ("-s h -p 8443", {}, ("https://h:8443", "root", None)),
    ("-s h -p 8080 --nossl", {}, ("http://h:8080", "root", None)),
    ("-s fd00::1", {}, ("https://[fd00::1]:443", "root", None)),
    ("server=http://h:5", {}, ("http://h:5", "root", None)),
]


@pytest.mark.parametrize(("words", "environ", "server"), SERVERS, ids=str)
def test_servers(words: str, environ: Mapping[str, str], server: tuple[str, str, str | None]) -> None:
    assert server_of(parse(["vm-list", *words.split()]).connection, environ) == server


def test_password_file(tmp_path: Path) -> None:
    file = tmp_path / "pw"
    file.write_text("joe\nsecret\n")
    assert server_of(parse(["-pwf", str(file)]).connection, {})[1:] == ("joe", "secret")
    file.write_text("joe")
    with pytest.raises(Misuse, match="second"):
        server_of(parse(["-pwf", str(file)]).connection, {})


def test_login_by_name_over_tcp(tmp_path: Path) -> None:
    pool = CannedPool()
    with serving(pool.answer) as server:
        port = server.address.rpartition(":")[2]
        xe = Runner(pool, {"HOME": str(tmp_path), "XE_EXTRA_ARGS": f"-s,127.0.0.1,port={port},--nossl,username=joe,password=a\\,b"})
        assert xe("network-list --minimal name-label=green").out == f"{uuid(32)}\n"
        assert server.calls[0] == ("session.login_with_password", ["joe", "a,b", "1.0", "cli"])
        assert server.calls[-1][0] == "session.logout"


def test_local_sessions(tmp_path: Path) -> None:
    pool = CannedPool()
    with serving(pool.answer, str(tmp_path / "xapi")) as server:
        assert Runner(pool, {"XENET_SOCKET": server.address})("host-management-disable").status == 0
        assert server.calls[0] == ("session.slave_local_login_with_password", ["root", ""])


def test_a_bad_login_and_nobody_there(tmp_path: Path) -> None:
    def refuse(method: str, params: list[Any]) -> Any:
        raise Failure("SESSION_AUTHENTICATION_FAILED", params[0], "no")

    with serving(refuse) as server:
        assert Runner(CannedPool(), {})(f"vm-list server={server.address} password=x") == (1, "", "Authentication failed\n")
    outcome = Runner(CannedPool(), {"XENET_SOCKET": str(tmp_path / "none")})("vm-list")
    assert outcome.status == 1
    assert "No such file" in outcome.err
    assert "XENET_SOCKET" in outcome.err
    assert Runner(CannedPool(), {})("vm-list server=ftp://h").err == "Error: ftp://h: not a http or https URL\n"


def test_debug_shows_messages_but_no_parameters(xe: Runner) -> None:
    outcome = xe("network-list --debug --minimal name-label=green")
    assert outcome.out == f"{uuid(32)}\n"
    assert [line.split()[0] for line in outcome.err.splitlines()] == ["network.get_all_records"]


# --- help ---------------------------------------------------------------------------------------------


def test_help_names_every_command(xe: Runner) -> None:
    everything = xe("help --all").out.split()
    assert {name for name, command in commands().items() if not command.hidden} <= set(everything)
    assert "network-attach" not in everything
    assert "network-create" in xe("help").out
    assert xe("").out == xe("help").out
    assert xe("vif-create --help").out == xe("help vif-create").out


@pytest.mark.parametrize("name", commands())
def test_the_example_of_each_command_is_complete(name: str) -> None:
    """It parses, is this command, and has every required parameter."""
    command = commands()[name]
    [example] = [line.partition(": ")[2] for line in explain(command).splitlines() if "example :" in line]
    line = parse(example.split()[1:])
    assert line.command == name
    for arg in command.args:
        assert arg.default is not None or arg.name in line.params


# --- completion ---------------------------------------------------------------------------------------


def test_completion_without_a_server() -> None:
    nowhere = {"XENET_SOCKET": "/nonexistent"}
    assert candidates(["vif-p"], nowhere) == [
        "vif-param-add",
        "vif-param-clear",
        "vif-param-get",
        "vif-param-list",
        "vif-param-remove",
        "vif-param-set",
        "vif-plug",
    ]
    assert candidates(["help", "vlan-d"], nowhere) == ["vlan-destroy"]
    assert candidates(["network-create", "name-label=x", "n"], nowhere) == ["name-description="]
    assert candidates(["bond-create", "mode="], nowhere) == ["mode=active-backup", "mode=balance-slb", "mode=lacp"]
    assert candidates(["bond-create", "p"], nowhere) == ["pif-uuids=", "properties:"]
    assert candidates(["network-list", "params=bridge,na"], nowhere) == ["params=bridge,name-description", "params=bridge,name-label"]
    assert candidates(["network-list", "na"], nowhere) == ["name-description=", "name-label="]
    assert candidates(["network-param-set", "m"], nowhere) == []
    assert candidates(["network-param-set", "o"], nowhere) == ["other-config:"]
    assert candidates(["vif-unplug", "force="], nowhere) == ["force=false", "force=true"]
    assert candidates(["vm-list", "--m"], nowhere) == ["--minimal", "--multiple"]
    assert candidates(["vm-list", "-s", ""], nowhere) == []
    assert candidates(["vif-plug", "uuid="], nowhere) == []


def test_completion_of_uuids_and_names(xe: Runner) -> None:
    assert candidates(["vif-plug", "uuid=00"], xe.environ) == [f"uuid={uuid(number)}" for number in (71, 72, 73)]
    assert candidates(["bond-create", f"pif-uuids={uuid(41)},{uuid(46)[:8]}"], xe.environ) == [f"pif-uuids={uuid(41)},{uuid(46)}"]
    assert candidates(["vm-start", "vm=v"], xe.environ) == ["vm=vm1", "vm=vm2"]
    assert candidates(["vm-start", "on=host"], xe.environ) == ["on=host1", "on=host2"]


def _bash(line: str, environ: Mapping[str, str], bin_folder: Path) -> list[str]:
    """What bash offers for a line, with its own word breaks at = and :."""
    program = bin_folder / "xe"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m xenet.cli.xe "$@"\n')
    program.chmod(0o755)
    script = f"source {ROOT}/completions/xe.bash; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _xe; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    env = {**os.environ, **environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=True).stdout.split()


def test_bash_completes_what_stands_behind_its_own_word_breaks(xe: Runner, tmp_path: Path) -> None:
    assert _bash("xe vlan-cr", xe.environ, tmp_path) == ["vlan-create"]
    assert _bash("xe vlan-create ", xe.environ, tmp_path)[-3:] == ["network-uuid=", "pif-uuid=", "vlan="]
    assert _bash("xe vif-plug uuid=", xe.environ, tmp_path) == [uuid(number) for number in (71, 72, 73)]
    assert _bash("xe bond-create mode=la", xe.environ, tmp_path) == ["lacp"]


# --- the process --------------------------------------------------------------------------------------


def test_the_program_exits_as_it_should(xe: Runner) -> None:
    program = [sys.executable, "-m", "xenet.cli.xe"]
    env = {**os.environ, **xe.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([*program, "network-list", "--minimal"], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    failed = subprocess.run([*program, "network-param-list", "uuid=x"], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (failed.returncode, failed.stdout) == (1, "")


def test_a_reader_that_has_enough_is_no_error_of_ours(xe: Runner) -> None:
    env = {**os.environ, **xe.environ, "PYTHONPATH": str(ROOT / "src")}
    line = f"{sys.executable} -m xenet.cli.xe pif-list params=all | true"
    done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_nothing_heavy_is_imported() -> None:
    """xe starts often: what a command does not need must not be loaded before it runs."""
    script = (
        "import io, sys; from xenet.cli.xe.main import run; run(['help'], {}, io.StringIO(), io.StringIO(), sys.stderr); print(*sorted(sys.modules))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    loaded = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    assert {"msgspec", "immutables", "ssl", "json", "socket", "xenet.client", "xenet.model", "argparse"} & set(loaded) == set()
