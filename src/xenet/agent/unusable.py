"""Settings in an other_config that make no sense: they are ignored, and this says so once, when they come."""

from collections.abc import Iterable, Iterator, Mapping

from xenet.model.classes import STORED
from xenet.model.hidden import Edit
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.plan.ethtool import OFFLOADS, ON_A_NIC, ON_A_VIF, unusable

_WORDS: Mapping[str, tuple[str, ...]] = {"PIF": ON_A_NIC, "network": OFFLOADS, "VIF": ON_A_VIF}


def complaints(state: PoolState, host: Ref, edits: Iterable[Edit]) -> Iterator[str]:
    """Of the records of this host that these edits have led to."""
    for edit in edits:
        if edit.cls not in _WORDS or "other_config" not in (edit.after or {}):
            continue
        record = state.find(STORED[edit.cls], edit.ref)
        if isinstance(record, PIF | Network | VIF) and _concerns(state, host, record):
            for text in unusable(record.other_config, _WORDS[edit.cls]):
                yield f"{edit.cls} {record.uuid}: other_config:{text} is ignored, it is no value of this key"


def _concerns(state: PoolState, host: Ref, record: PIF | Network | VIF) -> bool:
    if isinstance(record, PIF):
        return record.host == host
    return isinstance(record, Network) or state.get(VM, record.VM).running_on == host
