"""A host with three NICs, and a network for its bond."""

import pytest

from tests.verbs.world import World


@pytest.fixture
def world():
    return World()


@pytest.fixture
def host(world):
    return world.host("a", "eth0", "eth1", "eth2")


@pytest.fixture
def eth(world, host):
    return [world.pif(host, world.external(n)) for n in range(3)]


@pytest.fixture
def network(world, host):
    return world.network()
