"""Guests on taps, on a stock kernel: the host hears what they claim, and speaks for them on the Linux bridge with what only this kernel has."""

import subprocess

import pytest

from tests.agent.test_learner import check_room, site_of
from tests.datapath.bridge_host import hosts
from tests.datapath.spoken import check_bond, check_vlan

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


@pytest.fixture(autouse=True, scope="module")
def taps() -> None:
    """There is no udev here to load it when it is wanted."""
    subprocess.run(["modprobe", "tun"], check=True)


@pytest.mark.parametrize("check", [check_vlan, check_bond])
def test_on_the_bridge(check) -> None:
    with hosts() as host:
        check(host)


def test_guests_are_heard() -> None:
    with site_of(2) as site:
        check_room(site)
