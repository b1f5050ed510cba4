"""Live migration on Open vSwitch: a plain network, one on a VLAN, one on a bond."""

from collections.abc import Iterator

import pytest

from tests.e2e.crossing import NICS, check_bond, check_vlan
from tests.e2e.world import until
from tests.e2e.yard import Yard, yard

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with yard(tmp_path_factory.mktemp("pool"), "openvswitch", NICS) as made:
        yield made


def test_on_a_plain_network(site: Yard) -> None:
    assert site.ping()
    for host in ("host2", "host1"):
        site.migrate(host)
        assert site.where() == host
        until(lambda host=host: site.port_of(site.mac) == host)  # type: ignore[misc]
        until(site.ping)
        site.settle()


def test_on_a_vlan(site: Yard) -> None:
    check_vlan(site)


def test_on_a_bond(site: Yard) -> None:
    check_bond(site)
