"""What records ask of drivers: which values count, whose word is stronger, and what a bond's slaves get."""

import pytest

from tests.plan.pools import HERE, pif, pool
from tests.plan.whole import compile_host
from xenet.model.state import state_of
from xenet.plan.compile import compile_switch
from xenet.plan.ethtool import ON_A_NIC, ON_A_VIF, asked_of, of_uplink, settings_of, unusable

GOOD = {
    "speed": {"1000": "1000", "010": "10"},
    "duplex": {"half": "half", "full": "full"},
    "autoneg": {"on": "on", "true": "on", "off": "off", "false": "off"},
    "advertise": {"0x20": "0x20", "0X0F": "0xf"},
    "tso": {"on": "on", "false": "off"},
}
BAD = {
    "speed": ("0", "-1", "fast", "1e3", "", "٣"),
    "duplex": ("Full", "on", ""),
    "autoneg": ("1", "yes", "ON", ""),
    "advertise": ("20", "0x", "0x0", "0xg"),
    "tso": ("1", "True", ""),
}


@pytest.mark.parametrize(("word", "text", "value"), [(word, text, value) for word, texts in GOOD.items() for text, value in texts.items()])
def test_values_that_count(word: str, text: str, value: str) -> None:
    other_config = {f"ethtool-{word}": text, "ethtool-nonsense": "on", word: "off"}
    assert settings_of(other_config, ON_A_NIC) == {word: value}
    assert unusable(other_config, ON_A_NIC) == []


@pytest.mark.parametrize(("word", "text"), [(word, text) for word, texts in BAD.items() for text in texts])
def test_values_that_do_not(word: str, text: str) -> None:
    other_config = {f"ethtool-{word}": text}
    assert settings_of(other_config, ON_A_NIC) == {}
    assert unusable(other_config, ON_A_NIC) == [f"ethtool-{word}={text}"]


def test_a_vif_has_no_link_of_its_own() -> None:
    assert settings_of({"ethtool-speed": "10", "ethtool-gro": "on", "ethtool-gso": "on"}, ON_A_VIF) == {"gso": "on"}


def test_the_other_config_beats_the_properties() -> None:
    nic = pif("eth0", "lan", told={"gro": "on"}, gro="off")
    assert of_uplink(state_of(1, [nic]), nic) == {"eth0": {"gro": "on"}}
    broken = pif("eth0", "lan", told={"gro": "maybe"}, gro="off")
    assert of_uplink(state_of(1, [broken]), broken) == {"eth0": {"gro": "off"}}


def test_slaves_have_their_own_settings_and_the_bonds_properties() -> None:
    words = {
        "networks": {"lan": {}, "a": {}, "b": {}},
        "pifs": {"eth0": {"network": "a", "gro": "on", "told": {"tso": "off"}}, "eth1": {"network": "b", "gro": "on"}},
        "bonds": {"bond0": {"network": "lan", "slaves": ["eth0", "eth1"], "gro": "off", "told": {"sg": "off"}}},
    }
    switch = compile_switch(pool(words), HERE, "br-lan")
    assert switch is not None
    assert asked_of(switch) == {"eth0": {"gro": "off", "tso": "off"}, "eth1": {"gro": "off"}}


def test_all_that_a_host_asks_for() -> None:
    state = pool(
        {
            "networks": {"lan": {"told": {"tso": "off"}}, "red": {}},
            "pifs": {"eth0": {"network": "lan", "gro": "on"}},
            "vms": {"a": {"domid": 1, "vifs": {0: {"network": "lan", "told": {"tx": "off"}}, 1: "red"}}},
        }
    )
    asked = {bridge: asked_of(switch) for bridge, switch in compile_host(state, HERE).switches.items()}
    assert asked == {"br-lan": {"br-lan": {"tso": "off"}, "eth0": {"gro": "on"}, "vif1.0": {"tx": "off"}}, "br-red": {}}
