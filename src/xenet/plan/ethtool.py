"""What records ask of drivers, in the words of ethtool(8): offloads and a NIC's link. Only what is set is asked for.

XenServer's keys: `ethtool-*` of the other_config of a PIF (its NIC), a network (its bridge) or a VIF (its device on the host), and gro of
PIF.properties, which the other_config beats. A value that is none is as if it were not there. lro is off on every port of a switch if
nobody asks for it: the kernel sees to that itself (dev_disable_lro in net/bridge/br_if.c and net/openvswitch/vport-netdev.c).
"""

import re
from collections.abc import Callable, Iterator, Mapping

from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.plan.view import Settings, SwitchView

OFFLOADS = ("rx", "tx", "sg", "tso", "ufo", "gso", "gro", "lro")
LINK = ("speed", "duplex", "autoneg", "advertise")
ON_A_NIC = (*OFFLOADS, *LINK)
ON_A_VIF = ("rx", "tx", "sg", "tso", "ufo", "gso")
USUAL: Settings = {"gro": "on"}
"""What NICs do without being told."""
_PREFIX = "ethtool-"
_SWITCH = {"on": "on", "true": "on", "off": "off", "false": "off"}


def settings_of(other_config: Mapping[str, str], words: tuple[str, ...]) -> dict[str, str]:
    """Those of these words that an other_config sets, each as ethtool writes it: on or off; Mbit/s; half or full; a mask in hexadecimal."""
    said = {word: other_config[_PREFIX + word] for word in words if _PREFIX + word in other_config} if other_config else {}
    return {word: value for word, text in said.items() if (value := _value(word, text))}


def unusable(other_config: Mapping[str, str], words: tuple[str, ...]) -> list[str]:
    """`ethtool-key=value` of each of these words that is set to something that is no value of it."""
    said = ((_PREFIX + word, word) for word in words if _PREFIX + word in other_config)
    return [f"{key}={other_config[key]}" for key, word in said if not _value(word, other_config[key])]


def _value(word: str, text: str) -> str:
    """Empty for what is no value."""
    reader = _READERS.get(word)
    return reader(text) if reader else _SWITCH.get(text, "")


def _speed(text: str) -> str:
    return str(int(text)) if re.fullmatch("[0-9]{1,9}", text) and int(text) else ""


def _advertise(text: str) -> str:
    return hex(int(text, 16)) if re.fullmatch("0[xX][0-9a-fA-F]{1,32}", text) and int(text, 16) else ""


_READERS: Mapping[str, Callable[[str], str]] = {
    "speed": _speed,
    "duplex": lambda text: text if text in ("half", "full") else "",
    "advertise": _advertise,
}


def of_uplink(state: PoolState, pif: PIF) -> dict[str, Settings]:
    """By NIC: of the PIF's own, or of its bond's slaves, each with its own other_config and the properties of the bond."""
    bonds = state.back(pif.ref, PIF.bond_master_of)
    nics = state.where(PIF, "bond_slave_of", bonds[0]) if bonds else [pif]
    asked = {nic.device: {**_properties(pif), **settings_of(nic.other_config, ON_A_NIC)} for nic in nics}
    return {device: settings for device, settings in asked.items() if settings}


def _properties(pif: PIF) -> dict[str, str]:
    return {"gro": gro} if (gro := _SWITCH.get(pif.properties.get("gro", ""))) else {}


def asked_of(switch: SwitchView) -> dict[str, Settings]:
    """All that a switch asks of devices: of its own, its NICs, its ports."""
    own = {switch.bridge: switch.ethtool} if switch.ethtool else {}
    ports = {port.device: port.ethtool for port in switch.ports.values() if port.ethtool}
    return {**own, **(switch.uplink.ethtool if switch.uplink else {}), **ports}


def to_tell(want: Settings, have: Settings | None) -> Settings:
    """What of it a device must be told, which has these settings now; None: nobody has looked, and it has what is usual."""
    return {word: value for word, value in want.items() if (USUAL if have is None else have).get(word) != value}


def told(device: str, want: Settings, have: Settings | None) -> tuple[str, ...]:
    """That as commands."""
    return tuple(commands(device, to_tell(want, have)))


def commands(device: str, settings: Settings) -> Iterator[str]:
    """The same as commands."""
    offloads = " ".join(f"{word} {value}" for word, value in settings.items() if word in OFFLOADS)
    link = " ".join(f"{word} {value}" for word, value in settings.items() if word in LINK)
    if offloads:
        yield f"ethtool -K {device} {offloads}"
    if link:
        yield f"ethtool -s {device} {link}"
