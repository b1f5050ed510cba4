"""`python -m bench [NAME...]`: run the benchmarks (all, or the named ones), show them, and write them to bench/RESULTS.md.

A benchmark is a module of this package with `run() -> Iterable[Row]`. Naming some replaces only their sections of
RESULTS.md. Exit status 1 when a bound is missed or a benchmark breaks, 2 when a name is unknown.
"""

import importlib
import platform
import sys
import traceback
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.harness import Row, stalls

RESULTS = Path(__file__).with_name("RESULTS.md")
TITLE = "# Figures\n\nWritten by `python -m bench`; each section says when and where it was measured.\n"
HEAD = ("| figure | value | unit | bound | | note |", "|---|--:|---|---|---|---|")
TICK = {True: "✓", False: "✗ missed", None: ""}


def found() -> list[str]:
    """The names of the benchmarks: modules are read, not imported, so that one that is broken stops no other."""
    return sorted(path.stem for path in RESULTS.parent.glob("*.py") if "\ndef run(" in path.read_text())


def measured(name: str, console: Console) -> Iterator[Row]:
    """The rows of a benchmark, each shown as it comes, then the machine's stalls. One that breaks ends in a row that says so."""
    try:
        for row in importlib.import_module(f"bench.{name}").run():
            console.print(f"  {row.name}: {number(row.value)} {row.unit} {TICK[row.ok]}", highlight=False, markup=False)
            yield row
    except Exception as error:  # noqa: BLE001 - shown here and as a missed row; the other benchmarks still run
        traceback.print_exc()
        yield Row("broke off", float("nan"), "", "runs to its end", False, f"{type(error).__name__}: {error}")
    yield Row("longest stall of the machine itself", stalls() * 1000, "ms")


def table(name: str, rows: Iterable[Row]) -> Table:
    shown = Table("figure", "value", "unit", "bound", "", "note", title=name)
    shown.columns[1].justify = "right"
    for row in rows:
        shown.add_row(row.name, number(row.value), row.unit, row.bound, TICK[row.ok], row.note, style="red" if row.ok is False else "")
    return shown


def number(value: float) -> str:
    """Three digits that count, thousands grouped."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def section(rows: Iterable[Row], when: datetime) -> str:
    lines = [f"{when:%Y-%m-%d %H:%M} UTC, Linux {platform.release()}, {cpu()}", "", *HEAD]
    cells = ([row.name, number(row.value), row.unit, row.bound, TICK[row.ok], row.note] for row in rows)
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells]) + "\n"


def cpu() -> str:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else platform.machine()


def merged(old: str, new: dict[str, str]) -> str:
    """RESULTS.md with these sections in place of the old ones of the same name."""
    kept = {name: text.strip() + "\n" for name, _, text in (part.partition("\n") for part in old.split("\n## ")[1:])}
    sections = {**kept, **new}
    return "\n".join([TITLE, *(f"## {name}\n\n{sections[name]}" for name in sorted(sections))])


def main(names: list[str]) -> int:
    console, benchmarks = Console(), found()
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        console.print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(benchmarks)}")
        return 2
    results: dict[str, list[Row]] = {}
    for name in names or benchmarks:
        with console.status(f"{name} ..."):
            results[name] = list(measured(name, console))
        console.print(table(name, results[name]))
    now = datetime.now(UTC)
    old = RESULTS.read_text() if RESULTS.exists() else ""
    RESULTS.write_text(merged(old, {name: section(rows, now) for name, rows in results.items()}))
    missed = [f"{name}: {row.name}" for name, rows in results.items() for row in rows if row.ok is False]
    console.print(f"{len(missed)} missed: {'; '.join(missed)}" if missed else "every bound is kept", style="red" if missed else "green")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
