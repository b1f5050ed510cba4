"""Drift is there exactly where there are steps, and says what differs."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plan.pools import HERE
from tests.plan.states import STATES
from tests.plan.whole import compile_host
from xenet.plan.diff import diff_host
from xenet.plan.drift import Drift, drift
from xenet.plan.view import GuestView, HostView, LockView, PortView, RouteView, SwitchView, UplinkView

replace = msgspec.structs.replace
VIEWS = {name: compile_host(state, HERE) for name, state in STATES.items()}
PORT = PortView("vif1.0", "a.0", "a", 0, "02:00:00:00:61:00")
SWITCH = SwitchView("br", "net", mac="02:00:00:00:00:01", uplink=UplinkView("eth0"), ports={PORT.device: PORT}, addresses=("10.0.0.1/24",))
GUEST = GuestView("a", 1, "a")


def host(*switches: SwitchView, guests: tuple[GuestView, ...] = (GUEST,)) -> HostView:
    return HostView({switch.bridge: switch for switch in switches}, {guest.vm: guest for guest in guests})


def same(wanted: HostView, observed: HostView, borrowed: dict[str, tuple[str, ...]] | None = None) -> bool:
    """Both find something, or neither does; whether they do."""
    found = drift(wanted, observed, borrowed)
    assert bool(found) == bool(diff_host(wanted, observed, borrowed))
    assert all(row.wanted != row.observed for row in found)
    return not found


@pytest.mark.parametrize("name", VIEWS)
def test_a_host_that_is_as_wanted_has_none(name: str) -> None:
    assert same(VIEWS[name], VIEWS[name])


@pytest.mark.parametrize("wanted", VIEWS)
@pytest.mark.parametrize("observed", VIEWS)
def test_where_states_differ_there_are_steps_and_drift(wanted: str, observed: str) -> None:
    assert same(VIEWS[wanted], VIEWS[observed]) == (VIEWS[wanted] == VIEWS[observed])


DEVICES, BRIDGES, NICS, CIDRS = ("vif1.0", "vif1.1", "vif2.0"), ("a", "b"), ("eth0", "eth1"), ("10.0.0.1/24", "10.0.0.2/24")
ROUTES = tuple(RouteView(destination, gateway) for destination in ("0.0.0.0/0", "10.9.0.0/16") for gateway in ("10.0.0.8", "10.0.0.9"))


@st.composite
def hosts(draw: st.DrawFn) -> HostView:
    """Small hosts, so that two of them are often nearly the same. A device is on one switch, as in a kernel."""
    mtu = st.sampled_from((1500, 9000))
    at = draw(st.dictionaries(st.sampled_from(DEVICES), st.sampled_from(BRIDGES)))
    nics = draw(st.permutations(NICS))
    switches = {}
    told = st.sampled_from(({"gro": "on"}, {"gro": "off", "tso": "on"}))
    for nic, bridge in zip(nics, draw(st.sets(st.sampled_from(BRIDGES))), strict=False):
        vif, mac = st.sampled_from(("v", "w")), st.sampled_from(("02:00:00:00:00:01", "02:00:00:00:00:02"))
        lock = st.sampled_from((None, LockView(), LockView(("10.0.0.1",), whole=False)))
        ports = {
            d: PortView(d, draw(vif), "vm", 0, draw(mac), draw(mtu), up=draw(st.booleans()), lock=draw(lock), ethtool=draw(told))
            for d, place in at.items()
            if place == bridge
        }
        uplink = draw(st.none() | st.builds(UplinkView, st.just(nic), mtu, st.booleans(), ethtool=st.fixed_dictionaries({nic: told})))
        addresses = tuple(sorted(draw(st.sets(st.sampled_from(CIDRS)))))
        routes = tuple(sorted(draw(st.sets(st.sampled_from(ROUTES)))))
        switches[bridge] = SwitchView(bridge, draw(vif), draw(st.just("") | mac), draw(mtu), draw(st.booleans()), uplink, ports, addresses, routes)
    guests = draw(st.lists(st.builds(GuestView, st.sampled_from(("vm", "other")), st.integers(1, 2), st.just("name")), unique_by=lambda g: g.vm))
    return HostView(switches, {guest.vm: guest for guest in guests})


@given(hosts(), hosts(), st.dictionaries(st.sampled_from(NICS), st.sampled_from(((), ("10.0.0.1/24",)))))
def test_there_is_drift_exactly_where_there_are_steps(wanted: HostView, observed: HostView, borrowed: dict[str, tuple[str, ...]]) -> None:
    same(wanted, observed, borrowed)
    assert same(wanted, wanted)


def others(view: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    """The view with one field after the other changed, those with a value that can be."""
    for name in view.__struct_fields__:
        value = getattr(view, name)
        match value:
            case bool():
                yield name, replace(view, **{name: not value})
            case int():
                yield name, replace(view, **{name: value + 1})
            case str() if name not in ("device", "bridge", "kind"):  # the keys, and one that is no free text
                yield name, replace(view, **{name: f"{value}0"})


@pytest.mark.parametrize(("field", "port"), list(others(PORT)))
def test_every_field_of_a_port_counts(field: str, port: PortView) -> None:
    assert not same(host(SWITCH), host(replace(SWITCH, ports={PORT.device: port})))
    assert [row.field for row in drift(host(SWITCH), host(replace(SWITCH, ports={PORT.device: port})))] == [field]


@pytest.mark.parametrize(("field", "switch"), list(others(SWITCH)))
def test_every_field_of_a_switch_counts(field: str, switch: SwitchView) -> None:
    assert not same(host(SWITCH), host(switch))
    assert [row.field for row in drift(host(SWITCH), host(switch))] == [field]


OTHER = SwitchView("other", "net2")
CASES: dict[str, tuple[HostView, HostView, list[Drift]]] = {
    "a switch is missing, and its port with it": (
        host(SWITCH),
        host(),
        [Drift("network", "net", "br", "present", "true", "false"), Drift("VIF", "a.0", "vif1.0", "bridge", "br", "")],
    ),
    "a switch is too many": (host(), host(OTHER), [Drift("network", "net2", "other", "present", "false", "true")]),
    "a port is in another switch": (
        host(SWITCH, OTHER),
        host(replace(SWITCH, ports={}), replace(OTHER, ports={PORT.device: PORT})),
        [Drift("VIF", "a.0", "vif1.0", "bridge", "br", "other")],
    ),
    "the NIC left": (host(SWITCH), host(replace(SWITCH, uplink=None)), [Drift("network", "net", "br", "uplink", "eth0", "")]),
    "drivers do what they were not told": (
        host(replace(SWITCH, uplink=UplinkView("eth0", ethtool={"eth0": {"gro": "on", "tso": "off"}}), ethtool={"tx": "off"})),
        host(replace(SWITCH, uplink=UplinkView("eth0", ethtool={"eth0": {"gro": "off", "tso": "off"}}), ethtool={"tx": "on"})),
        [
            Drift("network", "net", "br", "ethtool", "tx off", "tx on"),
            Drift("network", "net", "br", "uplink ethtool", "eth0 gro on, tso off", "eth0 gro off, tso off"),
        ],
    ),
    "the NIC is small": (
        host(SWITCH),
        host(replace(SWITCH, uplink=UplinkView("eth0", 1400))),
        [Drift("network", "net", "br", "uplink mtu", "1500", "1400")],
    ),
    "an address more, and a route": (
        host(SWITCH),
        host(replace(SWITCH, addresses=("10.0.0.1/24", "10.0.0.2/24"), routes=(RouteView("10.9.0.0/16", "10.0.0.9"),))),
        [
            Drift("network", "net", "br", "addresses", "10.0.0.1/24", "10.0.0.1/24, 10.0.0.2/24"),
            Drift("network", "net", "br", "routes", "", "destination 10.9.0.0/16 gateway 10.0.0.9"),
        ],
    ),
    "a VM runs as another domain": (
        host(guests=(GUEST,)),
        host(guests=(replace(GUEST, domid=7),)),
        [Drift("VM", "a", "a", "domid", "1", "7")],
    ),
    "a VM does not run": (host(guests=(GUEST,)), host(guests=()), [Drift("VM", "a", "a", "domid", "1", "")]),
}


@pytest.mark.parametrize("name", CASES)
def test_it_says_what_differs(name: str) -> None:
    wanted, observed, expected = CASES[name]
    assert drift(wanted, observed) == expected
    assert not same(wanted, observed)


def test_an_address_that_the_nic_holds_itself_is_drift() -> None:
    found = drift(host(SWITCH), host(SWITCH), {"eth0": ("10.0.0.7/24",), "eth9": ("10.0.0.8/24",)})
    assert found == [Drift("network", "net", "br", "uplink addresses", "", "10.0.0.7/24")]


def test_a_mac_that_nobody_wants_is_the_kernels_choice() -> None:
    assert same(host(replace(SWITCH, mac="")), host(SWITCH))
