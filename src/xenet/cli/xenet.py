"""`xenet`: serve a pool, run a host's agent, take a host's networking down, keep a lab, explain a pool."""

import asyncio
import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from click.core import ParameterSource

from xenet.cli import inspect, inventory
from xenet.cli.lab import lab
from xenet.model.guests import KINDS

LOG_FORMAT = "%(asctime)s %(name)s %(levelname)s %(message)s"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="xenet")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
def cli(verbose: bool) -> None:
    """XenServer's network model for any Linux host.

    Example: xenet serve --state /var/lib/xenet --listen 127.0.0.1:0 --nics eth1
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format=LOG_FORMAT, stream=sys.stderr)


def main() -> None:
    """The program. Every trouble that a user can mend is one line, exit status 1 (refused or failed) or 2 (wrong usage)."""
    try:
        status = cli(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as nothing:
        nothing.show()
        status = nothing.exit_code
    except click.ClickException as wrong:
        click.echo(f"xenet: {wrong.format_message()}", err=True)
        status = wrong.exit_code
    except click.Abort:
        status = 130
    sys.exit(status or 0)


FOLDER = click.Path(path_type=Path, file_okay=False, resolve_path=True)
FILE = click.Path(path_type=Path, dir_okay=False)
USUAL_GUESTS = "tap; namespace with --datapath fake"
AT_LEAST_ONE = click.IntRange(1)
FOLDER_THERE = click.Path(path_type=Path, file_okay=False, resolve_path=True, exists=True)


class Address(click.ParamType[tuple[str, int]]):
    """ADDRESS:PORT, port 0 for a free one."""

    name = "ADDRESS:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        host, colon, port = str(value).rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r} is not ADDRESS:PORT with a port from 0 to 65535, such as 127.0.0.1:0", param, ctx)
        return host.strip("[]"), int(port)


def nic_names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """`--nics eth0,eth1`; `all`: every physical one, which agents spell as none named; a number: so many, for hosts without hardware."""
    if value and value.isdecimal():
        return tuple(f"eth{number}" for number in range(int(value)))
    names = tuple(name.strip() for name in (value or "").split(",") if name.strip())
    if not names:
        raise click.BadParameter("name the NICs, such as eth0,eth1, or all")
    return () if names == ("all",) else names


def agent_options(command: Any) -> Any:
    """The options that describe a host, for `serve` and `agent`."""
    for option in (
        click.option("--take-over", is_flag=True, help="Move the addresses of NICs in use to their bridges; undone if the gateway falls silent."),
        click.option("--guests", type=click.Choice(KINDS), default="tap", show_default=USUAL_GUESTS, help="What VMs are by default."),
        click.option("--datapath", type=click.Choice(["auto", "bridge", "openvswitch", "fake"]), default="auto", show_default=True),
        click.option("--netns", default="", help="The host's network namespace: a name of `ip netns` or a path."),
        click.option("--name", default=os.uname().nodename, show_default=True, help="The host's name-label."),
        click.option("--nics", default="all", callback=nic_names, show_default=True, help="The NICs to manage: eth0,eth1, or all."),
        click.option("--resolv-conf", type=FILE, help="Write the host's DNS there, too, such as to /etc/resolv.conf."),
    ):
        command = option(command)
    return command


@cli.command()
@click.option("--state", type=FOLDER, required=True, help="Where this host's state is kept.")
@agent_options
@click.option("--parent", type=int, default=0, hidden=True)
@click.option("--link", required=True, help="The server's link socket (DIR/link of its --state).")
def agent(**options: Any) -> None:
    """Keep one host equal to its pool: the agent part of `serve` alone.

    Example: xenet agent --link /var/lib/xenet/link --state /var/lib/xenet/host --nics eth1
    """
    from xenet.agent.main import Settings, run

    run_or_say(lambda: run(Settings(**options)))


@cli.command()
@click.option("--state", type=FOLDER_THERE, required=True, help="The --state of `serve` or `agent`.")
@click.option("--netns", default="", help="The host's network namespace, as it was given to `serve`.")
@click.option("--datapath", type=click.Choice(["auto", "bridge", "openvswitch", "fake"]), default="auto")
def down(state: Path, netns: str, datapath: str) -> None:
    """Take all of xenet's networking off this host; NICs that were taken over get their addresses back.

    Example: xenet down --state /var/lib/xenet
    """
    from xenet.agent.main import Settings, take_down

    home = state / "host" if (state / "host").is_dir() else state
    failures: list[str] = []
    settings = Settings(link="", state=home, name="", nics=(), netns=netns, datapath=datapath)
    run_or_say(lambda: failures.extend(take_down(settings)))
    for failure in failures:
        click.echo(failure, err=True)
    sys.exit(1 if failures else 0)


@cli.command()
@click.option("--state", type=FOLDER, help="Where the pool's state is kept; with --datapath fake it may be left out: nothing is kept.")
@agent_options
@click.option("--hosts", type=click.IntRange(1, 250), default=1, show_default=True, help="With --datapath fake: so many hosts.")
@click.option("--vms", type=click.IntRange(0, 10_000), default=0, show_default=True, help="With --datapath fake: so many VMs that run on them.")
@click.option("--seed", default="xenet", show_default=True, help="With --datapath fake: what refs, uuids and MACs follow from.")
@click.option("--listen", type=Address(), default="127.0.0.1:0", show_default=True, help="Where the API answers; port 0: a free one.")
@click.option("--store", type=click.Choice(["sqlite", "memory"]), default="sqlite", show_default=True)
@click.option("--tls/--no-tls", default=False, help="https with a certificate of its own making, or http.")
@click.option("--password-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Root's password at the first start.")
@click.option("--www", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Static files to serve at GET /.")
@click.option("--session-calls", type=AT_LEAST_ONE, default=2000, show_default=True, help="Calls of one session at once; more are refused.")
@click.option("--session-tasks", type=AT_LEAST_ONE, default=1000, show_default=True, help="Tasks of one session that have not ended.")
@click.option("--log-calls", is_flag=True, help="Say each call on stderr: its message, how it ended and how long it took.")
@click.option("--no-agent", is_flag=True, help="The server alone; hosts come by their own agents.")
def serve(**options: Any) -> None:
    """Run a pool's server and the agent of this host.

    Example: xenet serve --state /var/lib/xenet --listen 0.0.0.0:443 --tls --nics eth0,eth1 --take-over

    Without hardware or root: xenet serve --datapath fake --hosts 3 --nics 4 --vms 20
    """
    import uvloop

    check_serve(options)
    if options["log_calls"]:
        logging.getLogger("xenet.calls").setLevel(logging.INFO)
    from xenet.cli.supervise import serve_with_agent  # with the server's libraries, which no other command should wait for

    with TemporaryDirectory(prefix="xenet-") if options["state"] is None else nullcontext() as folder:
        kept = options if folder is None else {**options, "state": Path(folder), "store": "memory"}
        run_or_say(lambda: uvloop.run(serve_with_agent(kept)))


def check_serve(options: dict[str, Any]) -> None:
    """What only hosts without hardware may do, and what is different there if nothing is said. Raises UsageError."""
    fake = options["datapath"] == "fake"
    given = click.get_current_context().get_parameter_source
    if not fake and options["state"] is None:
        raise click.UsageError("Missing option '--state'.")
    if not fake and (options["hosts"], options["vms"]) != (1, 0):
        raise click.UsageError("--hosts and --vms are for --datapath fake")
    if fake and not options["no_agent"] and given("name") is ParameterSource.DEFAULT:
        options["name"] = ""  # host1, host2 ...
    if fake and given("guests") is ParameterSource.DEFAULT:
        options["guests"] = "namespace"  # so that clients can try migration: a tap's VM is somebody else's to move
    if fake and options["name"] and options["hosts"] > 1:
        raise click.UsageError("--name is for one host; --hosts names them host1, host2 ...")


def run_or_say(work: Any) -> None:
    """Run; what a user can mend becomes one line and exit status 1."""
    from xenet.agent.takeover import InUse
    from xenet.store.base import StoreError

    try:
        work()
    except (InUse, StoreError, OSError) as error:
        click.echo(f"xenet: {error}", err=True)
        sys.exit(1)
    except asyncio.CancelledError:
        sys.exit(0)


for command in (lab, *inspect.COMMANDS, *inventory.COMMANDS):
    cli.add_command(command)


if __name__ == "__main__":
    main()
