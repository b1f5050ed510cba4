"""What a command is: its name, what it takes, and what it sends or runs."""

from typing import NamedTuple

from xenet.cli.xe.fields import Table


class Arg(NamedTuple):
    """A parameter of a command."""

    name: str
    kind: str = "string"
    """string, int, bytes, bool, map (name:key=value), ref CLASS (a uuid, sent as a reference), refs CLASS (uuids), uuid CLASS (sent as it is),
    field, class, host (a uuid or name), or values joined by |."""
    default: str | None = None
    """What counts when it is absent; None: it must be there."""
    any_case: bool = False
    """The name may be written in any case."""
    wrong: str = ""
    """What to say of a text that is none of the values; {} stands for it."""


class Command(NamedTuple):
    """A command of `xe`."""

    name: str
    summary: str
    args: tuple[Arg, ...] = ()
    send: str = ""
    """The message that is called with the arguments in their order."""
    result: str = ""
    """What is printed of its result: nothing, `text`, or the uuids of CLASS or of CLASS.FIELD>CLASS."""
    run: str = ""
    """module.function instead of one message."""
    selector: str = ""
    """vm or host: acts on the records that vm= or host= and filters choose."""
    local: bool = False
    """Needs a session of the host itself, which works without the rest of the pool."""
    hidden: bool = False
    """Left out of the help, as in XenServer."""
    table: Table | None = None
    """The class of a generated command."""
    rest: str = ""
    """What else it takes, for people; empty: nothing."""
