"""A bond as its host must have it: what its records say, and what its PIF's other_config says beside them.

XenServer hands fixed settings of the links down to its switches; a key `bond-<setting>` of the master PIF's other_config overrides each.
A value that makes no sense is as none.
"""

import re
from collections.abc import Mapping
from typing import get_args

from xenet.model.derived import Bond, BondMode
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.plan.view import BondView

_MODES: dict[str, BondMode] = {mode: mode for mode in get_args(get_args(BondMode)[0])}


def bond_view(state: PoolState, pif: PIF) -> BondView | None:
    """None: the PIF is no bond's."""
    bond = next(iter(state.where(Bond, "master", pif.ref)), None)
    if bond is None:
        return None
    primary = state.find(PIF, bond.primary_slave)
    own = _own(pif.other_config)
    mode = _MODES.get(own.get("mode", ""), bond.mode)
    lacp = {**bond.properties, **own} if mode == "lacp" else {}
    spread = lacp.get("hashing-algorithm", lacp.get("hashing_algorithm", "tcpudp_ports"))
    return BondView(
        tuple(sorted(slave.device for slave in state.where(PIF, "bond_slave_of", bond.ref))),
        mode,
        pif.MAC.lower(),
        primary.device if primary else "",
        miimon=_number(own, "miimon", 100) or 100,
        downdelay=_number(own, "downdelay", 200),
        updelay=_number(own, "updelay", 31000),
        hashing="tcpudp_ports" if mode == "lacp" and spread != "src_mac" else "src_mac",
        rebalance=_number(own, "rebalance-interval", 1800000) if mode != "lacp" else 1800000,
        lacp_time="fast" if lacp.get("lacp-time") == "fast" else "slow",
        lacp_key=_number(lacp, "lacp-aggregation-key", 0),
        lacp_fallback=lacp.get("lacp-fallback-ab") != "false",
    )


def _own(other_config: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix("bond-"): value for key, value in other_config.items() if key.startswith("bond-")}


def _number(settings: Mapping[str, str], name: str, otherwise: int) -> int:
    text = settings.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,7}", text) else otherwise
