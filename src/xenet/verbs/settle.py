"""What follows from the rest of a draft: which operations are allowed, where internal networks stay, what is mirrored, who has which
address on the host internal management network, and what is no longer known of guests' addresses.

Every change ends with it, so no verb has to think of it.
"""

from ipaddress import IPv4Address

from xenet.model.change import Draft
from xenet.model.hidden import Operation
from xenet.model.himn import find_himn, guest_range
from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.types import VIFRef
from xenet.model.vif import VIF
from xenet.verbs.allowed import refresh_allowed
from xenet.verbs.attachments import follow_use
from xenet.verbs.claims import follow_guests
from xenet.verbs.mirror import follow_mirrors


def settle(draft: Draft) -> None:
    refresh_allowed(draft)
    follow_use(draft)
    follow_guests(draft)
    follow_mirrors(draft)
    vifs = [ref for cls, ref in draft.touched() if cls == "VIF"]
    himn = find_himn(draft.state) if vifs else None
    if himn is None:
        return
    for vif in filter(None, (draft.state.find(VIF, ref) for ref in vifs)):
        _lease(draft, himn, vif)
    assigned = {VIFRef(vif.ref): vif.lease for vif in draft.state.where(VIF, "network", himn.ref) if vif.lease}
    if assigned != himn.assigned_ips:
        draft.update(himn, assigned_ips=assigned)


def _lease(draft: Draft, himn: Network, vif: VIF) -> None:
    """An address for as long as the VIF is plugged there."""
    entitled = vif.plugged and vif.network == himn.ref
    if entitled and not vif.lease:
        draft.update(vif, lease=_free(draft.state, himn))
    elif vif.lease and not entitled:
        draft.update(vif, lease="")


def _free(state: PoolState, himn: Network) -> str:
    """The first address that no VIF has, nor one that gets its own back if a call fails; empty where there is none left."""
    taken = {vif.lease for vif in state.where(VIF, "network", himn.ref)} | _coming_back(state)
    first, last = guest_range(himn) or (IPv4Address(1), IPv4Address(0))
    numbers = range(int(first), int(last) + 1)
    return next((text for number in numbers if (text := str(IPv4Address(number))) not in taken), "")


def _coming_back(state: PoolState) -> set[str]:
    edits = (edit for operation in state.all(Operation) for edit in operation.undo if edit.cls == "VIF" and edit.after)
    return {edit.after.get("lease", "") for edit in edits if edit.after}
