"""The host internal management network is made where a pool has none: with its first host, or at the next start after an older release."""

from xenet.model.himn import BRIDGE, SETTINGS
from xenet.model.network import Network
from xenet.verbs.call import Work

LABEL = "Host internal management network"
DESCRIPTION = "On each host a network of its own, on which guests get an address and reach that host's API"


def ensure_himn(work: Work) -> None:
    if not work.state.refs_where("network", "bridge", BRIDGE):
        uuid = work.call.entropy.uuid()
        work.put(Network(uuid=uuid, name_label=LABEL, name_description=DESCRIPTION, bridge=BRIDGE, other_config=SETTINGS))
