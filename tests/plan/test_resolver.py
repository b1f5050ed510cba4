"""Which PIF's DNS is the host's, and how it is written."""

from typing import Any

import msgspec
import pytest

from tests.plan.pools import HERE, pool
from xenet.model.pif import PIF
from xenet.model.types import ref_of
from xenet.plan.resolver import resolv_conf

ADDRESSED = {
    "networks": {"lan": {}, "wan": {}},
    "pifs": {
        "eth0": {"network": "lan", "address": "10.0.0.5/24", "management": True},
        "eth1": {"network": "wan", "address": "10.1.0.5/24"},
    },
}
"""Two PIFs with an address, the first for management."""


def said(eth0: dict[str, Any], eth1: dict[str, Any]) -> str:
    """With these fields of the two."""
    state = pool(ADDRESSED)
    for device, fields in (("eth0", eth0), ("eth1", eth1)):
        pif = msgspec.structs.replace(state.get(PIF, ref_of(device)), **fields)
        state = state.with_record("PIF", pif.ref, pif)
    return resolv_conf(state, HERE)


OFF = {"ip_configuration_mode": "None", "management": False}
FIRST, SECOND = {"DNS": "10.0.0.53"}, {"DNS": "10.1.0.53"}


@pytest.mark.parametrize(
    ("eth0", "eth1", "text"),
    [
        ({}, {}, ""),
        ({"DNS": "10.0.0.53,2001:db8::53"}, {}, "# xenet: the DNS of PIF eth0\nnameserver 10.0.0.53\nnameserver 2001:db8::53\n"),
        (FIRST, SECOND, "# xenet: the DNS of PIF eth0\nnameserver 10.0.0.53\n"),
        (FIRST, {**SECOND, "other_config": {"peerdns": "true"}}, "# xenet: the DNS of PIF eth1\nnameserver 10.1.0.53\n"),
        ({"other_config": {"domain": "a.example, b.example"}}, {}, "# xenet: the DNS of PIF eth0\nsearch a.example b.example\n"),
        ({}, SECOND, ""),
        ({**FIRST, "managed": False}, SECOND, ""),
        ({**FIRST, **OFF}, SECOND, "# xenet: the DNS of PIF eth1\nnameserver 10.1.0.53\n"),
        ({"DNS": "10.0.0.53\nnameserver 192.0.2.6", "other_config": {"domain": "x\ny,ok"}}, {}, "# xenet: the DNS of PIF eth0\nsearch ok\n"),
    ],
)
def test_resolv_conf(eth0: dict[str, Any], eth1: dict[str, Any], text: str) -> None:
    assert said(eth0, eth1) == text
