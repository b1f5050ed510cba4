"""Switches: bridges and their uplinks. Each method does one step, and raises when it fails."""

import errno
from collections.abc import Mapping, Sequence

from xenet.datapath.advertisements import refuse_advertisements
from xenet.datapath.batch import Refused, failure_of
from xenet.datapath.bonds import Bonds
from xenet.datapath.gre import Ends
from xenet.datapath.kernel import Kernel
from xenet.datapath.layer3 import Layer3
from xenet.datapath.links import EUI64, Link, create_bridge, set_link
from xenet.datapath.mark import LIVE, asked_gre, gre_word, is_ours, is_remnant, is_tunnel_end, kept_alias, port_view, switch_alias, words
from xenet.datapath.netlink import NetlinkError
from xenet.datapath.nics import foreign_master
from xenet.datapath.tunnels import Tunnels
from xenet.datapath.vlans import VLANs
from xenet.plan.steps import (
    AttachUplink,
    CreateSwitch,
    DeleteSwitch,
    DetachUplink,
    SetSwitch,
    StepFailure,
)
from xenet.plan.view import Settings, SwitchView, TunnelView, UplinkView, nics_of

_ANY_MTU = 65535
"""A bridge follows the smallest MTU of its ports until its own is changed, and only a change to another value counts as one."""

_LINK_WITHIN = 3.0
"""Seconds in which a NIC that was down for a moment has its link again: what a driver of copper takes to agree with a switch."""


