"""What the published clients have in common: the pool that they meet, with a VM on a network."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.server.api_server import ApiServer, api_server, vif_record, vm_record


class Met(NamedTuple):
    """A server, and its halted VM `vm1` with a VIF on the network `front`."""

    server: ApiServer
    vm: str
    front: str
    back: str
    vif: str


@pytest.fixture(scope="module")
def met() -> Iterator[Met]:
    with api_server("--store", "memory") as server, server.client() as client:
        front, back = [client.call("network.create", {"name_label": name, "other_config": {}}) for name in ("front", "back")]
        vm = client.call("VM.create", vm_record(name_label="vm1", platform={"cores-per-socket": "1"}))
        vif = client.call("VIF.create", vif_record(vm, front))
        yield Met(server, vm, front, back, vif)
