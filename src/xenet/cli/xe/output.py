"""The layout of what `xe` prints.

A record's labels are `name (MARKER)`. The widest of them plus 4 is the width: the first line has its label at the left and padding
behind it, the others have their labels at the right. Two blank lines follow each record.

With --minimal there is one line: the first field of each record (or the uuids), joined by commas, a comma or backslash within
one escaped by a backslash. Plain messages vanish then.
"""

from collections.abc import Iterable, Sequence
from typing import TextIO

from xenet.cli.xe.fields import DEPRECATED, Column

Line = tuple[str, str]


def label(column: Column) -> str:
    return f"{column.name} ({column.marker:>3}){' [DEPRECATED]' if DEPRECATED in column.flags else ''}"


def layout(lines: Sequence[Line]) -> str:
    """A record's lines as text; the two blank lines behind it are included."""
    width = max((len(name) for name, _ in lines), default=0) + 4
    first, rest = lines[:1], lines[1:]
    shown = [*(f"{name:<{width}}: {value}\n" for name, value in first), *(f"{name:>{width}}: {value}\n" for name, value in rest)]
    return "".join(shown) + "\n\n"


def minimal(values: Iterable[str]) -> str:
    """Values on one line."""
    return ",".join(value.replace("\\", "\\\\").replace(",", "\\,") for value in values)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a header line and columns of equal width, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
    return "".join(f"{line}\n" for line in lines)


class Printer:
    """Where results go."""

    def __init__(self, stream: TextIO, *, minimal: bool = False) -> None:
        self.stream = stream
        self.minimal = minimal

    def records(self, records: Sequence[Sequence[Line]]) -> None:
        if self.minimal:
            self._minimal([lines[0][1] for lines in records if lines])
        else:
            self.stream.write("".join(map(layout, records)))

    def values(self, values: Sequence[str]) -> None:
        """Results, one a line."""
        if self.minimal:
            self._minimal(values)
        else:
            self.stream.write("".join(f"{value}\n" for value in values))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table with a header; --minimal gives the first column."""
        if self.minimal:
            self._minimal([row[0] for row in rows])
        else:
            self.stream.write(aligned(header, rows))

    def message(self, text: str) -> None:
        """What is said to people only."""
        if not self.minimal:
            self.stream.write(f"{text}\n")

    def _minimal(self, values: Sequence[str]) -> None:
        """One line; none at all when there is nothing to show."""
        if values:
            self.stream.write(f"{minimal(values)}\n")
