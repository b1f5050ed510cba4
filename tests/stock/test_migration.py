"""Live migration on the Linux bridge with what only a stock kernel has: VLAN devices and bonds."""

from collections.abc import Iterator

import pytest

from tests.e2e.crossing import NICS, check_bond, check_vlan
from tests.e2e.yard import Yard, yard

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with yard(tmp_path_factory.mktemp("pool"), "bridge", NICS) as made:
        yield made


def test_on_a_vlan(site: Yard) -> None:
    check_vlan(site)


def test_on_a_bond(site: Yard) -> None:
    check_bond(site)
