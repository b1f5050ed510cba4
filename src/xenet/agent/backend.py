"""The data plane that a host has: chosen at the start, and another one when the pool says so, under VMs that run.

The choice of the pool stands in a file beside the agent's other ones: a restart must know it before the server can say it again. Which one is in
use, the kernel's own tables tell: what another one left is taken away.
"""

import logging
import select
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from xenet.agent.replica import Replica
from xenet.datapath import bonds, gre, vlans
from xenet.datapath.base import Datapath, SocketIn
from xenet.datapath.bridge import BridgeDatapath
from xenet.datapath.modules import ask_quietly
from xenet.model.derived import Tunnel
from xenet.model.hidden import HostFacts, Lease
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.types import NULL, PREFIX
from xenet.plan.view import PortView

log = logging.getLogger("xenet.agent")
_LACKS: dict[str, Callable[[], str]] = {"VLANs": vlans.find_lack, "bonds": bonds.find_lack, "GRE": gre.find_lack}
"""What a pool may need that a kernel may lack, and the line that says so."""


def quiet_lacks() -> tuple[str, ...]:
    """Those of VLANs and bonds that this kernel cannot have. No module is loaded for this question."""
    return tuple(what for what, module in (("VLANs", "8021q"), ("bonds", "bonding")) if ask_quietly(module, _LACKS[what]))


def needs_of(replica: Replica) -> tuple[str, ...]:
    """What the pool's records ask of this host's kernel."""
    pifs = replica.state.where(PIF, "host", replica.host)
    vlan, bond = any(pif.VLAN >= 0 for pif in pifs), any(pif.bond_slave_of != NULL for pif in pifs)
    tunnels = (tunnel for pif in pifs for tunnel in replica.state.where(Tunnel, "access_PIF", pif.ref))
    asked = {"VLANs": vlan, "bonds": bond, "GRE": any(tunnel.protocol == "gre" for tunnel in tunnels)}
    return tuple(need for need, needed in asked.items() if needed)


def choose(needs: tuple[str, ...]) -> tuple[str, str]:
    """For `auto`: which one, and why."""
    lacks = [lack for need in needs if (lack := _LACKS[need]())]
    if not lacks:
        return "bridge", f"the kernel has what the pool needs here ({', '.join(needs) or 'bridges'})"
    from xenet.datapath.openvswitch.programs import NoOpenVSwitch, find_programs

    try:
        find_programs()
    except NoOpenVSwitch as missing:
        return "bridge", f"{'; '.join(lacks)}; {missing}"
    return "openvswitch", "; ".join(lacks)


class Noted(msgspec.Struct, frozen=True):
    """What a restart must know: what was chosen by a message of the API, and what the pool's records need."""

    chosen: str = ""
    needs: tuple[str, ...] = ()


class Backend:
    """A datapath that may become another one. Whatever is asked of it, the present one is asked; `fileno` stays the same."""

    def __init__(self, state: Path, option: str, netns_of: SocketIn, in_namespace: bool) -> None:
        """Raises OSError."""
        self._file = state / "backend.json"
        self._folder = state / "openvswitch"
        self._netns_of = netns_of
        self._in_namespace = in_namespace
        self._first = option == "auto" and not self._file.exists()
        """Nothing is known yet of what the pool needs, and nothing is in use."""
        self._noted = msgspec.json.decode(self._file.read_bytes(), type=Noted) if self._file.exists() else Noted()
        self.failures: dict[str, str] = {}
        """The host's uuid -> why it has not the data plane that it shall have."""
        self.name, self._why = (self._noted.chosen, "a message of the API chose it") if self._noted.chosen else (option, "it was asked for")
        if self.name == "auto":
            self.name, self._why = choose(self._noted.needs)
        self._option = option
        self._epoll = select.epoll()
        self._datapath = self._open(self.name)
        self._epoll.register(self._datapath.fileno(), select.EPOLLIN)
        self._clear_others()

    def say(self) -> None:
        """Which one it is and why, in the log: what was chosen to everybody, what was asked for to who wants to hear more."""
        log.log(logging.INFO if self.name == self._option else logging.WARNING, "datapath %s: %s", self.name, self._why)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._datapath, name)

    def advertised(self, bridge: str) -> Lease:
        return self._datapath.advertised(bridge)

    def speak(self, port: PortView, frames: Sequence[bytes]) -> None:
        self._datapath.speak(port, frames)

    def hold(self, port: PortView) -> None:
        self._datapath.hold(port)

    def release(self, port: PortView) -> None:
        self._datapath.release(port)

    def unlearn(self, port: PortView) -> Callable[[], None] | None:
        return self._datapath.unlearn(port)

    def has_carrier(self, port: PortView) -> bool:
        return self._datapath.has_carrier(port)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        self._epoll.close()
        self._datapath.close()

    def _open(self, name: str) -> Datapath:
        """Raises OSError."""
        if name == "bridge":
            return BridgeDatapath(self._netns_of)
        from xenet.datapath.openvswitch.backend import OpenVSwitchDatapath
        from xenet.datapath.openvswitch.place import find_place

        return OpenVSwitchDatapath(self._netns_of, find_place(self._folder, self._in_namespace))

    def _clear_others(self) -> None:
        """What is left of the other one, by a kill in the middle of a change or since the option is another one."""
        if self.name == "bridge" and self._folder.exists():
            left = self._open("openvswitch")
            left.dismantle()
            left.close()
            self._datapath.observe()

    # --- what the pool says ------------------------------------------------------------------------

    def follow(self, replica: Replica) -> bool:
        """Be what the pool wants; where that cannot be, say why and stay as it is. True where the server has to be told anew which one it is."""
        facts = replica.state.find(HostFacts, replica.host)
        wanted = facts.backend if facts else ""
        chose = self._first and not wanted and self._choose_again(replica)
        self._first = False
        if wanted and wanted != self.name:
            self._change(wanted, replica, msgspec.structs.replace(self._noted, chosen=wanted))
        elif self.failures and not chose:
            self.failures.clear()
        self._note(msgspec.structs.replace(self._noted, needs=needs_of(replica)))
        return chose

    def _choose_again(self, replica: Replica) -> bool:
        """At a host's very first start `auto` knows what the pool needs only now, before the first switch is made."""
        needs = needs_of(replica)
        name, why = choose(needs)
        if name == self.name:
            return False
        log.warning("datapath %s: %s", name, why)
        self._change(name, replica, msgspec.structs.replace(self._noted, needs=needs))
        return self.name == name

    def _change(self, name: str, replica: Replica, noted: Noted) -> None:
        """`noted` is what leads to the new one at a restart."""
        try:
            fresh = self._open(name)
        except OSError as error:
            self.failures[replica.host.removeprefix(PREFIX)] = error.strerror or str(error)
            return
        self.failures.clear()
        self._note(noted)  # a kill from here on ends with the new one
        self._epoll.unregister(self._datapath.fileno())
        self._datapath.dismantle()
        self._datapath.close()
        fresh.observe()
        self.name, self._datapath = name, fresh
        self._epoll.register(fresh.fileno(), select.EPOLLIN)
        replica.bridges |= {network.bridge for network in replica.state.all(Network)}

    def _note(self, noted: Noted) -> None:
        """Written whole or not at all, and only where it differs."""
        if noted != self._noted:
            part = self._file.with_suffix(".part")
            part.write_bytes(msgspec.json.encode(noted))
            part.rename(self._file)
            self._noted = noted
