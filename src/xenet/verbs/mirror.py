"""Mirrors: what other_config:mirror-to may say, and what VIF.runtime_properties says of it.

`mirror-of` of a target names what is copied to it now; `mirror` of a VIF that is mirrored says `active`, or why nothing is copied.
"""

from collections.abc import Mapping

from xenet.model.change import Draft
from xenet.model.errors import Failure, not_allowed
from xenet.model.mirrors import KEY, Source, home_of, named_by, sources_of, why_not
from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.types import NULL, Record, Ref
from xenet.model.vif import VIF


def check_mirror(state: PoolState, source: Record, other_config: Mapping[str, str]) -> None:
    """A key that says what it said before may stay. Raises UUID_INVALID ["VIF", uuid], NETWORK_UNMANAGED [network], OPERATION_NOT_ALLOWED [text]."""
    if not isinstance(source, VIF | Network) or named_by(other_config) in (NULL, source.mirror_to):
        return
    target = state.find(VIF, Ref(named_by(other_config)))
    if target is None:
        raise Failure("UUID_INVALID", "VIF", other_config[KEY])
    network = state.get(Network, target.network)
    if not network.managed:
        raise Failure("NETWORK_UNMANAGED", network.ref)
    if why := why_not(state, source, target):
        raise not_allowed(why)
    if isinstance(source, VIF) and sources_of(state, source):
        raise not_allowed(f"VIF {source.uuid} hears a mirror, and has nothing of its own to copy")


def follow_mirrors(draft: Draft) -> None:
    """For what was touched: the hidden field that the key is read into, and the state."""
    concerned: dict[Ref, None] = {}
    for cls, ref in draft.touched():
        if cls == "VIF":
            _read_key(draft, draft.state.find(VIF, ref))
            concerned |= dict.fromkeys(_beside(draft, ref))
        elif cls == "network":
            _read_key(draft, draft.state.find(Network, ref))
            networks = (state.find(Network, ref) for state in (draft.base, draft.state))
            concerned |= dict.fromkeys(Ref(network.mirror_to) for network in networks if network)
        elif cls == "VM":
            concerned |= dict.fromkeys(other for vif in draft.state.refs_where("VIF", "VM", ref) for other in _beside(draft, vif))
    for ref in concerned:
        if vif := draft.state.find(VIF, ref):
            _note(draft, vif)


def _read_key(draft: Draft, source: Source | None) -> None:
    if source is not None and source.mirror_to != (named := named_by(source.other_config)):
        draft.update(source, mirror_to=named)


def _beside(draft: Draft, ref: Ref) -> list[Ref]:
    """A VIF with all that are mirrored to it or that it is mirrored to, before or now."""
    found = [ref]
    for state in (draft.base, draft.state):
        found += state.refs_where("VIF", "mirror_to", ref)
        if (vif := state.find(VIF, ref)) is not None and vif.mirror_to != NULL:
            found.append(Ref(vif.mirror_to))
            found += state.refs_where("VIF", "mirror_to", vif.mirror_to)
    return found


def _note(draft: Draft, vif: VIF) -> None:
    state = draft.state
    said = {name: value for name, value in vif.runtime_properties.items() if name not in ("mirror", "mirror-of")}
    if vif.mirror_to != NULL:
        said["mirror"] = _state_of(state, vif)
    home = home_of(state, vif)
    heard = [source for source in sources_of(state, vif) if home != NULL and (isinstance(source, Network) or home_of(state, source) == home)]
    if heard:
        said["mirror-of"] = ", ".join(f"{source.xenapi} {source.uuid}" for source in heard)
    if said != vif.runtime_properties:
        draft.update(vif, runtime_properties=said)


def _state_of(state: PoolState, source: VIF) -> str:
    target = state.find(VIF, Ref(source.mirror_to))
    if target is None:
        return f"there is no VIF {source.other_config[KEY]}"
    if why := why_not(state, source, target):
        return why
    here, there = home_of(state, source), home_of(state, target)
    if NULL in (here, there):
        return f"VIF {(source if here == NULL else target).uuid} is not attached"
    return "active" if here == there else f"VIF {target.uuid} is on another host"
