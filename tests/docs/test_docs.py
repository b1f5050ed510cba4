"""The documentation against the programs: links lead somewhere, commands that are shown exist, pictures are whole, the README's walk works."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from xenet.cli.xe.catalog import commands
from xenet.cli.xe.execute import unknown_parameters
from xenet.cli.xe.grammar import parse
from xenet.cli.xenet import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])
KINDS = ("flowchart", "graph", "sequenceDiagram", "stateDiagram-v2", "classDiagram", "erDiagram")
WALK_S = 300
"""Seconds for the README's walk: five minutes, as it promises."""
ELSEWHERE = re.compile(r"\b(?:pypi|registry|ghcr|docker|proxy|crates)\.[a-z]|hosted\.org|npmjs|(?<![\w$}.])/(?:work|home|root|tmp|Users)/")
"""Hosts of package registries, and paths that only one machine has."""
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|\$\(|[;&|(]|\bthen\b|\bdo\b)\s*((?:xe|xenet)\s[^;&|#)>]*)")
_SUBSTITUTION = re.compile(r"\$\([^()]*\)")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


class Block(NamedTuple):
    """A fenced block and its language."""

    language: str
    text: str


def blocks(text: str) -> list[Block]:
    return [Block(*found) for found in _FENCE.findall(text)]


def shell_lines(block: Block) -> Iterator[str]:
    """The lines of a block that somebody types; in a console those after the prompt."""
    text = block.text.replace("\\\n", " ")
    for line in text.splitlines():
        if block.language == "console" and line.startswith("$ "):
            yield line[2:]
        elif block.language == "sh" and not line.lstrip().startswith("#"):
            yield line


def typed(line: str) -> Iterator[list[str]]:
    """The xe and xenet commands of a line as words, those inside $(...) too, whose place then takes a V."""
    while inner := _SUBSTITUTION.search(line):
        yield from typed(inner[0][2:-1])
        line = f"{line[: inner.start()]}V{line[inner.end() :]}"
    for found in _COMMAND.findall(line):
        yield shlex.split(found)


BLOCKS = [(_name(page), block) for page in PAGES for block in blocks(page.read_text())]
SHOWN = sorted({(page, *words) for page, block in BLOCKS for line in shell_lines(block) for words in typed(line)})
"""The page, then the words of a command that it shows."""


def test_the_pages_are_found_and_show_commands() -> None:
    assert {"README.md", "docs/architecture.md", "docs/guide/01-lab.md"} <= {_name(page) for page in PAGES}
    assert {"xe", "xenet"} == {words[1] for words in SHOWN}
    assert len(SHOWN) > 60


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("xe vif-list uuid=$VIF", [["xe", "vif-list", "uuid=$VIF"]]),
        ("V=$(xe vif-create a=$(xe vm-list --minimal))", [["xe", "vm-list", "--minimal"], ["xe", "vif-create", "a=V"]]),
        ("xenet lab ping-all || true; xe x", [["xenet", "lab", "ping-all"], ["xe", "x"]]),
        ("for vm in a; do xe vm-list; done", [["xe", "vm-list"]]),
        ("ls /opt/xenet/bin", []),
    ],
)
def test_commands_are_found_in_a_line(line: str, commands: list[list[str]]) -> None:
    assert list(typed(line)) == commands


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text())
    dead = [target for target in _LINK.findall(text) if "://" not in target and not _leads(page, target)]
    assert not dead


def _leads(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    if not there.exists() or ROOT not in (there, *there.parents):
        return False
    return not anchor or anchor in {_anchor(heading) for heading in _HEADING.findall(there.read_text())}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("words", [words for words in SHOWN if words[1] == "xe"], ids=" ".join)
def test_every_xe_command_shown_is_one(words: tuple[str, ...]) -> None:
    line = parse(words[2:])
    assert line.command in commands()
    assert set(line.words) <= set(commands())
    assert not line.words or line.command == "help"
    assert not unknown_parameters(line.params, commands()[line.command])


@pytest.mark.parametrize("words", [words for words in SHOWN if words[1] == "xenet"], ids=" ".join)
def test_every_xenet_command_shown_is_one(words: tuple[str, ...]) -> None:
    command: click.Command = cli
    rest = list(words[2:])
    options = set(_options(command))
    while isinstance(command, click.Group):
        while rest and rest[0].startswith("-"):
            assert rest.pop(0) in options
        assert rest and rest[0] in command.commands, f"{rest[:1]} is no command of {command.name}"
        command = command.commands[rest.pop(0)]
        options |= set(_options(command))
    own = rest[: rest.index("--")] if "--" in rest else rest
    assert {word.partition("=")[0] for word in own if word.startswith("--") and word != "--help"} <= options


def _options(command: click.Command) -> Iterator[str]:
    for param in command.params:
        if isinstance(param, click.Option):
            yield from (*param.opts, *param.secondary_opts)


PICTURES = [(page, block.text) for page, block in BLOCKS if block.language == "mermaid"]


@pytest.mark.parametrize("picture", [text for _, text in PICTURES], ids=[f"{page}-{n}" for n, (page, _) in enumerate(PICTURES)])
def test_every_picture_is_of_a_known_kind_and_whole(picture: str) -> None:
    first, *rest = [line.strip() for line in picture.splitlines() if line.strip()]
    assert first.split()[0] in KINDS
    assert rest
    opened = sum(line.split()[0] in ("subgraph", "alt", "loop", "opt", "par") for line in rest)
    assert opened == rest.count("end")
    assert all(picture.count(left) == picture.count(right) for left, right in ("[]", "()", "{}"))
    assert picture.count('"') % 2 == 0


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_no_page_names_a_registry_or_somebodys_folder(page: Path) -> None:
    assert not [line for line in page.read_text().splitlines() if ELSEWHERE.search(line)]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_fences_come_in_pairs(page: Path) -> None:
    assert len(re.findall(r"^```", page.read_text(), re.MULTILINE)) == 2 * len(blocks(page.read_text()))


@pytest.mark.kernel
def test_the_readmes_walk_can_be_walked(tmp_path: Path) -> None:
    """As it stands, but for `make setup`, which is behind whoever runs tests, and stopping at the first command that fails."""
    walk = next(block for block in blocks((ROOT / "README.md").read_text()) if "xenet lab up" in block.text)
    script = walk.text.replace("make setup\n", "").replace('export PATH="$PWD/.venv/bin:$PATH"\n', "")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "XENET_RUN": str(tmp_path / "labs")}
    try:
        done = subprocess.run(["bash", "-eu"], input=script, env=environment, capture_output=True, text=True, check=False, timeout=WALK_S, cwd=ROOT)
    finally:
        subprocess.run(["xenet", "lab", "clean", "--all"], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "20 of 20 got through" in done.stdout
    assert "3 packets transmitted, 3 received" in done.stdout
    assert "8 of 20 got through" in done.stdout
    assert not (tmp_path / "labs" / "lab").exists()
