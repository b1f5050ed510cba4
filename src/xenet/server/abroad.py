"""Asking the server of another pool, as any client would: by the address and the session that its host.migrate_receive gave."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from xenet.client import Client, Unreachable
from xenet.model.errors import Failure, not_allowed
from xenet.verbs.call import Destination

log = logging.getLogger("xenet.server")
WITHIN = 20.0
"""Seconds that another pool has for an answer: with the connection less than an operation's time."""
TRIES, PAUSE = 30, 1.0
"""How often, and after how many seconds, the last word is said again."""
AskAbroad = Callable[..., Awaitable[Any]]
_THEIRS = {
    "SESSION_INVALID": "the session that the other pool's migrate_receive gave has ended",
    "RBAC_PERMISSION_DENIED": "the session that the other pool's migrate_receive gave may not do this there",
    "MESSAGE_METHOD_UNKNOWN": "the other pool does not know xenet's way to take a VM",
}
"""What a client must not take for an error of its own session or call."""


async def ask_abroad(to: Destination, method: str, *params: Any) -> Any:
    """The other pool's answer. Raises its Failure, CANNOT_CONTACT_HOST [host] where there is none."""
    return await asyncio.to_thread(_ask, to, method, params)


def _ask(to: Destination, method: str, params: tuple[Any, ...]) -> Any:
    try:
        client = Client.connect(to.url, timeout=WITHIN)
        try:
            return client.raw(method, *([to.session] if to.session else []), *params)
        finally:
            client.close()
    except (Unreachable, ValueError) as error:
        log.warning("the other pool, asked for %s: %s", method, error)
        raise Failure("CANNOT_CONTACT_HOST", to.host) from error
    except Failure as failure:
        if failure.code in _THEIRS:
            raise not_allowed(_THEIRS[failure.code]) from failure
        raise


async def tell_abroad(ask: AskAbroad, to: Destination, method: str, *params: Any) -> None:
    """Say it until it is heard: this pool has decided, and nothing goes back. Where it never is, the log says what to do."""
    for _ in range(TRIES):
        try:
            await ask(to, method, *params)
        except Failure as failure:
            log.info("the other pool has not heard %s: %s", method, failure)
            if failure.code != "CANNOT_CONTACT_HOST":
                break
            await asyncio.sleep(PAUSE)
        else:
            return
    log.warning("%s %s: the other pool at %s has not heard of it; clear the VM's blocked-operations there by hand", method, params, to.url)