class Switches:
    """Raises Refused for what is not ours or not there, NetlinkError for what the kernel refuses."""

    def __init__(self, kernel: Kernel, bonds: Bonds) -> None:
        self._kernel = kernel
        self._layer3 = Layer3(kernel)
        self._vlans = VLANs(kernel)
        self._tunnels = Tunnels(kernel)
        self._ends = Ends(kernel)
        self._bonds = bonds

    def create(self, step: CreateSwitch) -> None:
        """A bridge of ours that is there already, half-made or whole, is brought to what is wanted."""
        want = step.switch
        new = create_bridge(want.bridge, want.mac, _ANY_MTU, LIVE)
        try:
            self._kernel.run(new)
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            if not self._stays(want):
                self._kernel.run(new)
        self._serve(want)

    def _stays(self, want: SwitchView) -> bool:
        """Whether the device of this name is taken over; if not, it was one that waited for its deletion and is gone now. Raises Refused."""
        link = self._kernel.ask(want.bridge)
        if link and link.group == LIVE and link.kind == "bridge" and words(link.alias).get("network", want.network) == want.network:
            return True
        if link and not is_remnant(link):
            raise Refused(f"{want.bridge} exists and is another's" if not is_ours(link) else f"{want.bridge} serves another network")
        self._kernel.delete_together([link.index] if link else [])
        return False

    def _serve(self, want: SwitchView) -> None:
        """The mark, and up without a link-local address: that mode is set first, since the kernel takes flags before it."""
        link = self._kernel.ask(want.bridge)
        alias = kept_alias(link.alias if link else "", want.network)
        mode = self._kernel.no_link_local(want.mtu)
        self._kernel.run(set_link(want.bridge, alias=alias, addr_gen_mode=mode, mac=want.mac, mtu=want.mtu))
        refuse_advertisements(want.bridge)
        self._kernel.run(set_link(want.bridge, up=want.up))
        self._tell({want.bridge: want.ethtool})

    def _tell(self, told: Mapping[str, Settings]) -> None:
        """By device. In a switch already: what the kernel keeps off there, it would put off after all."""
        self._kernel.drain()
        for device, settings in told.items():
            if settings and (link := self._kernel.table.link(device)):
                self._kernel.drivers.tell(link, settings)

    def change(self, step: SetSwitch) -> None:
        link, want = self._kernel.own(step.switch.bridge), step.switch
        alias = kept_alias(link.alias, want.network)
        self._kernel.run(set_link(link.index, mac=want.mac, mtu=want.mtu, up=want.up, alias=alias))
        if not want.up:
            self._kernel.ask(link.index)
        self._tell({want.bridge: want.ethtool})

    def delete(self, steps: Sequence[DeleteSwitch]) -> list[StepFailure]:
        """All at one go. Ports that are not ours are released by the kernel."""
        failures: list[StepFailure] = []
        ready: list[tuple[DeleteSwitch, Link]] = []
        for step in steps:
            try:
                ready += [(step, link) for link in self._empty(step.bridge)]
            except Refused as error:
                failures.append(failure_of(step, error))
        try:
            self._kernel.delete_together([link.index for _, link in ready])
        except NetlinkError as error:
            failures += [failure_of(step, error) for step, _ in ready]
        return failures

    def _empty(self, bridge: str) -> list[Link]:
        """The bridge if there is one. Raises Refused when it is not ours or still serves."""
        link = self._kernel.ask(bridge)
        if link is None or (link.kind == "bridge" and is_remnant(link)):
            return [link] if link else []
        self._kernel.own(bridge)
        uplink = words(link.alias).get("uplink")
        members = self._kernel.table.members(link.index)
        if busy := [port.name for port in members if port_view(port) or port.name == uplink or is_tunnel_end(port)]:
            raise Refused(f"{bridge} still has {', '.join(sorted(busy))}")
        return [link]

    def attach(self, step: AttachUplink) -> None:
        """The bridge's alias names the NIC before the NIC joins: one that joined is never taken for an administrator's."""
        bridge, want = self._kernel.own(step.bridge), step.uplink
        if want.tunnel and want.tunnel.protocol == "gre":
            self._mesh(bridge, want, want.tunnel)
            return
        self._ends.clear(bridge)
        linked = any(link.carrier for name in nics_of(want) if (link := self._kernel.table.link(name)))
        bond = self._bonds.of(want.device)
        nic = self._device(want)
        if nic.mtu != want.mtu:  # many a driver resets its NIC for this
            self._layer3.resize(nic, want.mtu)
        self._layer3.quieten(nic.index, want.mtu)
        self._name_uplink(bridge, want.device)
        self._kernel.run(set_link(nic.index, master=bridge.index, up=want.up))
        if linked and (want.bond or (bond and self._kernel.table.members(bond.index))):  # what is to go by it goes another way until then
            self._kernel.await_operation([nic.name], _LINK_WITHIN)
        self._tell(want.ethtool)

    def _mesh(self, bridge: Link, want: UplinkView, tunnel: TunnelView) -> None:
        """A device for each peer, and none of the tunnel's own name, which one by VXLAN would have."""
        old = self._kernel.table.link(want.device)
        if old and is_ours(old) and old.master == bridge.index:
            self._kernel.delete_together([old.index])
        self._name_uplink(bridge, want.device, gre_word(tunnel.key, tunnel.local))
        self._ends.ensure(bridge, want, tunnel)

    def _device(self, want: UplinkView) -> Link:
        """The NIC, or the device that stands for the VLAN, the bond or the tunnel, made where it is not there."""
        nic = self._made(want) if want.made else self._kernel.table.link(want.device)
        if nic is None:
            raise Refused(f"there is no NIC {want.device}")
        if want.made:
            return nic
        self._check_free(nic)
        return self._bonds.free(nic)

    def _made(self, want: UplinkView) -> Link | None:
        if want.tunnel:
            return self._tunnels.ensure(want, want.tunnel)
        return self._bonds.ensure(want, want.bond) if want.bond else self._vlans.ensure(want)

    def _check_free(self, nic: Link) -> None:
        if is_ours(nic):
            raise Refused(f"{nic.name} is a port or a bridge, not a NIC")
        if master := foreign_master(self._kernel.table, nic.name):
            raise Refused(f"{nic.name} belongs to {master.name}, which is not xenet's")

    def _name_uplink(self, bridge: Link, device: str, gre: str = "") -> None:
        said = words(bridge.alias)
        if (said.get("uplink", ""), said.get("gre", "")) != (device, gre):
            self._kernel.run(set_link(bridge.index, alias=switch_alias(said["network"], device, gre)))
            if not bridge.up:
                self._kernel.ask(bridge.index)

    def detach(self, step: DetachUplink) -> None:
        """Out of the bridge, and the kernel's way with its link-local address again; nothing else of a NIC changes. A device that was made goes."""
        bridge, nic = self._kernel.own(step.bridge), self._kernel.table.link(step.device)
        if words(bridge.alias).get("uplink") != step.device:
            return  # not there, or there by somebody else's doing
        if asked_gre(bridge) is not None:
            self._ends.clear(bridge)
        elif nic and step.slaves:
            self._bonds.remove(nic)
        elif nic and step.made and is_ours(nic):
            self._kernel.delete_together([nic.index])
        elif nic and nic.master == bridge.index:
            self._kernel.run(set_link(nic.index, master=0))
            if self._kernel.no_link_local(nic.mtu) is not None:
                self._kernel.run(set_link(nic.index, addr_gen_mode=EUI64), errno.EAFNOSUPPORT)
        self._name_uplink(bridge, "")
