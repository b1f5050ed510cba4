"""`python -m xenet.lab.tour`: every step of the tour in a lab of its own, which is gone afterwards. A cross makes the exit status 1."""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from types import FrameType

from rich.console import Console

from xenet.guests.base import GuestError
from xenet.lab.run import LabError, find_run
from xenet.lab.topology import default_lab
from xenet.lab.tour.bonds import bond
from xenet.lab.tour.limits import rate_limit
from xenet.lab.tour.migration import live_migration
from xenet.lab.tour.networks import external_networks, internal_network, isolation_and_routing, switching
from xenet.lab.tour.nics import management_and_storage, unmanaged_nic
from xenet.lab.tour.stage import Stage
from xenet.lab.tour.vlans import vlan_network
from xenet.lab.up import Options, down, making, up

Step = Callable[[Stage], None]
STEPS: tuple[Step, ...] = (
    external_networks,
    switching,
    internal_network,
    isolation_and_routing,
    vlan_network,
    bond,
    management_and_storage,
    rate_limit,
    unmanaged_nic,
    live_migration,
)
"""In their order, from 1."""
HOSTS, NICS, VMS = 2, 3, 5


def tour(console: Console) -> int:
    """The exit status."""
    first = play(console, Options(), range(1, len(STEPS) + 1))
    stages, left = [first], first.skipped
    if left and has_openvswitch():
        console.print("\n[bold]What this kernel lacks, Open vSwitch has: the same steps on it[/]\n")
        stages.append(play(console, Options(datapath="openvswitch"), left))
        left = stages[-1].skipped
    passed = f"all {len(STEPS)} steps" + (f", but for what this kernel lacks of {_steps(left)}" if left else "")
    failed = [step for stage in stages for step in stage.failed]
    console.print(f"[bold green]✓ {passed}[/]" if not failed else f"[bold red]✗ {', '.join(failed)}[/]")
    return 1 if failed else 0


def _steps(numbers: Iterable[int]) -> str:
    return " and ".join(f"step {number}" for number in numbers)


def has_openvswitch() -> bool:
    from xenet.datapath.openvswitch.programs import NoOpenVSwitch, find_programs

    try:
        find_programs()
    except NoOpenVSwitch:
        return False
    return True


def play(console: Console, options: Options, numbers: Iterable[int]) -> Stage:
    """These steps, in a lab of their own."""
    lab, run = default_lab(HOSTS, NICS, VMS), find_run(f"tour-{os.getpid()}")
    datapath = f" --datapath {options.datapath}" if options.datapath != "auto" else ""
    console.print(f"[bold cyan]$ xenet lab up --hosts {HOSTS} --nics {NICS} --vms {VMS}{datapath}[/]")
    with making(run):
        console.print(up(run, lab, options, lambda _: None), soft_wrap=True)
        stage = Stage(run, lab, console, options.datapath == "openvswitch")
        for number in numbers:
            stage.play(number, STEPS[number - 1])
        console.print("\n[bold cyan]$ xenet lab down[/]")
        down(run)
    return stage


def main() -> None:
    def stop(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    try:
        sys.exit(tour(Console(highlight=False)))
    except (LabError, GuestError) as error:
        sys.exit(f"tour: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
