"""`xenet export` and `import`: a pool's inventory to a file and back, or out of a running server, which is only read."""

import json
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xenet.cli.inspect import Connect, asking, fail

if TYPE_CHECKING:
    from xenet.client import Client

FORMAT = 1


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, writable=True))
@asking
def export(connect: Connect, file: Path) -> None:
    """Save a pool's inventory to FILE: networks, PIFs, VIFs, VMs and hosts, without passwords. The server, xenet or XenServer, is only read.

    Example: xenet export pool.json --server https://192.0.2.10
    """
    with connect() as client:
        saved = read_inventory(client)
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")
    part.rename(file)


def read_inventory(client: "Client") -> dict[str, Any]:
    """What an inventory holds, by get_all_records alone. Raises Failure, Unreachable."""
    from xenet.verbs.inventory import SAVED

    listed = set(client.raw("system.listMethods"))
    tables = {name: client.call(f"{name}.get_all_records") for name in SAVED if f"{name}.get_all_records" in listed}
    return {"xenet inventory": FORMAT, "classes": tables}


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--from", "source", metavar="URL", help="Read a running server instead; the user and password are XENET_USER and XENET_PASSWORD.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new --state for `serve`.")
def import_(file: Path | None, source: str | None, state: Path) -> None:
    """Make a --state of a saved inventory, or of a running server's; `xenet serve --datapath fake --state DIR` then serves it without hardware.

    Example: xenet import --from https://192.0.2.10 --state copy
    """
    from xenet.client import Client, Unreachable
    from xenet.model.errors import Failure
    from xenet.store.base import StoreError

    if (file is None) == (source is None):
        raise click.UsageError("one of FILE and --from URL")
    try:
        if source:
            with Client.connect(source).login(os.environ.get("XENET_USER", "root"), os.environ.get("XENET_PASSWORD", "")) as client:
                saved = read_inventory(client)
        else:
            assert file is not None
            saved = json.loads(file.read_text())
        _store(saved, state)
    except Failure as error:
        fail(" ".join(error.description))
    except ValueError as error:
        fail(str(error), 2)
    except (OSError, StoreError, Unreachable) as error:
        fail(str(error))


def _store(saved: Any, state: Path) -> None:
    """Raises ValueError where the folder has a pool already, Failure, StoreError."""
    from xenet.store.sqlite import SqliteStore
    from xenet.verbs.inventory import change_of

    if not isinstance(saved, dict) or saved.get("xenet inventory") != FORMAT:
        raise ValueError("this is no inventory that `xenet export` of this version wrote")
    change = change_of(saved["classes"])
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(SqliteStore(state / "xenet.db")) as store:
        if store.snapshot().tables.get("pool"):
            raise ValueError(f"{state} has a pool already: name a new folder")
        store.commit(change)


COMMANDS = (export, import_)
