"""A message that takes its time: called as a task, so that what it found out comes back and Ctrl-C asks the server to stop it."""

import re
import time
from collections.abc import Mapping
from typing import Any

from xenet.cli.xe.context import Context
from xenet.model.errors import Failure

_PAUSE = 0.05
"""Seconds between two looks at the task."""
_MEMBER = re.compile(r"<name>([^<]*)</name><value>([^<]*)</value>")


def run_task(ctx: Context, message: str, *args: Any) -> str:
    """The result as the task has it. Raises Failure."""
    task = ctx.call(f"Async.{message}", *args)
    try:
        record = _ended(ctx, task)
    except KeyboardInterrupt:
        ctx.call("task.cancel", task)
        record = _ended(ctx, task)
    ctx.call("task.destroy", task)
    if record["status"] != "success":
        raise failure_of(record, task)
    return str(record["result"])


def failure_of(record: Mapping[str, Any], task: str) -> Failure:
    """How a task failed; where that is the task itself, it is named here, since nobody can ask for it once it is destroyed."""
    name = f"{record['uuid']} ({record['name_label']})"
    return Failure(*(name if word == task else word for word in record["error_info"] or ("TASK_CANCELLED", task)))


def _ended(ctx: Context, task: str) -> dict[str, Any]:
    while True:
        record: dict[str, Any] = ctx.call("task.get_record", task)
        if record["status"] not in ("pending", "cancelling"):
            return record
        time.sleep(_PAUSE)


def members(result: str) -> dict[str, str]:
    """The map that a result is, in XML-RPC's words; empty for another one."""
    return dict(_MEMBER.findall(result))
