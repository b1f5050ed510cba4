"""How `xenet lab` shows things to people: what there is, and who reaches whom."""

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from xenet.lab import operate
from xenet.lab.operate import Pings
from xenet.lab.picture import Picture
from xenet.lab.run import Run


def show_status(picture: Picture) -> None:
    console = Console()
    console.print(f"lab [bold]{picture.name}[/]  {picture.url}{'' if picture.server else '  [red]the server is gone[/]'}")
    table = Table("host", "bridge", "address", "NICs", "guests")
    for host in picture.hosts:
        name = host.name if host.agent else f"{host.name} (no agent)"
        for bridge in host.bridges:
            guests = ", ".join(" ".join(filter(None, (port.guest, port.device, port.address))) for port in bridge.ports)
            table.add_row(name, bridge.name, bridge.address, ", ".join(bridge.nics), guests)
            name = ""
        if host.guests:
            table.add_row(name, "", "", "", ", ".join(host.guests))
    console.print(table)
    for machine in picture.machines:
        console.print(f"{machine.name}  {machine.address}")
    for cable in picture.cables:
        if not cable.plugged:
            console.print(f"[red]cable pulled:[/] {cable.owner}/{cable.nic} - {cable.switch}")


def ping_with_progress(run: Run) -> Pings:
    who = operate.endpoints(run, run.lab())
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("pings", total=(len(who) - 1) * sum(place is not None for place, _ in who.values()))
        return operate.ping_all(who, lambda: progress.advance(bar))


def show_pings(pings: Pings) -> None:
    """A row for each source, a column for each target."""
    sources = list(dict.fromkeys(pair.source for pair in pings.pairs))
    names = list(dict.fromkeys([*sources, *(pair.target for pair in pings.pairs)]))
    ok = {(pair.source, pair.target): pair.ok for pair in pings.pairs}
    table = Table("from \\ to", *names)
    for source in sources:
        table.add_row(source, *("" if source == target else "[green]✓[/]" if ok[source, target] else "[red]✗[/]" for target in names))
    console = Console()
    console.print(table)
    console.print(f"{pings.received} of {pings.sent} got through")
