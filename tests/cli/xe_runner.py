"""Running xe in this process against a canned pool on a Unix socket."""

import io
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.cli.canned_pool import CannedPool
from tests.cli.jsonrpc_server import serving
from xenet.cli.xe.main import run


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


class Runner:
    """Runs command lines as a shell would split them."""

    def __init__(self, pool: CannedPool, environ: Mapping[str, str]) -> None:
        self.pool = pool
        self.environ = environ

    def __call__(self, line: str, typed: str = "") -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        status = run(shlex.split(line), self.environ, io.StringIO(typed), out, err)
        return Outcome(status, out.getvalue(), err.getvalue())


@contextmanager
def running(folder: Path) -> Iterator[Runner]:
    pool = CannedPool()
    with serving(pool.answer, str(folder / "xapi")) as server:
        yield Runner(pool, {"XENET_SOCKET": server.address, "HOME": str(folder)})
