"""The host's own addresses and routes on a switch: what a PIF's settings mean there, and which PIF has the default route."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

from xenet.model.hidden import Lease
from xenet.model.netmask import prefix_of
from xenet.model.network import Network
from xenet.model.pif import PIF, IPv6Mode
from xenet.model.state import PoolState
from xenet.model.types import Ref, ref_of
from xenet.plan.view import AdvertisementsView, RouteView

DEFAULT_ROUTE = "0.0.0.0/0"
DEFAULT_ROUTE_V6 = "::/0"


def addresses_of(pif: PIF) -> tuple[str, ...]:
    """CIDRs in the kernel's form, sorted. What DHCP gave stands in the PIF."""
    v4 = [f"{pif.IP}/{prefix_of(pif.netmask)}"] if pif.ip_configuration_mode != "None" and pif.IP else []
    v6 = [str(ip_interface(address)) for address in pif.IPv6 if address] if pif.ipv6_configuration_mode in ("Static", "DHCP") else []
    return tuple(sorted((*v4, *v6)))


def dhcp_clients(state: PoolState, host: Ref) -> dict[str, tuple[str, str]]:
    """Where this host asks a DHCP server: bridge -> (the PIF's uuid, the address that it has now)."""
    asking = [pif for pif in _up(state, host) if pif.ip_configuration_mode == "DHCP"]
    return {state.get(Network, pif.network).bridge: (pif.uuid, pif.IP) for pif in asking}


def listeners6(state: PoolState, host: Ref, mode: IPv6Mode) -> dict[str, tuple[str, str]]:
    """The same for IPv6 with this mode; a DHCPv6 client keeps the address itself."""
    asking = [pif for pif in _up(state, host) if pif.ipv6_configuration_mode == mode]
    return {state.get(Network, pif.network).bridge: (pif.uuid, "") for pif in asking}


def has_addresses(state: PoolState, uuid: str, lease: Lease) -> bool:
    """Whether what a DHCP server gave stands in the PIF with this uuid; of a PIF that is gone nothing is missing."""
    pif = state.find(PIF, ref_of(uuid))
    return pif is None or set(lease.addresses) <= {*addresses_of(pif)}


def _up(state: PoolState, host: Ref) -> list[PIF]:
    return [pif for pif in state.where(PIF, "host", host) if pif.plugged and pif.managed]


def advertisements_of(state: PoolState, pif: PIF) -> AdvertisementsView | None:
    """With DHCP, too, the default route is the routers' to tell: DHCPv6 has no word for it. Only the PIF with the host's gateway takes it."""
    if pif.ipv6_configuration_mode not in ("DHCP", "Autoconf"):
        return None
    return AdvertisementsView(autoconf=pif.ipv6_configuration_mode == "Autoconf", router=gateway_pif(state, pif.host) == pif.ref)


def routes_of(state: PoolState, network: Network, pif: PIF) -> tuple[RouteView, ...]:
    """The default route, where this PIF has it, and of the network's other_config:static-routes those whose gateway is on a subnet of the
    PIF's: on a host without an address there, or without one yet, they would be refused, and the switch's other settings with them."""
    subnets = [ip_interface(address).network for address in addresses_of(pif)]
    static = (route for route in _static_routes(network) if any(ip_address(route.gateway) in subnet for subnet in subnets))
    return tuple(sorted({*_default_routes(state, pif), *static}))


def _default_routes(state: PoolState, pif: PIF) -> Iterator[RouteView]:
    if gateway_pif(state, pif.host) != pif.ref:
        return
    if pif.ip_configuration_mode != "None" and pif.gateway:
        yield RouteView(DEFAULT_ROUTE, pif.gateway)
    if pif.ipv6_configuration_mode == "Static" and pif.ipv6_gateway:
        yield RouteView(DEFAULT_ROUTE_V6, str(ip_address(pif.ipv6_gateway)))


def gateway_pif(state: PoolState, host: Ref) -> Ref | None:
    """Which PIF of a host installs its gateway. With an unmanaged management interface the default route is its administrator's affair."""
    best = chosen_pif(state, host, "defaultroute")
    return best.ref if best else None


def chosen_pif(state: PoolState, host: Ref, key: str) -> PIF | None:
    """The one PIF whose word counts: one with true for this key of its other_config, else the management interface, else any with an
    address (XenServer's order)."""
    candidates = [pif for pif in state.where(PIF, "host", host) if (pif.plugged and has_mode(pif)) or (pif.management and not pif.managed)]
    return min(candidates, key=lambda pif: (pif.other_config.get(key) != "true", not pif.management, pif.device), default=None)


def has_mode(pif: PIF) -> bool:
    """Whether the PIF has an IP configuration of its primary type."""
    mode = pif.ip_configuration_mode if pif.primary_address_type == "IPv4" else pif.ipv6_configuration_mode
    return mode != "None"


def _static_routes(network: Network) -> tuple[RouteView, ...]:
    """From "subnet/prefix/gateway,...": one wrong entry drops them all, as in XenServer."""
    text = network.other_config.get("static-routes", "")
    try:
        return tuple(_static_route(entry) for entry in text.split(",") if entry.strip())
    except ValueError:
        return ()


def _static_route(entry: str) -> RouteView:
    subnet, prefix, gateway = entry.strip().split("/")
    return RouteView(str(ip_network(f"{subnet}/{prefix}", strict=False)), str(ip_address(gateway)))
