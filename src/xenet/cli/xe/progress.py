"""--progress: what a command does is asked for as a task, and how far it is is shown on standard error until it ends."""

from collections.abc import Callable
from typing import Any, TextIO

from xenet.cli.xe.context import NULL
from xenet.model.errors import Failure

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
        if cls in _OWN or message.startswith(_PLAIN):
            return call(method, *params)
        task = call(f"Async.{method}", *params)
        try:
            return _followed(call, task, stderr)
        finally:
            call("task.destroy", task)

    return shown


def _followed(call: Call, task: str, stderr: TextIO) -> Any:
    token, record, drawn = "", call("task.get_record", task), ""
    while record["status"] in ("pending", "cancelling"):
        if (bar := f"\r{_bar(float(record['progress']))}") != drawn:
            drawn = bar
            stderr.write(drawn)
            stderr.flush()
        batch = call("event.from", [f"task/{task}"], token, WAIT)
        token = batch["token"]
        record = next((event["snapshot"] for event in reversed(batch["events"]) if event.get("snapshot")), record)
    if record["status"] != "success":
        stderr.write("\n" if drawn else "")
        raise Failure(*(record["error_info"] or ("TASK_CANCELLED", task)))
    stderr.write(f"\r{_bar(1.0)}\n")
    return result_of(record["result"])


def _bar(done: float) -> str:
    full = round(WIDTH * done)
    return f"[{'=' * full}{' ' * (WIDTH - full)}] {done:4.0%}"


def result_of(text: str) -> Any:
    """The value that a task's result holds as XML: text, or a list of texts."""
    if not text:
        return ""
    from xml.etree.ElementTree import fromstring

    value = fromstring(text)
    data = value.find("array/data")
    return [item.text or NULL for item in data] if data is not None else value.text or ""
