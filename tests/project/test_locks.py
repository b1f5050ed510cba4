"""The lock files against pyproject.toml: what is installed is what was named, and every download is checked."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME, DEV = "requirements.lock", "requirements-dev.lock"


def pins(lock: str) -> dict[str, tuple[str, int]]:
    """Each locked package's version and number of hashes."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    named = [(Requirement(line.split("--hash")[0]), line.count("--hash=sha256:")) for line in lines]
    return {canonicalize_name(pin.name): (str(pin.specifier).removeprefix("=="), hashes) for pin, hashes in named}


def unlocked(requirements: list[str], lock: str) -> list[str]:
    locked = pins(lock)
    named = [Requirement(text) for text in requirements]
    return [str(want) for want in named if (name := canonicalize_name(want.name)) not in locked or locked[name][0] not in want.specifier]


@pytest.mark.parametrize("lock", [RUNTIME, DEV])
def test_every_runtime_dependency_is_locked_in_its_range(lock: str) -> None:
    assert unlocked(PROJECT["project"]["dependencies"], lock) == []


def test_tools_and_build_backend_are_locked() -> None:
    assert unlocked([*PROJECT["dependency-groups"]["dev"], *PROJECT["build-system"]["requires"]], DEV) == []


def test_tests_run_with_the_versions_that_users_get() -> None:
    assert set(pins(RUNTIME).items()) <= set(pins(DEV).items())


@pytest.mark.parametrize("lock", [RUNTIME, DEV])
def test_every_download_is_checked_and_no_source_is_named(lock: str) -> None:
    assert [name for name, (_, hashes) in pins(lock).items() if hashes == 0] == []
    assert re.findall(r"\S*(?:://|index-url|find-links)\S*", (ROOT / lock).read_text()) == []
