"""--progress: what a command does is asked for as a task, and how far it is is shown on standard error until it ends."""

from collections.abc import Callable
from typing import Any, TextIO

from xenet.cli.xe.context import NULL
from xenet.cli.xe.tasks import failure_of

WAIT = 30.0
"""Seconds that one event.from may last; it is asked again without end."""
WIDTH = 40
_PLAIN = ("get_", "set_", "add_", "remove_")
"""What has no form as a task, by the message's name..."""
_OWN = frozenset({"session", "event", "task", "subject", "role", "Diagnostics"})
"""...and by its class."""
Call = Callable[..., Any]


def with_progress(call: Call, stderr: TextIO) -> Call:
    """`call`, by tasks where there are some. Raises what it raises."""

    def shown(method: str, *params: Any) -> Any:
        cls, _, message = method.partition(".")
        if cls == "Async":
            return _begun(call, call(method, *params), stderr)
        if cls in _OWN or message.startswith(_PLAIN):
            return call(method, *params)
        task = call(f"Async.{method}", *params)
        try:
            return _followed(call, task, stderr)
        finally:
            call("task.destroy", task)

    return shown


def _begun(call: Call, task: str, stderr: TextIO) -> str:
    """A task that the command itself asked for (see `tasks`): over when this returns, and not yet destroyed. Ctrl-C asks to cancel it."""
    try:
        _watched(call, task, stderr)
    except KeyboardInterrupt:
        call("task.cancel", task)
    return task


def _followed(call: Call, task: str, stderr: TextIO) -> Any:
    record = _watched(call, task, stderr)
    if record["status"] != "success":
        raise failure_of(record, task)
    return result_of(record["result"])


def _watched(call: Call, task: str, stderr: TextIO) -> dict[str, Any]:
    """The task's record when it has ended."""
    token, record, drawn = "", call("task.get_record", task), ""
    while record["status"] in ("pending", "cancelling"):
        if (bar := f"\r{_bar(float(record['progress']))}") != drawn:
            drawn = bar
            stderr.write(drawn)
            stderr.flush()
        batch = call("event.from", [f"task/{task}"], token, WAIT)
        token = batch["token"]
        record = next((event["snapshot"] for event in reversed(batch["events"]) if event.get("snapshot")), record)
    if record["status"] == "success":
        stderr.write(f"\r{_bar(1.0)}\n")
    elif drawn:
        stderr.write("\n")
    return dict(record)


def _bar(done: float) -> str:
    full = round(WIDTH * done)
    return f"[{'=' * full}{' ' * (WIDTH - full)}] {done:4.0%}"


def result_of(text: str) -> Any:
    """The value that a task's result holds as XML: text, a list of texts, or a boolean."""
    if not text:
        return ""
    from xml.etree.ElementTree import fromstring

    value = fromstring(text)
    if (flag := value.find("boolean")) is not None:
        return flag.text == "1"
    data = value.find("array/data")
    return [item.text or NULL for item in data] if data is not None else value.text or ""
