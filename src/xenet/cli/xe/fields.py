"""What a row of a field table says, and the words to write one with.

A class of `xe` is a Table: its columns in the order in which they are printed, each with XenServer's marker and the
field of the XenAPI record that it shows. Lists, param-list, param-get and param-set, help and completion all come from it.
The tables themselves are in `fields_network` and `fields_machine`; what XenServer has besides is named in `fields_absent`.
"""

from collections.abc import Mapping
from typing import NamedTuple

EXPENSIVE = "expensive"
"""Costs a call for each record: lists show a placeholder, param-list and param-get the value."""
ANY_CASE = "case_insensitive"
"""Filters compare it without regard to case."""
HIDDEN = "hidden"
"""Shown by param-get alone."""
DEPRECATED = "deprecated"
"""Said so behind its marker."""
OPERATIONS = "operations"
"""A map task -> operation of which only the operations are shown."""
LOWER = "lower"
"""Shown in lower case."""
NAMED = "named"
"""Words for people in which references may stand: each is shown as `uuid (name)`."""
COMMAS = "commas"
"""A set whose elements are joined by ", " instead of "; "."""


class Column(NamedTuple):
    """One field of a class of `xe`."""

    name: str
    marker: str
    """RO, RW; SRO, SRW for sets; MRO, MRW for maps."""
    field: str
    """The API record's field; with `()` behind it a message of the class, called with the record's reference."""
    target: str = ""
    """The class that the field's references point to."""
    show: str = "uuid"
    """Which field of that class is shown."""
    kind: str = "string"
    """What param-set reads: string, int, bytes, bool, ref, or the values of an enumeration joined by |."""
    flags: frozenset[str] = frozenset()
    setter: str = ""
    """The message that param-set calls instead of set_<field>; for a map one that takes a key and a value."""

    @property
    def is_map(self) -> bool:
        return self.marker.startswith("M")

    @property
    def is_set(self) -> bool:
        return self.marker.startswith("S")

    @property
    def writable(self) -> bool:
        """Takes param-add and param-remove (sets and maps) or param-set (others)."""
        return self.marker.endswith("RW")

    @property
    def settable(self) -> bool:
        """Takes param-set: a set does only where the XenAPI can replace it whole."""
        return bool(self.setter) or (self.writable and not self.is_set)


class Table(NamedTuple):
    """A class of `xe`."""

    name: str
    api: str
    """The XenAPI class."""
    defaults: tuple[str, ...]
    """The columns of a list without params=, as XenServer has them; a name that is no column shows nothing."""
    columns: tuple[Column, ...]
    filters: Mapping[str, str] = {}
    """What a list always asks for, such as is-a-template=false."""

    def find(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


def _column(name: str, marker: str, field: str, kind: str = "string", flags: str = "", setter: str = "") -> Column:
    """`field` is FIELD, FIELD>CLASS (its references, shown as uuids) or FIELD>CLASS.FIELD; empty: the name with underscores."""
    source, _, target = (field or name.replace("-", "_")).partition(">")
    cls, _, show = target.partition(".")
    return Column(name, marker, source, cls, show or "uuid", kind, frozenset(flags.split()), setter)


def ro(name: str, field: str = "", flags: str = "") -> Column:
    return _column(name, "RO", field, flags=flags)


def rw(name: str, field: str = "", kind: str = "string", flags: str = "") -> Column:
    return _column(name, "RW", field, kind, flags)


def sro(name: str, field: str = "", flags: str = "") -> Column:
    return _column(name, "SRO", field, flags=flags)


def srw(name: str, field: str = "", kind: str = "string", flags: str = "", setter: str = "") -> Column:
    return _column(name, "SRW", field, kind, flags, setter)


def mro(name: str, field: str = "", setter: str = "", flags: str = "") -> Column:
    return _column(name, "MRO", field, flags=flags, setter=setter)


def mrw(name: str, field: str = "") -> Column:
    return _column(name, "MRW", field)


UUID = ro("uuid")
