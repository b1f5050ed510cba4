"""Internal networks that a host has without a VIF on them: those that network.attach asked for, and those that persist."""

from collections.abc import Iterator

from xenet.model.change import Draft
from xenet.model.hidden import Attachment
from xenet.model.invariants import homes_of
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.types import PREFIX, Ref
from xenet.model.vif import VIF

PERSIST = "persist"
"""The key of a network's other_config, whatever its value: the network stays on a host where it was in use once."""


def hold(draft: Draft, network: Network, host: Ref) -> None:
    """Have the network's switch on a host until its last VIF there goes, or until it is released."""
    uuid = f"{network.uuid} {host.removeprefix(PREFIX)}"
    draft.put(Attachment(uuid=uuid, network=network.ref, host=host))


def release(draft: Draft, network: Network, host: Ref) -> None:
    """No longer, where no VIF needs it and it does not persist."""
    if PERSIST in network.other_config:
        return
    for attachment in draft.state.where(Attachment, "network", network.ref):
        if attachment.host == host:
            draft.delete(attachment)


def follow_use(draft: Draft) -> None:
    """As on a XenServer an internal network leaves a host with the last VIF there, whoever attached it, unless it persists; then it stays on
    each host where it ever was in use. One with a PIF is there as the PIF is."""
    for ref in _concerned(draft):
        network = draft.state.find(Network, ref)
        held = draft.state.where(Attachment, "network", ref)
        if network is None or not network.managed or draft.state.refs_where("PIF", "network", ref):
            for attachment in held:
                draft.delete(attachment)
        elif PERSIST in network.other_config:
            for host in sorted(homes_of(draft.state, network) - {attachment.host for attachment in held}):
                hold(draft, network, host)
        elif held:
            _let_go(draft, network, held)


def _let_go(draft: Draft, network: Network, held: list[Attachment]) -> None:
    before = draft.base.find(Network, network.ref)
    persisted = before is not None and PERSIST in before.other_config
    used = homes_of(draft.state, network)
    left = homes_of(draft.base, network) - used
    for attachment in held:
        if attachment.host in left or (persisted and attachment.host not in used):
            draft.delete(attachment)


def _concerned(draft: Draft) -> set[Ref]:
    """The networks of whose use a draft may change something."""
    return {ref for cls, record in draft.touched() for ref in _networks(draft, cls, record)}


def _networks(draft: Draft, cls: str, ref: Ref) -> Iterator[Ref]:
    if cls == "network":
        yield ref
    for state in (draft.base, draft.state):
        if cls == "VM":
            yield from (vif.network for vif in state.where(VIF, "VM", ref))
        elif cls in ("VIF", "PIF"):
            found = state.find(VIF, ref) or state.find(PIF, ref)
            yield from (found.network,) if found else ()
