"""The register of messages: each with its parameters and result as XenAPI types, so that the wire decodes by it,
`system.listMethods` lists it and the conformance test compares it with the XenAPI reference."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_type_hints

import msgspec

from xenet.model.declare import APIType, api_type
from xenet.model.types import Ref

F = TypeVar("F", bound=Callable[..., Any])
VOID = APIType("void")
Concerned = Callable[..., Iterable[Ref]]
"""By the state and a message's arguments, which hosts it concerns. May raise a Failure."""


class Param(msgspec.Struct, frozen=True):
    name: str
    type: APIType
    required: bool = True
    default: Any = None


class Message(msgspec.Struct, frozen=True):
    """`run(call, *args)` raises a Failure, or returns a value, an Outcome or a Question."""

    cls: str
    name: str
    params: tuple[Param, ...]
    result: APIType
    run: Callable[..., Any]
    implicit: bool = False
    """Made from the class's declaration."""
    hidden: bool = False
    """For pool-internal use; left out of system.listMethods."""
    ours: bool = False
    """Not in XenServer."""
    needs_facts: "Concerned | None" = None
    """The hosts that are asked for their facts before the verb decides."""

    full_name: str = ""
    """`class.name`; made by itself."""
    required: int = 0
    """How many parameters must be given; counted by itself."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "full_name", f"{self.cls}.{self.name}")
        msgspec.structs.force_setattr(self, "required", sum(param.required for param in self.params))

    @property
    def asynchronous(self) -> bool:
        """Whether `Async.` may stand before it: not for getters, setters and tasks, as in XenServer."""
        return not self.implicit and self.cls not in ("task", "session", "event")


MESSAGES: dict[str, Message] = {}


def register(message: Message) -> None:
    if message.full_name in MESSAGES:
        raise ValueError(f"{message.full_name} is declared twice")
    MESSAGES[message.full_name] = message


def message(
    cls: str, result: Any = None, *, name: str = "", hidden: bool = False, ours: bool = False, needs_facts: Concerned | None = None
) -> Callable[[F], F]:
    """Make a verb of a function: its parameters after the Call, by their names and annotations, are the message's."""

    def enter(function: F) -> F:
        own_name = name or function.__name__.rstrip("_")
        result_type = VOID if result is None else api_type(result)
        register(Message(cls, own_name, params_of(function), result_type, function, hidden=hidden, ours=ours, needs_facts=needs_facts))
        return function

    return enter


def params_of(function: Callable[..., Any]) -> tuple[Param, ...]:
    """The XenAPI parameters of a function whose first parameter is the Call."""
    hints = get_type_hints(function, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    return tuple(
        Param(p.name.removesuffix("_"), api_type(hints[p.name]), p.default is p.empty, None if p.default is p.empty else p.default) for p in own
    )
