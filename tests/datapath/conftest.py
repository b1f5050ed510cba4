"""What tests of datapaths share."""

from collections.abc import Iterator

import pytest

from tests.datapath.bridge_host import Host, hosts
from tests.datapath.switch_host import switch_hosts


@pytest.fixture(params=["bridge", "openvswitch"])
def either(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host for what must hold of any datapath."""
    with hosts() if request.param == "bridge" else switch_hosts() as made:
        yield made
