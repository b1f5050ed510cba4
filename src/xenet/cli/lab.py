"""`xenet lab`: a data centre in network namespaces, from the command line."""

import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from xenet.lab.run import Run
    from xenet.lab.topology import Lab

DATAPATH = click.Choice(["auto", "bridge", "openvswitch"])
PASS_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""What follows belongs to the command that is run, its options too."""


@click.group()
def lab() -> None:
    """A data centre in network namespaces: hosts, cables, switches, outside machines, guests.

    Example: xenet lab up --hosts 2 --nics 3 --vms 4 && xenet lab ping-all && xenet lab down
    """


def said(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a user can mend is one line on stderr and exit status 1; 2 where the command is wrong, or the computer lacks what the lab needs."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        from xenet.client import Unreachable
        from xenet.guests.base import GuestError
        from xenet.lab.run import LabError, Misnamed
        from xenet.lab.topology import TopologyError
        from xenet.lab.virtual import Lacking
        from xenet.model.errors import Failure

        try:
            return command(*args, **options)
        except Failure as error:
            fail(" ".join(error.description))
        except (Lacking, Misnamed, TopologyError) as error:
            fail(str(error), 2)
        except (LabError, GuestError, Unreachable) as error:
            fail(str(error))

    return run


def fail(text: str, status: int = 1) -> NoReturn:
    click.echo(f"xenet lab: {text}", err=True)
    sys.exit(status)


def named(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option --name, given to the command as the lab's Run."""

    @click.option("--name", default="lab", show_default=True, help="Which lab; several live side by side.")
    @wraps(command)
    @said
    def run(*args: Any, name: str, **options: Any) -> Any:
        from xenet.lab.run import find_run

        return command(*args, run=find_run(name), **options)

    return run


@lab.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--hosts", default=2, show_default=True, help="How many hosts.")
@click.option("--nics", default=3, show_default=True, help="How many NICs each.")
@click.option("--vms", default=4, show_default=True, help="How many VMs.")
@click.option("--datapath", type=DATAPATH, default="auto", show_default=True, help="As for `xenet agent`.")
@named
def up(file: Path | None, hosts: int, nics: int, vms: int, datapath: str, run: "Run") -> None:
    """Make a lab, from a YAML file or from three numbers; it is ready when this returns.

    Every host's ethN is cabled to switch sw1, management is on eth0, the VMs sit on the network of eth0 of the hosts in
    turn, and the machine `router` answers there. Prints the line of the server. Root's password is $XENET_PASSWORD, else `xenet`.

    A file names hosts with the switch of each NIC, and if wanted switches (else sw1 alone), machines and VMs:

    \b
        switches: [sw1, sw2]
        hosts:
          host1: {nics: {eth0: sw1, eth1: sw2}, management: 10.0.0.1/24}
        machines:
          router: {switch: sw1, address: 10.0.0.254/24}
        vms:
          vm1: {host: host1, nic: eth0, address: 10.0.0.101/24}
          vm2: {host: host1, address: 10.0.0.102/24, guest: qemu, kernel: vmlinuz, ramdisk: initrd, args: quiet}

    Example: xenet lab up --hosts 2 --nics 3 --vms 4
    """
    from xenet.lab.topology import default_lab, read_lab

    line = bring_up(run, read_lab(file) if file else default_lab(hosts, nics, vms), datapath)
    click.echo(line)


def bring_up(run: "Run", topology: "Lab", datapath: str) -> str:
    """The server's ready line. SIGTERM ends it as Ctrl-C does: nothing stays. An exit that Python drops, as it does with one that comes while
    it tidies up an object, is made up for at the end."""
    import os

    from rich.console import Console

    from xenet.lab import up as raising
    from xenet.lab.virtual import check_boots

    check_boots(topology)
    asked: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        asked.append(number)
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    options = raising.Options(datapath=datapath, password=os.environ.get("XENET_PASSWORD", raising.PASSWORD))
    with Console(stderr=True).status("lab") as status, raising.making(run):
        line = raising.up(run, topology, options, status.update)
        if asked:
            sys.exit(128 + asked[0])
        run.kept.touch()
    return line


@lab.command()
@click.argument("names", metavar="[server|HOST]...", nargs=-1)
@named
def revive(names: tuple[str, ...], run: "Run") -> None:
    """Start again what was killed: the server, and the agents of hosts; all, or those named. The server answers where it did, and knows what
    it knew; an agent finds its host as it is and brings it up to date.

    Example: xenet lab revive
    """
    from xenet.lab import up as raising

    for name in raising.revive(run, names):
        click.echo("the server runs again" if name == raising.SERVER else f"{name} has an agent again")


