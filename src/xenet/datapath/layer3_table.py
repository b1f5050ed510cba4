"""What is known of a host's addresses and routes, kept from dumps and notifications. Methods that take news say which devices they are of."""

from collections import defaultdict
from collections.abc import Iterable

from xenet.datapath.addresses import GLOBAL, Address, Route, parse_address, parse_route, replaces
from xenet.datapath.links import Link
from xenet.datapath.netlink import DELADDR, DELROUTE, NEWADDR, NEWROUTE
from xenet.model.hidden import Lease
from xenet.plan.view import RouteView

ADDRESSES, ROUTES = (NEWADDR, DELADDR), (NEWROUTE, DELROUTE)


class Layer3Table:
    """By ifindex."""

    def __init__(self) -> None:
        self.addresses: defaultdict[int, dict[str, Address]] = defaultdict(dict)
        """ifindex -> CIDR -> what is known of it."""
        self.routes: defaultdict[int, set[Route]] = defaultdict(set)

    def load(self, addresses: Iterable[Address], routes: Iterable[Route]) -> set[int]:
        """Take full dumps in place of all that was known."""
        addressed, routed = self.addresses, self.routes
        self.addresses, self.routes = defaultdict(dict), defaultdict(set)
        for address in addresses:
            self.addresses[address.index][address.cidr] = address
        for route in routes:
            self.routes[route.index].add(route)
        known = addressed.keys() | self.addresses.keys() | routed.keys() | self.routes.keys()
        return {index for index in known if addressed[index] != self.addresses[index] or routed[index] != self.routes[index]}

    def take(self, kind: int, message: bytes) -> set[int]:
        """Take a notification of ADDRESSES or ROUTES."""
        return self._take_address(kind, message) if kind in ADDRESSES else self._take_route(kind, message)

    def _take_address(self, kind: int, message: bytes) -> set[int]:
        address = parse_address(message)
        if address is None:
            return set()
        known = self.addresses[address.index]
        if kind == DELADDR:
            known.pop(address.cidr, None)
        elif known.get(address.cidr) == address:
            return set()
        else:
            known[address.cidr] = address
        return {address.index}

    def _take_route(self, kind: int, message: bytes) -> set[int]:
        route = parse_route(message)
        if route is None:
            return set()
        if kind == DELROUTE:
            self.routes[route.index].discard(route)
            return {route.index}
        dropped = self._drop(route.view.destination, route.metric) if replaces(message) else set()
        self.routes[route.index].add(route)
        return {*dropped, route.index}

    def _drop(self, destination: str, metric: int) -> set[int]:
        gone = {
            index: same
            for index, routes in self.routes.items()
            if (same := {route for route in routes if route.view.destination == destination and route.metric == metric})
        }
        for index, routes in gone.items():
            self.routes[index] -= routes
        return set(gone)

    def drop_quiet(self, index: int) -> bool:
        """The kernel drops the IPv4 routes of a device that goes down without a word. Whether there were any."""
        routes = self.routes.get(index, set())
        if quiet := {route for route in routes if ":" not in route.view.gateway}:
            self.routes[index] = routes - quiet
        return bool(quiet)

    def of(self, link: Link) -> tuple[tuple[str, ...], tuple[RouteView, ...]]:
        """The addresses and routes of a switch's own device, as SwitchView has them."""
        autoconf, router = (link.advertisements.autoconf, link.advertisements.router) if link.advertisements else (False, False)
        addresses = sorted(address.cidr for address in self._global(link.index) if not (autoconf and address.advertised))
        routes = sorted(route.view for route in self.routes.get(link.index, ()) if not (router and route.advertised))
        return tuple(addresses), tuple(routes)

    def advertised(self, link: Link | None) -> Lease:
        """What a switch's device has by routers' advertisements; an address once it is sure that nobody else has it."""
        if link is None or link.advertisements is None:
            return Lease()
        addresses = sorted(address.cidr for address in self._global(link.index) if address.advertised and address.ready)
        routers = sorted(route.view.gateway for route in self.routes.get(link.index, ()) if route.advertised and route.view.destination == "::/0")
        return Lease(tuple(addresses), next(iter(routers), ""))

    def _global(self, index: int) -> list[Address]:
        return [address for address in self.addresses.get(index, {}).values() if address.scope == GLOBAL]
