"""What of a network is mirrored on one host: both ends must be there. A target is reserved wherever its sources are."""

from collections.abc import Mapping

from xenet.model.mirrors import is_named, sources_of
from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.types import Ref, ref_of
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.plan.view import MirrorView, PortView


def mirrors_of(state: PoolState, network: Network, host: Ref, ports: Mapping[str, PortView]) -> tuple[MirrorView, ...]:
    """Of the switch with these ports. A VIF whose VM is on the way counts where the VM runs."""
    if not any(is_named(state, network, ref_of(port.vif)) for port in ports.values()):
        return ()
    vifs = [state.get(VIF, ref_of(port.vif)) for port in ports.values()]
    here = {vif.ref: device for device, vif in zip(ports, vifs, strict=True) if state.get(VM, vif.VM).running_on == host}
    return tuple(sorted(_mirror(state, vif, here) for vif in vifs if vif.ref in here and sources_of(state, vif)))


def _mirror(state: PoolState, target: VIF, here: Mapping[Ref, str]) -> MirrorView:
    sources = sources_of(state, target)
    if any(isinstance(source, Network) for source in sources):  # then it has all of the VIFs' frames, too
        return MirrorView(here[target.ref], everything=True)
    return MirrorView(here[target.ref], sources=tuple(sorted(here[source.ref] for source in sources if source.ref in here)))
