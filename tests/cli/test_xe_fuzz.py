"""A fuzz target for xe: whatever stands on the command line, in XE_EXTRA_ARGS or in ~/.xe, it ends with 0 or 1 and says why, and asks nobody
for anything but what the line names."""

import io
import shlex
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.xe_runner import Runner, running
from xenet.cli.xe.catalog import commands
from xenet.cli.xe.complete import candidates
from xenet.cli.xe.grammar import SWITCHES
from xenet.cli.xe.main import run

NAMES = sorted(
    {arg.name for command in commands().values() for arg in command.args} | {"params", "vm", "host", "uuid", "other-config:k", "tags:contains"}
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VALUE = st.one_of(TEXT, st.sampled_from(["true", "no", "all", "", "1", "-1", "10000000000000000000000", "00000000-0000-0000-0000-000000000000"]))
PAIR = st.builds(lambda name, value: f"{name}={value}", st.one_of(st.sampled_from(NAMES), TEXT), VALUE)
FLAG = st.sampled_from(["--minimal", "--force", "--multiple", "--all", "--debug", "--nossl", "--progress", "--", "--=", "--help", "-"])
WORD = st.one_of(PAIR, FLAG, TEXT, st.sampled_from(sorted(set(SWITCHES) - {"-s", "-h"})))
LINE = st.builds(lambda command, words: [command, *words], st.one_of(st.sampled_from(sorted(commands())), TEXT), st.lists(WORD, max_size=5))
NOWHERE = {"XENET_SOCKET": "/nonexistent/xapi", "HOME": "/nonexistent"}
FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def names_a_server(words: list[str]) -> bool:
    """Such a line would have xe look for it on the network."""
    return any(word.lstrip("-").startswith(("server=", "passwordfile=")) for word in words)


def check_reason(status: int, said: str) -> None:
    """Whatever is refused has its reason in words; what is done has none."""
    assert "Traceback" not in said
    reasons = [line for line in said.splitlines() if not line.startswith("Warning: ") and not line.endswith(" ms")]
    assert bool(reasons) == (status == 1)


@FUZZ
@given(LINE, TEXT)
def test_a_line_without_sense_is_refused_in_words(words: list[str], extra: str) -> None:
    if names_a_server([*words, *extra.split(",")]):
        return
    out, err = io.StringIO(), io.StringIO()
    status = run(words, {**NOWHERE, "XE_EXTRA_ARGS": extra}, io.StringIO("no\n"), out, err)
    assert status in (0, 1)
    check_reason(status, err.getvalue())


@FUZZ
@given(st.lists(WORD, min_size=1, max_size=4))
def test_completion_of_anything(words: list[str]) -> None:
    if not names_a_server(words):
        assert all(candidate.startswith(words[-1]) for candidate in candidates(words, NOWHERE))


@pytest.fixture(scope="module")
def canned(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("xe")
    with running(folder) as runner:
        yield runner


@FUZZ
@given(st.sampled_from([name for name, command in commands().items() if command.table and name.endswith("-list")]), st.lists(PAIR, max_size=3))
def test_a_list_with_any_filters(canned: Runner, name: str, pairs: list[str]) -> None:
    if names_a_server(pairs):
        return
    outcome = canned(shlex.join([name, *pairs]))
    assert outcome.status in (0, 1)
    check_reason(outcome.status, outcome.err)
    assert all(call[0].partition(".")[2].startswith("get_") for call in canned.pool.calls), "a list only reads"
