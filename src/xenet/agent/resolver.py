"""Writes the host's resolv.conf: always in the agent's own folder, and where the operator said."""

import logging
from pathlib import Path

from xenet.agent.replica import Replica
from xenet.plan.resolver import resolv_conf

log = logging.getLogger("xenet.agent")


class ResolvConf:
    """The machine's /etc/resolv.conf is not ours: an agent in a namespace shares it with the machine. So it is written only where asked."""

    def __init__(self, own: Path, asked: Path | None = None) -> None:
        self._own = own
        self._asked = asked

    def follow(self, replica: Replica) -> None:
        """Nothing to say empties our own file, and leaves the asked one as it is: a host without a resolver would be worse off. A file that
        cannot be written is no reason to stop."""
        text = resolv_conf(replica.state, replica.host)
        _write(self._own, text)
        if self._asked and text:
            _write(self._asked, text)


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and only where it differs; through symbolic links, as resolvers' own services leave them."""
    try:
        real = path.resolve()
        if (real.read_text() if real.exists() else "") == text:
            return
        part = real.with_name(f".{real.name}.xenet")
        part.write_text(text)
        part.chmod(0o644)
        part.rename(real)
    except OSError as error:
        log.warning("%s is not written: %s", path, error)
