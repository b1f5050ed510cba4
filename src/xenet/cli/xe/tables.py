"""All classes of `xe`, put together from the field tables."""

from xenet.cli.xe import fields_machine, fields_network
from xenet.cli.xe.fields import Table


def find_table(name: str) -> Table | None:
    """The class of `xe` with this name, such as `network-sriov`."""
    return next((table for table in tables() if table.name == name), None)


def tables() -> tuple[Table, ...]:
    """All classes of `xe`, in the order of the help."""
    return (*fields_network.TABLES, *fields_machine.TABLES)
