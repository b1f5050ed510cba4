"""The tasks that clients bind to an HTTP request by `task_id`: Xen Orchestra makes one for each file that it fetches, and shows it until it ends.

What xenet serves by GET are a page's files; for all else that XenServer has there (rates, updates, disks) the answer is 404, and the
task ends with the request.
"""

from urllib.parse import parse_qs

from xenet.model.errors import Failure
from xenet.model.task import Task
from xenet.model.types import Ref
from xenet.server.core import Core
from xenet.server.sessions import Sessions
from xenet.verbs.catalogue import MESSAGES


async def end_bound_task(core: Core, sessions: Sessions, path: str, query: str) -> None:
    """The request found nothing: its session's pending task, if it names one, has failed."""
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    task = core.store.snapshot().find(Task, Ref(given.get("task_id", "")))
    if task is None or task.status != "pending":
        return
    try:
        sessions.check(given.get("session_id", ""))
        await core.run(MESSAGES["task.set_error_info"], [task.ref, ("HTTP_NOT_FOUND", path)])
        await core.run(MESSAGES["task.set_status"], [task.ref, "failure"])
    except Failure:
        return
