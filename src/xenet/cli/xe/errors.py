"""How a refusal reads: its description, then one line for each parameter, with references as `uuid (name)`."""

from collections.abc import Callable
from typing import Any

from xenet.cli.xe.error_texts import CLASSES, TEXTS
from xenet.client import Unreachable, named
from xenet.model.errors import Failure

Call = Callable[..., Any]
_PLURAL = ("pifs", "vifs")


def describe(failure: Failure, call: Call | None = None) -> str:
    """The lines for standard error. `call` looks up the names of references; without it they stay as they are."""
    if failure.code == "SESSION_AUTHENTICATION_FAILED":
        return "Authentication failed\n"
    if failure.code not in TEXTS:
        return f"Error code: {failure.code}\nError parameters: {', '.join(_shown(value, '', call) for value in failure.params)}\n"
    text, spec = TEXTS[failure.code]
    names = spec.split()
    if names and names[-1] in _PLURAL:
        names = names[:-1] + names[-1:] * (len(failure.params) - len(names) + 1)
    lines = [f"{name}: {_shown(value, _class_of(name, failure), call)}" for name, value in zip(names, failure.params, strict=False)]
    lines += [f"{name}: <unknown>" for name in names[len(failure.params) :]]
    lines += [f"<extra>: {_shown(value, '', call)}" for value in failure.params[len(names) :]]
    if failure.code == "OPENVSWITCH_NOT_ACTIVE" and call:
        lines += _on_bridges(call)
    return "".join(f"{line}\n" for line in (text, *lines))


def _on_bridges(call: Call) -> list[str]:
    """XenServer's error does not say which hosts it means."""
    try:
        hosts = call("host.get_all_records").values()
    except (Failure, Unreachable):
        return []
    names = sorted(host["name_label"] for host in hosts if host["software_version"].get("network_backend") != "openvswitch")
    return [f"hosts with bridges: {', '.join(names)}"]


def _class_of(name: str, failure: Failure) -> str:
    """The class of what a parameter refers to; HANDLE_INVALID, MAP_DUPLICATE_KEY and their like say it in their first one."""
    if name in ("handle", "object", "ref", "uuid") and len(failure.params) > 1:
        return failure.params[0]
    return CLASSES.get(name, "")


def _shown(value: str, cls: str, call: Call | None) -> str:
    return named(value, call, cls) if call else value
