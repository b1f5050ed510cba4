"""What can be set on a bond beside its mode: only lacp has properties. Each key has the values that it takes and the one that it has by
itself."""

import re
from collections.abc import Mapping

from xenet.model.derived import BondMode
from xenet.model.errors import invalid_value

_LACP: dict[str, tuple[str, str | None]] = {
    "hashing_algorithm": ("src_mac|tcpudp_ports", "tcpudp_ports"),
    "lacp-time": ("fast|slow", "slow"),
    "lacp-aggregation-key": ("[0-9]{1,5}", None),
    "lacp-fallback-ab": ("true|false", "true"),
}
_KEYS: dict[BondMode, dict[str, tuple[str, str | None]]] = {"balance-slb": {}, "active-backup": {}, "lacp": _LACP}
LAST_KEY = 65535
"""IEEE 802.1AX: an aggregation key has 16 bits."""


def check_property(mode: BondMode, name: str, value: str) -> None:
    """Raises INVALID_VALUE ["properties", "name = value"] for what this mode has no use for."""
    if not _takes(mode, name, value):
        raise invalid_value("properties", f"{name} = {value}")


def _takes(mode: BondMode, name: str, value: str) -> bool:
    pattern, _ = _KEYS[mode].get(name, ("", None))
    return bool(pattern) and re.fullmatch(pattern, value) is not None and (name != "lacp-aggregation-key" or int(value) <= LAST_KEY)


def fitting(mode: BondMode, properties: Mapping[str, str]) -> dict[str, str]:
    """Of these the ones that mean something in this mode, and the mode's own values for the rest."""
    own = {name: value for name, (_, value) in _KEYS[mode].items() if value is not None}
    return {**own, **{name: value for name, value in properties.items() if _takes(mode, name, value)}}
