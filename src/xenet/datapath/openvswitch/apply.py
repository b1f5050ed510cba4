"""Steps on switches as values: what the database must say after a batch. Ports' rates, locks and states are other things' business."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from xenet.datapath.batch import Refused
from xenet.plan import steps as s
from xenet.plan.view import PortView, SwitchView

_MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")
replace = msgspec.structs.replace
Switches = dict[str, SwitchView]


def apply(switches: Mapping[str, SwitchView], step: s.Step) -> Switches:
    """The switches after this step; as they are for one that the database knows nothing of. Raises Refused."""
    now = dict(switches)
    if isinstance(step, s.CreateSwitch | s.SetSwitch) and step.switch.mac and not _MAC.fullmatch(step.switch.mac):
        raise Refused(f"{step.switch.mac!r} is no MAC")  # the database would take it, and nobody say a word
    match step:
        case s.CreateSwitch():
            _create(now, step.switch)
        case s.SetSwitch():
            want, have = step.switch, _own(now, step.switch.bridge)
            now[want.bridge] = replace(have, network=want.network, mac=want.mac or have.mac, mtu=want.mtu, **_said(want))
        case s.DeleteSwitch():
            _delete(now, step.bridge)
        case s.AttachUplink():
            now[step.bridge] = replace(_own(now, step.bridge), uplink=step.uplink)
        case s.DetachUplink():
            _detach(now, step)
        case s.CreatePort() | s.SetPort():
            _put(now, step.bridge, step.port, step.foreign)
        case s.RemovePort():
            _take_out(now, step.port.device)
        case s.SetMirrors():
            now[step.bridge] = replace(_own(now, step.bridge), mirrors=step.mirrors)
    return now


def _said(want: SwitchView) -> dict[str, Any]:
    return {"fail_mode": want.fail_mode, "disable_in_band": want.disable_in_band, "snooping": want.snooping}


def _own(switches: Switches, bridge: str) -> SwitchView:
    if bridge not in switches:
        raise Refused(f"there is no bridge {bridge}")
    return switches[bridge]


def _create(switches: Switches, want: SwitchView) -> None:
    """A VLAN's needs its tag from the beginning: it is no bridge of its own. Ports and other uplinks are steps that follow."""
    have = switches.get(want.bridge)
    if have and have.network != want.network:
        raise Refused(f"{want.bridge} serves another network")
    uplink = want.uplink if want.uplink and want.uplink.vlan else None
    fresh = replace(want, uplink=uplink, ports={}, mirrors=(), addresses=(), routes=(), advertisements=None)
    switches[want.bridge] = replace(have, mac=want.mac, mtu=want.mtu, **_said(want)) if have else fresh


def _detach(switches: Switches, step: s.DetachUplink) -> None:
    have = switches.get(step.bridge)
    if have and have.uplink and have.uplink.device == step.device:
        switches[step.bridge] = replace(have, uplink=None)


def _delete(switches: Switches, bridge: str) -> None:
    have = switches.get(bridge)
    if have is None:
        return
    busy = [*have.ports, *([have.uplink.device] if have.uplink and not have.uplink.vlan else [])]
    if busy:
        raise Refused(f"{bridge} still has {', '.join(sorted(busy))}")
    del switches[bridge]


def _put(switches: Switches, bridge: str, port: PortView, foreign: bool) -> None:
    """Whether somebody else's bridge is there, the database says."""
    if not foreign:
        _own(switches, bridge)
    _take_out(switches, port.device)
    home = switches.get(bridge) or SwitchView(bridge, "", foreign=True)
    switches[bridge] = replace(home, ports={**home.ports, port.device: port})


def _take_out(switches: Switches, device: str) -> None:
    for name, switch in list(switches.items()):
        if device in switch.ports:
            left = {other: port for other, port in switch.ports.items() if other != device}
            switches[name] = replace(switch, ports=left)
            if switch.foreign and not left:
                del switches[name]
