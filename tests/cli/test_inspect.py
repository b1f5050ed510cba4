"""`xenet plan`, `drift` and `check` against a server that says what the test wants: what is printed, and the exit status."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.cli.jsonrpc_server import Recorder, serving
from xenet.cli.xenet import cli
from xenet.model.change import Draft
from xenet.model.errors import Failure
from xenet.model.network import Network
from xenet.store.sqlite import SqliteStore

HOSTS = {"OpaqueRef:2": {"name_label": "host2"}, "OpaqueRef:1": {"name_label": "host1"}}
STEP = {"kind": "CreateSwitch", "command": "ip link add xapi0", "reason": "the network is in use here", "object": "network u", "failure": ""}
DRIFT = {"class": "VIF", "uuid": "v", "name": "vif1.0", "field": "addresses", "wanted": "xapi0", "observed": "[x] y"}


class Server:
    """What it answers, by message; a Failure is raised. Hosts have answers of their own."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {
            "session.login_with_password": "OpaqueRef:session",
            "session.logout": "",
            "host.get_all_records": HOSTS,
            **{f"host.get_{topic} OpaqueRef:{n}": [] for topic in ("plan", "drift") for n in (1, 2)},
            "pool.get_violations": [],
        }
        self.recorder: Recorder

    def answer(self, method: str, params: list[Any]) -> Any:
        asked = " ".join([method, *params[1:]]) if method.startswith("host.get_") else method
        result = self.results[asked]
        if isinstance(result, Failure):
            raise result
        return result

    def __call__(self, *words: str, **environ: str) -> Result:
        return CliRunner().invoke(cli, words, env={"XENET_SOCKET": self.recorder.address, "COLUMNS": "100", **environ})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server()
    with serving(made.answer, str(tmp_path / "xapi")) as made.recorder:
        yield made


@pytest.mark.parametrize("words", ["plan", "drift", "check"])
def test_where_all_is_well_nothing_is_said(server: Server, words: str) -> None:
    done = server(words)
    assert (done.exit_code, done.output) == (0, "")
    assert server.recorder.calls[-1][0] == "session.logout"


def test_a_plan_is_a_command_and_its_reason_a_line_under_its_host(server: Server) -> None:
    failed = {**STEP, "command": "ip link set eth1", "object": "VIF v", "failure": "eth1 belongs to br9"}
    server.results["host.get_plan OpaqueRef:1"] = [{"host": "host1", **STEP}, {"host": "host1", **failed}]
    server.results["host.get_plan OpaqueRef:2"] = [{"host": "host2", **STEP}]
    done = server("plan")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "# host1",
        "ip link add xapi0    # the network is in use here: network u",
        "ip link set eth1    # the network is in use here: VIF v",
        "    # when last tried: eth1 belongs to br9",
        "# host2",
        "ip link add xapi0    # the network is in use here: network u",
    ]


@pytest.mark.parametrize("failure", [Failure("HOST_OFFLINE", "OpaqueRef:1"), Failure("CANNOT_CONTACT_HOST", "OpaqueRef:1")])
@pytest.mark.parametrize(("command", "said"), [("plan", "ip link add"), ("drift", "vif1.0")])
def test_a_host_that_cannot_answer_is_named_and_the_others_are_heard(server: Server, command: str, said: str, failure: Failure) -> None:
    server.results[f"host.get_{command} OpaqueRef:1"] = failure
    server.results[f"host.get_{command} OpaqueRef:2"] = [{"host": "host2", **STEP, **DRIFT}]
    done = server(command)
    assert done.exit_code == 1
    assert done.stderr == f"xenet: host1: its agent is not there to answer ({failure.code})\n"
    assert said in done.stdout


def test_a_refusal_names_what_it_is_about(server: Server) -> None:
    server.results["pool.get_violations"] = Failure("HOST_DISABLED", "OpaqueRef:2")
    server.results["VM.get_record"] = Failure("HANDLE_INVALID", "VM", "OpaqueRef:2")
    server.results["host.get_record OpaqueRef:2"] = {"uuid": "u2", **HOSTS["OpaqueRef:2"]}
    done = server("check")
    assert (done.exit_code, done.stderr) == (1, "xenet: HOST_DISABLED u2 (host2)\n")
    assert server.recorder.calls[-1][0] == "session.logout"


