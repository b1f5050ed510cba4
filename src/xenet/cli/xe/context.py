"""What a command works with: its parameters, the server, the printer."""

from collections.abc import Callable
from typing import Any, NamedTuple, TextIO

from xenet.cli.xe.grammar import Misuse, Params
from xenet.cli.xe.output import Printer

NULL = "OpaqueRef:NULL"


class Context(NamedTuple):
    """A running command."""

    params: Params
    call: Callable[..., Any]
    """Calls a message in the session. Raises Failure, Unreachable."""
    out: Printer
    stdin: TextIO
    stderr: TextIO

    def ref(self, cls: str, uuid: str) -> str:
        """The reference of the record with this uuid. Raises Failure (UUID_INVALID)."""
        return str(self.call(f"{cls}.get_by_uuid", uuid))

    def uuid(self, cls: str, ref: str) -> str:
        return str(self.call(f"{cls}.get_uuid", ref))

    def confirm(self) -> bool:
        """Whether the one who sits there types yes; asked also with --minimal, since nothing is done without it."""
        self.out.stream.write("Type 'yes' to continue\n")
        self.out.stream.flush()
        return self.stdin.readline().strip().lower() == "yes"

    def require_consent(self, *warnings: str) -> None:
        """Unless --force was given: show the warnings and go on only after a yes. Raises Misuse."""
        if self.params.flag("force"):
            return
        self.out.stream.write("".join(f"{line}\n" for line in warnings))
        if not self.confirm():
            raise Misuse("Aborted: nothing was done")
