"""The switches of the fake datapath, and what a step makes of them: what a kernel would do, its refusals included."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from xenet.datapath.batch import Refused
from xenet.datapath.fake_drivers import FakeDrivers
from xenet.model.hidden import NIC
from xenet.plan import steps as s
from xenet.plan.view import PortView, SwitchView, UplinkView, nics_of

replace = msgspec.structs.replace


class FakeSwitches:
    """Of a host with these NICs, and with these bridges that are another's (bridge -> the NICs that it holds)."""

    def __init__(self, nics: Iterable[NIC] = (), foreign: Mapping[str, Sequence[str]] | None = None) -> None:
        self.hardware = {nic.device: nic for nic in nics}
        self.others = dict(foreign or {})
        self.state: dict[str, SwitchView] = {}
        self.drivers = FakeDrivers()
        self.dead: list[str] = []
        """Ports out of service that `reap` deletes."""
        self._touched: set[str] = set()
        self._acts: dict[type[s.Step], Callable[[Any], None]] = {
            s.CreateSwitch: self._create_switch,
            s.SetSwitch: self._set_switch,
            s.DeleteSwitch: self._delete_switch,
            s.AttachUplink: self._attach,
            s.DetachUplink: self._detach,
            s.CreatePort: self._create_port,
            s.SetPort: self._set_port,
            s.OfferPort: self._note_port,
            s.SeatPort: self._note_port,
            s.RemovePort: self._remove_port,
            s.SetMirrors: self._set_mirrors,
            s.SetAdvertisements: self._set_advertisements,
            s.AddAddress: self._add_address,
            s.RemoveAddress: self._remove_address,
            s.AddRoute: self._add_route,
            s.RemoveRoute: self._remove_route,
        }

    def act(self, step: s.Step) -> None:
        """Raises Refused."""
        self._acts[type(step)](step)

    def foreign_master(self, device: str) -> str | None:
        return next((bridge for bridge, nics in self.others.items() if device in nics), None)

    def _own(self, bridge: str) -> SwitchView:
        if bridge in self.others:
            raise Refused(f"{bridge} is not xenet's")
        if bridge not in self.state:
            raise Refused(f"there is no bridge {bridge}")
        return self.state[bridge]

    def _put(self, switch: SwitchView) -> None:
        self.state[switch.bridge] = switch
        self._touched.add(switch.bridge)

    def _create_switch(self, step: s.CreateSwitch) -> None:
        want = step.switch
        if want.bridge in self.others:
            raise Refused(f"{want.bridge} exists and is another's")
        have = self.state.get(want.bridge, SwitchView(want.bridge, want.network, mac="02:00:00:00:00:00"))
        if have.network != want.network:
            raise Refused(f"{want.bridge} serves another network")
        self.drivers.tell(want.bridge, want.ethtool)
        self._put(replace(have, mac=want.mac or have.mac, mtu=want.mtu, up=want.up, **_said(want)))

    def _set_switch(self, step: s.SetSwitch) -> None:
        want, have = step.switch, self._own(step.switch.bridge)
        self.drivers.tell(want.bridge, want.ethtool)
        self._put(replace(have, network=want.network, mac=want.mac or have.mac, mtu=want.mtu, up=want.up, learning=True, **_said(want)))

    def _delete_switch(self, step: s.DeleteSwitch) -> None:
        if step.bridge not in self.state and step.bridge not in self.others:
            return
        have = self._own(step.bridge)
        if have.ports or have.uplink:
            raise Refused(f"{step.bridge} still has {', '.join(sorted([*have.ports, *([have.uplink.device] if have.uplink else [])]))}")
        del self.state[step.bridge]
        self._touched.add(step.bridge)

    def _attach(self, step: s.AttachUplink) -> None:
        have, want = self._own(step.bridge), step.uplink
        self._check_uplink(want)
        nics = set(nics_of(want))
        for other in list(self.state.values()):
            if other.uplink and other.uplink.device in nics:
                self._put(replace(other, uplink=None))
            elif other.uplink and other.uplink.bond and other.uplink.device != want.device:
                left = tuple(slave for slave in other.uplink.bond.slaves if slave not in nics)
                self._put(replace(other, uplink=replace(other.uplink, bond=replace(other.uplink.bond, slaves=left))))
        if not want.made:
            self.hardware[want.device] = replace(self.hardware[want.device], mtu=want.mtu)
        for told, settings in want.ethtool.items():
            self.drivers.tell(told, settings)
        self._put(replace(self.state[have.bridge], uplink=want))

    def _check_uplink(self, want: UplinkView) -> None:
        """Raises Refused."""
        bonds = {uplink.device: uplink for switch in self.state.values() if (uplink := switch.uplink) and uplink.bond}
        for nic in _below(want):
            if nic not in self.hardware and not (want.vlan and nic in bonds):
                raise Refused(f"there is no NIC {nic}")
            if not want.vlan and 0 < self.hardware[nic].max_mtu < want.mtu:
                raise Refused(f"MTU {want.mtu} is more than {nic} takes, which is {self.hardware[nic].max_mtu}")
            if master := self.foreign_master(nic):
                raise Refused(f"{nic} belongs to {master}, which is not xenet's")
        lower = self.hardware.get(want.vlan.parent) or bonds[want.vlan.parent] if want.vlan else None
        if want.vlan and isinstance(lower, NIC) and want.vlan.tag in lower.vlans:
            raise Refused(f"{want.device} exists and is another's")
        if lower and want.mtu > lower.mtu:
            raise Refused("Numerical result out of range")

    def _detach(self, step: s.DetachUplink) -> None:
        have = self._own(step.bridge)
        if have.uplink and have.uplink.device == step.device:
            self._put(replace(have, uplink=None))

    def _holder(self, device: str) -> SwitchView | None:
        """The switch that has this port."""
        return next((switch for switch in self.state.values() if device in switch.ports), None)

    def _without(self, device: str) -> None:
        if holder := self._holder(device):
            self._put(replace(holder, ports={name: port for name, port in holder.ports.items() if name != device}))
            if holder.foreign and len(holder.ports) == 1:
                del self.state[holder.bridge]

    def _home(self, step: s.CreatePort | s.SetPort) -> SwitchView:
        """The bridge that a port goes into."""
        if not step.foreign:
            return self._own(step.bridge)
        if step.bridge not in self.others:
            raise Refused(f"there is no bridge {step.bridge}")
        return self.state.get(step.bridge, SwitchView(step.bridge, "", foreign=True))

    def _with(self, step: s.CreatePort | s.SetPort, port: PortView) -> None:
        have = self._home(step)
        self.drivers.tell(port.device, port.ethtool)
        self._put(replace(have, ports={**have.ports, port.device: port}))

    def _create_port(self, step: s.CreatePort) -> None:
        if self._holder(step.port.device):
            raise Refused(f"{step.port.device} exists already")
        self._with(step, step.port)
        self.dead = [device for device in self.dead if device != step.port.device]

    def _set_port(self, step: s.SetPort) -> None:
        self._home(step)
        holder = self._holder(step.port.device)
        if holder is None:
            raise Refused(f"there is no device {step.port.device}")
        want = step.port
        now = holder.ports[want.device]
        port = replace(now, mtu=want.mtu, up=want.up, rate=want.rate, lock=want.lock, trunks=want.trunks, ethtool=want.ethtool)
        self._without(port.device)
        self._with(step, port)

    def _note_port(self, step: s.OfferPort | s.SeatPort) -> None:
        holder = self._holder(step.port.device)
        if holder is None:
            raise Refused(f"there is no device {step.port.device}")
        port = replace(holder.ports[step.port.device], moving=step.port.moving)
        self._put(replace(holder, ports={**holder.ports, port.device: port}))

    def _remove_port(self, step: s.RemovePort) -> None:
        if self._holder(step.port.device):
            self._without(step.port.device)
            self.dead.append(step.port.device)

    def _set_mirrors(self, step: s.SetMirrors) -> None:
        have = self._own(step.bridge)
        if missing := {device for mirror in step.mirrors for device in (mirror.target, *mirror.sources)} - have.ports.keys():
            raise Refused(f"{step.bridge} has no port {missing.pop()}")
        self._put(replace(have, mirrors=step.mirrors))

    def _set_advertisements(self, step: s.SetAdvertisements) -> None:
        self._put(replace(self._own(step.bridge), advertisements=step.advertisements))

    def _add_address(self, step: s.AddAddress) -> None:
        if nic := self.hardware.get(step.bridge):
            self.hardware[step.bridge] = replace(nic, addresses=tuple(sorted({*nic.addresses, step.address})))
        else:
            have = self._own(step.bridge)
            self._put(replace(have, addresses=tuple(sorted({*have.addresses, step.address}))))

    def _remove_address(self, step: s.RemoveAddress) -> None:
        if nic := self.hardware.get(step.device):
            self.hardware[step.device] = replace(nic, addresses=tuple(a for a in nic.addresses if a != step.address))
        elif step.device in self.state or step.device in self.others:
            have = self._own(step.device)
            self._put(replace(have, addresses=tuple(a for a in have.addresses if a != step.address)))

    def _add_route(self, step: s.AddRoute) -> None:
        if nic := self.hardware.get(step.bridge):
            self.hardware[step.bridge] = replace(nic, gateway=step.route.gateway)
        else:
            have = self._own(step.bridge)
            others = {route for route in have.routes if route.destination != step.route.destination}
            self._put(replace(have, routes=tuple(sorted({*others, step.route}))))

    def _remove_route(self, step: s.RemoveRoute) -> None:
        if step.bridge in self.state or step.bridge in self.others:
            have = self._own(step.bridge)
            self._put(replace(have, routes=tuple(route for route in have.routes if route != step.route)))


def _said(want: SwitchView) -> dict[str, Any]:
    return {"fail_mode": want.fail_mode, "disable_in_band": want.disable_in_band, "snooping": want.snooping}


def _below(uplink: UplinkView) -> tuple[str, ...]:
    """What must be there for it."""
    if uplink.tunnel:
        return ()
    if uplink.bond:
        return uplink.bond.slaves
    return (uplink.vlan.parent if uplink.vlan else uplink.device,)