def test_drift_is_a_table(server: Server) -> None:
    server.results["host.get_drift OpaqueRef:1"] = [{"host": "host1", **DRIFT}]
    done = server("drift")
    assert done.exit_code == 0
    assert [word.strip() for word in done.stdout.splitlines()[-2].split("│")[1:-1]] == ["host1", "VIF", "vif1.0", "addresses", "xapi0", "[x] y"]


def test_drift_as_json_has_all_of_it(server: Server) -> None:
    assert json.loads(server("drift", "--json").stdout) == []
    server.results["host.get_drift OpaqueRef:2"] = [{"host": "host2", **DRIFT}]
    done = server("drift", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [{"host": "host2", **DRIFT}])


def test_violations_are_lines_with_their_repair_and_exit_status_1(server: Server) -> None:
    server.results["pool.get_violations"] = [{"text": "VIF v: is odd", "repair": "xe vif-plug uuid=v"}, {"text": "2 pools", "repair": ""}]
    done = server("check")
    assert (done.exit_code, done.stdout) == (1, "VIF v: is odd    # mend: xe vif-plug uuid=v\n2 pools\n")


def test_a_stopped_servers_file_is_read(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "xenet.db")) as store:
        draft = Draft(store.snapshot())
        for uuid in ("one", "two"):
            draft.put(Network(uuid=uuid, bridge="xapi0", other_config={}))
        store.commit(draft.change())
    done = CliRunner().invoke(cli, ["check", "--state", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (1, "2 networks with bridge xapi0\n")
    (tmp_path / "xenet.db").write_bytes(b"not a database at all" * 99)
    done = CliRunner().invoke(cli, ["check", "--state", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"xenet: {tmp_path / 'xenet.db'} cannot be read")


def test_the_server_is_found_by_option_or_environment(server: Server, tmp_path: Path) -> None:
    assert server("plan", "--socket", server.recorder.address, XENET_SOCKET="/nowhere").exit_code == 0
    with serving(server.answer) as other:
        environ = {"XENET_SOCKET": "", "XENET_USER": "ann", "XENET_PASSWORD": "secret"}
        assert server("plan", "-s", other.address, **environ).exit_code == 0
        assert server("check", **environ, XENET_URL=other.address).exit_code == 0
        logins = [params[:2] for method, params in other.calls if method == "session.login_with_password"]
    assert logins == [["ann", "secret"], ["ann", "secret"]]
    nowhere = str(tmp_path / "nowhere")
    assert server("plan", "--socket", nowhere).stderr == f"xenet: {nowhere}: No such file or directory\n"


def test_a_labs_server_is_found_by_the_labs_name(tmp_path: Path, server: Server) -> None:
    folder = tmp_path / "labs" / "docs"
    (folder / "server").mkdir(parents=True)
    environ = {"XENET_RUN": str(tmp_path / "labs"), "XENET_SOCKET": ""}
    assert "no lab docs here" in server("plan", "--name", "docs", **environ).stderr
    (folder / "lab.json").write_text('{"hosts": [], "machines": [], "vms": [], "switches": [], "cables": []}')
    with serving(server.answer, str(folder / "server" / "xapi")) as labs:
        assert server("plan", "--name", "docs", **environ).exit_code == 0
        assert labs.calls[0] == ("session.login_with_password", ["root", "", "1.0", "xenet"])


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("plan",), 2, "which server?"),
        (("drift", "--name", "a", "--socket", "b"), 2, "exclude one another"),
        (("check", "--state", ".", "--name", "a"), 2, "exclude one another"),
        (("plan", "-s", "ftp://x"), 2, "not a http or https URL"),
        (("plan", "--name", "no name"), 2, "is no name for a lab"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_said(server: Server, words: tuple[str, ...], status: int, said: str) -> None:
    done = server(*words, XENET_SOCKET="", XENET_URL="")
    assert done.exit_code == status
    assert said in done.stderr


def test_a_servers_refusal_is_one_line(server: Server) -> None:
    server.results["host.get_all_records"] = Failure("SESSION_INVALID", "x")
    done = server("plan")
    assert (done.exit_code, done.stderr) == (1, "xenet: SESSION_INVALID x\n")
