"""Between the loose values of a wire and the types that a message declares.

`decode` is as lenient as XenServer and no more: npm's client writes every integer as text, Xen Orchestra a VLAN
tag as "55" even in JSON, SDK users give 60 where a float is due. A boolean is a boolean, a string a string.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from xenet.model.classes import API
from xenet.model.declare import APIType, Field, Kind, public_fields
from xenet.model.errors import Failure, field_type, invalid_value
from xenet.model.types import Qualifier
from xenet.wire.text import FORBIDDEN, clean, format_datetime, parse_datetime

_INT64 = range(-(2**63), 2**63)
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_CLASSES = {cls.xenapi: cls for cls in API}


def decode(declared: APIType, value: Any, field: str) -> Any:
    """The typed value. `field` names the parameter or field in the error.

    Sets become tuples without duplicates, maps dicts with typed keys. Of a record, what the constructor takes is
    decoded and all else dropped: Terraform's provider sends whole records back. Raises FIELD_TYPE_ERROR [field],
    INVALID_VALUE [field, value] for text that is not UTF-8 or that XML cannot carry, INVALID_VALUE [value] for an
    enum without that value.
    """
    return _DECODERS[declared.kind](declared, value, field)


def _string(declared: APIType, value: Any, field: str) -> str:
    if isinstance(value, bytes):
        value = _utf8(value, field)
    if not isinstance(value, str):
        raise field_type(field)
    if FORBIDDEN.search(value):
        raise invalid_value(field, clean(value))
    return value


def _utf8(value: bytes, field: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise invalid_value(field, value.decode(errors="replace")) from None


def _int(declared: APIType, value: Any, field: str) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if type(value) is not int or value not in _INT64:
        raise field_type(field)
    return value


def _float(declared: APIType, value: Any, field: str) -> float:
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        raise field_type(field)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise field_type(field) from None
    if not math.isfinite(number):
        raise field_type(field)
    return number


def _bool(declared: APIType, value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise field_type(field)
    return value


def _datetime(declared: APIType, value: Any, field: str) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return parse_datetime(_string(declared, value, field))
    except ValueError:
        raise field_type(field) from None


def _enum(declared: APIType, value: Any, field: str) -> str:
    text = _string(declared, value, field)
    if text in declared.values:
        return text
    for known in declared.values:
        if known.lower() == text.lower():  # XenServer compares without case
            return known
    raise Failure("INVALID_VALUE", text)


def _set(declared: APIType, value: Any, field: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or declared.of is None:
        raise field_type(field)
    items = [decode(declared.of, item, field) for item in value]
    try:
        return tuple(dict.fromkeys(items))
    except TypeError:  # a set of maps: these cannot be compared quickly, and no message has one that needs it
        return tuple(items)


def _map(declared: APIType, value: Any, field: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping) or declared.key is None or declared.of is None:
        raise field_type(field)
    return {decode(declared.key, key, field): decode(declared.of, item, field) for key, item in value.items()}


def _record(declared: APIType, value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise field_type(field)
    fields = public_fields(_CLASSES[declared.name])
    return {name: decode(fields[name].type, item, name) for name, item in value.items() if name in fields and _is_given(fields[name])}


def _is_given(field: Field) -> bool:
    """Whether a client may give the field to a constructor."""
    return field.back is None and field.qualifier is not Qualifier.RO


def _as_it_is(declared: APIType, value: Any, field: str) -> Any:
    return value


_DECODERS: dict[Kind, Callable[[APIType, Any, str], Any]] = {
    "string": _string,
    "ref": _string,  # whether it points to anything is for the verb to say: HANDLE_INVALID
    "int": _int,
    "float": _float,
    "bool": _bool,
    "datetime": _datetime,
    "enum": _enum,
    "set": _set,
    "map": _map,
    "record": _record,
    "void": _as_it_is,
    "any": _as_it_is,
}


def plain(value: Any) -> Any:
    """A typed value in JSON's own types: dates as text, mappings as dicts, void as the empty string, never null."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or kind is float:
        return value
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return {name: item if type(item) is str else plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) is str else plain(item) for item in value]
    if isinstance(value, datetime):
        return format_datetime(value)
    raise TypeError(f"no JSON form for {kind.__name__}")
