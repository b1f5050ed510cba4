"""Whether our switches are learning switches still. ovs-vswitchd gives a bridge without a controller one flow for that, of the lowest priority and
without a match (ovs-vswitchd.conf.db(5), fail_mode). Who deletes all flows takes that one away as well, and nothing passes any more.

Where there are flows of others, somebody means something by them, and nothing is amiss here.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xenet.datapath.openvswitch.flows import COOKIE
from xenet.datapath.openvswitch.ofctl import ofctl

_OURS = f"cookie={COOKIE:#x}"
_OWN = "priority=0,actions=normal"


class Learning:
    """`management` says where a bridge answers OpenFlow."""

    def __init__(self, management: Callable[[str], Path]) -> None:
        self._management = management
        self._emptied: set[str] = set()

    def observe(self, flows: Mapping[str, Sequence[str]]) -> None:
        """Each of these bridges has these flows, and no others."""
        self._emptied -= flows.keys()
        self._emptied |= {bridge for bridge, lines in flows.items() if all(_OURS in line for line in lines)}

    def has_ended(self, bridge: str) -> bool:
        """Whether a bridge has no flow but those of locks."""
        return bridge in self._emptied

    def restore(self, bridge: str) -> bool:
        """Whether it had ended there, and begins again. Raises OSError."""
        if bridge not in self._emptied:
            return False
        ofctl("add-flow", f"unix:{self._management(bridge)}", _OWN)
        self._emptied.discard(bridge)
        return True
