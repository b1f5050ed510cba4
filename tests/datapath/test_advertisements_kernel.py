"""What a bridge takes from routers' advertisements: switched on and off for it alone, and nothing of it left."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.datapath.bridge_host import Host, external, hosts
from xenet.plan.steps import SetAdvertisements
from xenet.plan.view import AdvertisementsView

pytestmark = pytest.mark.kernel
ALL = AdvertisementsView(autoconf=True, router=True)
STATES = (ALL, None, AdvertisementsView(autoconf=False, router=True), AdvertisementsView(autoconf=True, router=False), ALL)


@pytest.fixture
def host() -> Iterator[Host]:
    with hosts() as made:
        yield made


def own(host: Host, *more: str) -> list[dict[str, Any]]:
    """The bridge's IPv6 addresses."""
    found: list[dict[str, Any]] = [a for entry in host.json("-6", "address", "show", "dev", "xapi0", *more) for a in entry.get("addr_info", [])]
    return found


def test_from_any_to_any_other_and_observed_as_it_is(host: Host) -> None:
    for want in STATES:
        host.reach(external(host, advertisements=want))
        assert host.truth()["xapi0"].advertisements == want
        assert bool(own(host)) == (want is not None)


def test_a_link_local_address_that_is_not_sure_yet_goes_as_well(host: Host) -> None:
    """Of it the kernel has said nothing."""
    host.reach(external(host, advertisements=ALL))
    host.reach(external(host))
    assert own(host) == []


def test_an_address_that_is_given_stays(host: Host) -> None:
    host.reach(external(host, advertisements=ALL, addresses=("2001:db8::5/64",)))
    host.reach(external(host, addresses=("2001:db8::5/64",)))
    assert [address["local"] for address in own(host)] == ["2001:db8::5"]
    assert [route["dst"] for route in host.json("-6", "route", "show", "dev", "xapi0")] == ["2001:db8::/64"]


def test_a_strangers_setting_is_seen_and_mended(host: Host) -> None:
    host.reach(external(host))
    host.ns.command("sysctl", "-qw", "net.ipv6.conf.xapi0.accept_ra=1")
    host.ns(host.datapath.observe)
    assert host.datapath.switches()["xapi0"].advertisements is not None
    host.reach(external(host))
    assert host.truth()["xapi0"].advertisements is None


def test_a_bridge_too_small_for_ipv6_is_refused(host: Host) -> None:
    host.reach(external(host, mtu=1200))
    failures = host.do(SetAdvertisements(object="o", bridge="xapi0", advertisements=ALL))
    assert ["MTU must be 1280" in failure.text for failure in failures] == [True]
    assert host.do(SetAdvertisements(object="o", bridge="xapi0", advertisements=None)) == []
    assert own(host) == []
