"""Drivers that are only a model in memory, for the fake datapath."""

from collections import defaultdict
from collections.abc import Mapping

import msgspec

from xenet.plan.view import PortView, Settings, SwitchView, UplinkView

replace = msgspec.structs.replace


class FakeDrivers:
    """What each device was told by its name, and what it cannot do."""

    def __init__(self) -> None:
        self.told: defaultdict[str, dict[str, str]] = defaultdict(lambda: {"gro": "on"})
        self.unable: defaultdict[str, set[str]] = defaultdict(set)
        self._heeded: dict[str, Mapping[str, Settings]] = {}

    def heed(self, bridge: str, asked: Mapping[str, Settings]) -> None:
        self._heeded[bridge] = asked

    def tell(self, device: str, settings: Settings) -> None:
        self.told[device].update({word: value for word, value in settings.items() if word not in self.unable[device]})

    def shown(self, switch: SwitchView) -> SwitchView:
        """With the settings that somebody asked for, as they are."""
        asked = self._heeded.get(switch.bridge, {})
        ports = {name: self._port(port, asked) for name, port in switch.ports.items()}
        uplink = self._uplink(switch.uplink, asked) if switch.uplink else None
        return replace(switch, ports=ports, uplink=uplink, ethtool=self._seen(switch.bridge, asked))

    def _port(self, port: PortView, asked: Mapping[str, Settings]) -> PortView:
        return replace(port, ethtool=self._seen(port.device, asked))

    def _uplink(self, uplink: UplinkView, asked: Mapping[str, Settings]) -> UplinkView:
        nics = (uplink.device, *(uplink.bond.slaves if uplink.bond else ()))
        return replace(uplink, ethtool={nic: self._seen(nic, asked) for nic in nics if nic in asked})

    def _seen(self, device: str, asked: Mapping[str, Settings]) -> Settings:
        wanted = asked.get(device, {})
        return {word: value if word in self.unable[device] else self.told[device].get(word, "") for word, value in wanted.items()}