@lab.command()
@named
def down(run: "Run") -> None:
    """Take a lab away: its processes, namespaces, devices and files. Also what is left of one.

    Example: xenet lab down --name lab
    """
    from xenet.lab.up import down as take_down

    if not run.directory.exists():
        fail(f"no lab {run.name} here", 2)
    take_down(run)


@lab.command()
@click.option("--all", "everything", is_flag=True, help="Labs that are well, too.")
@said
def clean(everything: bool) -> None:
    """Take away what aborted runs left of any lab; labs that are well, or being made, stay.

    Example: xenet lab clean
    """
    from xenet.lab.up import clean as sweep

    for name in sweep(everything=everything):
        click.echo(f"lab {name} taken away")


@lab.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@named
def status(as_json: bool, run: "Run") -> None:
    """What there is, where it hangs, and whether it runs.

    Example: xenet lab status
    """
    from xenet.cli.lab_show import show_status
    from xenet.lab.graph import draw
    from xenet.lab.operate import ensure_addresses
    from xenet.lab.picture import observe

    ensure_addresses(run, run.lab())
    picture = observe(run)
    if as_json:
        click.echo(draw(picture, "json"), nl=False)
    else:
        show_status(picture)


@lab.command("ping-all")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@named
def ping_all(as_json: bool, run: "Run") -> None:
    """Ping between every pair of guests and machines that have an address, both ways; exit status 1 when one did not get through.

    Example: xenet lab ping-all
    """
    import msgspec

    from xenet.cli.lab_show import ping_with_progress, show_pings

    pings = ping_with_progress(run)
    if as_json:
        click.echo(msgspec.json.encode(pings))
    else:
        show_pings(pings)
    sys.exit(0 if pings.received == pings.sent else 1)


@lab.command()
@click.option("--format", "form", type=click.Choice(["svg", "mermaid", "dot", "json"]), default="svg", show_default=True)
@named
def graph(form: str, run: "Run") -> None:
    """Draw the lab as it is right now.

    Example: xenet lab graph --format svg > lab.svg
    """
    from xenet.lab.graph import draw
    from xenet.lab.operate import ensure_addresses
    from xenet.lab.picture import observe

    ensure_addresses(run, run.lab())
    click.echo(draw(observe(run), form), nl=False)


@lab.command("exec", context_settings=PASS_ON)
@click.argument("where")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@named
def execute(where: str, command: tuple[str, ...], run: "Run") -> None:
    """Run a command inside a guest, machine, switch or host, with its own exit status. Where that has an Open vSwitch, ovs-vsctl, ovs-ofctl
    and their like are found and mean that one.

    Example: xenet lab exec vm1 -- ping -c 3 10.0.0.254
    """
    from xenet.lab import operate

    operate.become(operate.command_in(run, where, command[1:] if command[0] == "--" else command))


@lab.command()
@click.argument("switch")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@named
def fdb(switch: str, as_json: bool, run: "Run") -> None:
    """Show which address a physical switch has learned behind which of its ports.

    Example: xenet lab fdb sw1
    """
    import msgspec

    from xenet.lab import operate

    rows = operate.fdb(run, switch)
    if as_json:
        click.echo(msgspec.json.encode(rows))
    for line in () if as_json else operate.fdb_lines(rows):
        click.echo(line)


@lab.command()
@click.argument("cable", metavar="HOST/NIC")
@named
def cut(cable: str, run: "Run") -> None:
    """Pull a cable: the NIC loses its carrier.

    Example: xenet lab cut host1/eth1
    """
    from xenet.lab.operate import set_cable

    set_cable(run, cable, plugged=False)


@lab.command()
@click.argument("cable", metavar="HOST/NIC")
@named
def mend(cable: str, run: "Run") -> None:
    """Plug a cable again.

    Example: xenet lab mend host1/eth1
    """
    from xenet.lab.operate import set_cable

    set_cable(run, cable, plugged=True)


@lab.command()
@click.argument("where", metavar="HOST/NIC|GUEST[/N]")
@click.option("--count", type=click.IntRange(1), help="End after so many frames.")
@named
def capture(where: str, count: int | None, run: "Run") -> None:
    """Show the frames at a host's device or a guest's NIC as text, with MACs and VLAN tags.

    Example: xenet lab capture host1/eth0 --count 10
    """
    from xenet.lab import operate

    operate.become(operate.capture_command(run, where, count))
