"""A whole host at once. The agent compiles bridge by bridge, as far as a change concerns them."""

from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.types import Ref
from xenet.plan.compile import compile_guests, compile_switch
from xenet.plan.view import HostView


def compile_host(state: PoolState, host: Ref) -> HostView:
    """All that this host must have."""
    bridges = {network.bridge for network in state.all(Network)}
    switches = {bridge: switch for bridge in bridges if (switch := compile_switch(state, host, bridge)) is not None}
    return HostView(switches, {guest.vm: guest for guest in compile_guests(state, host)})
