"""What a class declaration says, as data.

The API's getters and setters, the store's columns, the `xe` lists and the reference pages all come from
`fields_of(cls)`; nothing else reads annotations.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from types import NoneType
from typing import Any, ClassVar, Literal, NewType, Union, get_args, get_origin, get_type_hints

import msgspec

from xenet.model.types import BackRef, EnumName, OfRecord, Qualifier, Record, To

Kind = Literal["string", "int", "float", "bool", "datetime", "enum", "ref", "set", "map", "record", "void", "any"]
_PLAIN: dict[Any, Kind] = {str: "string", int: "int", float: "float", bool: "bool", datetime: "datetime", NoneType: "void", Any: "any"}


class APIType(msgspec.Struct, frozen=True):
    """A XenAPI type. `str(type)` is its name in the XenAPI reference, such as `(string -> enum vif_operations) map`."""

    kind: Kind
    name: str = ""
    """The class of a reference or record, the name of an enum."""
    values: tuple[str, ...] = ()
    """The values of an enum."""
    of: "APIType | None" = None
    """What a set or a map holds."""
    key: "APIType | None" = None
    """A map's keys."""

    def __str__(self) -> str:
        match self.kind:
            case "ref" | "record":
                return f"{self.name} {self.kind}"
            case "enum":
                return f"enum {self.name}"
            case "set":
                return f"{self.of} set"
            case "map":
                return f"({self.key} -> {self.of}) map"
            case other:
                return other


class Field(msgspec.Struct, frozen=True):
    """One field of a class. A `back` field is computed from the class that points here and never stored."""

    name: str
    type: APIType
    qualifier: Qualifier
    required: bool = False
    """The constructor must be given it."""
    default: Any = None
    back: BackRef | None = None


def api_type(annotation: Any) -> APIType:
    """The XenAPI type of a Python annotation. Raises TypeError for one that the XenAPI has no word for."""
    extras: tuple[Any, ...] = getattr(annotation, "__metadata__", ())
    base = annotation.__origin__ if extras else annotation
    for extra in extras:
        if isinstance(extra, To):
            return APIType("ref", name=extra.cls)
        if isinstance(extra, OfRecord):
            return APIType("record", name=extra.cls)
        if isinstance(extra, EnumName):
            return APIType("enum", name=extra.name, values=get_args(base))
    if isinstance(base, NewType):
        return APIType("string")
    return _plain(base) or _composed(base)


def _plain(base: Any) -> APIType | None:
    kind = _PLAIN.get(base)
    return APIType(kind) if kind else None


def _composed(base: Any) -> APIType:
    origin, args = get_origin(base), get_args(base)
    if origin is tuple:
        return APIType("set", of=api_type(args[0]))
    if origin is not None and issubclass(origin, Mapping):
        return APIType("map", key=api_type(args[0]), of=api_type(args[1]))
    if isinstance(base, type) and issubclass(base, Record):
        return APIType("record", name=base.xenapi)
    if isinstance(base, type) and issubclass(base, msgspec.Struct):
        return APIType("any")
    if origin is Union or args:
        return APIType("any")
    raise TypeError(f"no XenAPI type for {base!r}")


@cache
def fields_of(cls: type[Record]) -> dict[str, Field]:
    """Every field of a class by name, in the order of its declaration, uuid first."""
    stored = {f.name: f for f in msgspec.structs.fields(cls)}
    hints = get_type_hints(cls, include_extras=True)
    return {name: _field(cls, name, hints[name], stored) for name in _names(cls)}


def _names(cls: type[Record]) -> list[str]:
    own = (name for base in reversed(cls.__mro__) for name in vars(base).get("__annotations__", {}))
    return [name for name in own if name in cls.__struct_fields__ or isinstance(getattr(cls, name, None), BackRef)]


def _field(cls: type[Record], name: str, hint: Any, stored: Mapping[str, msgspec.structs.FieldInfo]) -> Field:
    if get_origin(hint) is ClassVar:
        return _back_field(cls, name)
    info = stored[name]
    qualifier = next(extra for extra in hint.__metadata__ if isinstance(extra, Qualifier))
    default = info.default if info.default is not msgspec.NODEFAULT else None
    if info.default_factory is not msgspec.NODEFAULT:
        default = info.default_factory()
    return Field(name, api_type(hint), qualifier, required=info.required, default=default)


def _back_field(cls: type[Record], name: str) -> Field:
    back: BackRef = getattr(cls, name)
    return Field(name, APIType("set", of=APIType("ref", name=back.cls)), Qualifier.RO, back=back)


@cache
def public_fields(cls: type[Record]) -> dict[str, Field]:
    """The fields that clients see."""
    return {name: field for name, field in fields_of(cls).items() if field.qualifier is not Qualifier.HIDDEN}


@cache
def stored_fields(cls: type[Record]) -> dict[str, Field]:
    """The fields that a record holds itself; what is computed is left out."""
    return {name: field for name, field in fields_of(cls).items() if field.back is None}


@cache
def reference_fields(cls: type[Record]) -> dict[str, str]:
    """The fields that hold one reference to a class of the pool's state, with that class's name."""
    return {name: field.type.name for name, field in stored_fields(cls).items() if field.type.kind == "ref"}
