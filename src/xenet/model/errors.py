"""Refusals: XenAPI error codes with their parameters, as data for clients and as one exception within xenet."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Only to check types: xe needs Failure alone and would wait 40 ms for msgspec.
    from xenet.model.types import Ref


class Failure(Exception):
    """A XenAPI error: `ErrorDescription` on the wire is [code, *params]."""

    def __init__(self, code: str, *params: str) -> None:
        super().__init__(code, *params)
        self.code = code
        self.params = params

    @property
    def description(self) -> list[str]:
        return [self.code, *self.params]

    def __str__(self) -> str:
        return f"{self.code}: {', '.join(self.params)}" if self.params else self.code


def handle_invalid(cls: str, ref: str) -> Failure:
    return Failure("HANDLE_INVALID", cls, ref)


def internal(text: str) -> Failure:
    return Failure("INTERNAL_ERROR", text)


def field_type(field: str) -> Failure:
    return Failure("FIELD_TYPE_ERROR", field)


def invalid_value(field: str, value: str) -> Failure:
    return Failure("INVALID_VALUE", field, value)


def bad_power_state(vm: "Ref", expected: str, actual: str) -> Failure:
    return Failure("VM_BAD_POWER_STATE", vm, expected.lower(), actual.lower())


def in_progress(cls: str, ref: "Ref", operations: str, tasks: str) -> Failure:
    return Failure("OTHER_OPERATION_IN_PROGRESS", cls, ref, operations, tasks)


def not_allowed(reason: str) -> Failure:
    return Failure("OPERATION_NOT_ALLOWED", reason)
