"""What drivers are told, on the fake data plane: what others change is mended, what a device cannot do fails nothing, nonsense is said."""

from collections.abc import Iterator

import pytest

from tests.agent.rig import Rig, edits
from tests.plan.pools import HERE, pool
from xenet.agent.unusable import complaints
from xenet.model.state import PoolState
from xenet.plan.steps import AttachUplink, SetPort

WORDS = {
    "networks": {"lan": {"told": {"tx": "maybe"}}},
    "pifs": {"eth0": {"network": "lan", "gro": "off", "told": {"tso": "off", "speed": "fast"}}},
    "vms": {
        "a": {"domid": 1, "vifs": {0: {"network": "lan", "told": {"gso": "off", "sg": "1", "gro": "x"}}}},
        "b": {"domid": 2, "host": "there", "vifs": {0: {"network": "lan", "told": {"gso": "2"}}}},
    },
}


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    made.start_at(pool(WORDS))
    yield made
    made.close()


def test_what_somebody_changes_is_mended(rig: Rig) -> None:
    drivers = rig.datapath.drivers
    assert {word: drivers.told["eth0"][word] for word in ("gro", "tso")} == {"gro": "off", "tso": "off"}
    assert drivers.told["vif1.0"]["gso"] == "off"
    drivers.told["eth0"]["gro"] = drivers.told["vif1.0"]["gso"] = "on"
    rig.keeper.start_over()
    uplink, port = rig.keeper.converge()
    assert isinstance(uplink, AttachUplink)
    assert isinstance(port, SetPort)
    assert (uplink.text.partition(" && ")[2], port.text.partition(" && ")[2]) == ("ethtool -K eth0 gro off", "ethtool -K vif1.0 gso off")
    assert rig.keeper.failures == {}
    assert rig.is_as(pool(WORDS))


def test_what_a_device_cannot_do_is_no_failure_and_no_step(rig: Rig) -> None:
    rig.datapath.drivers.unable["eth0"].add("lro")
    wanted = {**WORDS, "pifs": {"eth0": {"network": "lan", "gro": "off", "told": {"lro": "on"}}}}
    assert rig.go_to(pool(wanted)) == []
    assert rig.keeper.failures == {}
    assert rig.is_as(pool(wanted))


def test_what_is_not_asked_for_any_more_is_left(rig: Rig) -> None:
    assert rig.go_to(pool({**WORDS, "pifs": {"eth0": {"network": "lan"}}})) == []
    assert rig.datapath.drivers.told["eth0"]["tso"] == "off"


def test_what_makes_no_sense_is_said_of_this_hosts_records() -> None:
    state = pool(WORDS)
    said = set(complaints(state, HERE, edits(PoolState(), state)))
    assert said == {
        "network lan: other_config:ethtool-tx=maybe is ignored, it is no value of this key",
        "PIF eth0: other_config:ethtool-speed=fast is ignored, it is no value of this key",
        "VIF a.0: other_config:ethtool-sg=1 is ignored, it is no value of this key",
    }
    assert list(complaints(state, HERE, edits(state, state))) == []
