"""What a batch of steps does beside the database, before it and after: devices, what is on a switch's own device, and locks' and mirrors' ways."""

from collections.abc import Sequence
from contextlib import suppress

from xenet.datapath.advertisements import Advertisements, refuse_advertisements
from xenet.datapath.batch import Refused
from xenet.datapath.handover import Handover
from xenet.datapath.kernel import Kernel
from xenet.datapath.layer3 import Layer3
from xenet.datapath.links import set_link
from xenet.datapath.mark import LIVE, is_ours, is_switch, port_view, switch_alias
from xenet.datapath.netlink import NetlinkError
from xenet.datapath.openvswitch.batch import Acts, Batch, each
from xenet.datapath.openvswitch.board import Board
from xenet.datapath.openvswitch.control import ask
from xenet.datapath.openvswitch.database import Database, Unreachable
from xenet.datapath.openvswitch.place import Place
from xenet.datapath.openvswitch.ports import SwitchPorts
from xenet.datapath.openvswitch.specs import KERNEL, USERSPACE
from xenet.datapath.openvswitch.uplinks import Uplinks
from xenet.datapath.openvswitch.userspace import answer_for_itself
from xenet.plan import steps as s
from xenet.plan.view import RouteView, SwitchView

Layers = dict[str, tuple[int, tuple[str, ...], tuple[RouteView, ...]]]
"""Switch -> the ifindex of its own device, and the addresses and routes there."""


class Acting:
    """Of one kernel and one database."""

    def __init__(self, kernel: Kernel, database: Database, board: Board, uplinks: Uplinks, place: Place) -> None:
        self._kernel = kernel
        self._database = database
        self._board = board
        self._uplinks = uplinks
        self._place = place
        self._layer3 = Layer3(kernel)
        self._advertisements = Advertisements(kernel)

    def carry_out(self, batch: Batch, ports: SwitchPorts, handover: Handover) -> set[str]:
        """The switches and devices that the database's part of it concerns."""
        before: Acts = {
            s.CreateSwitch: each(self._make_room),
            s.CreatePort: ports.begin,
            s.SetPort: ports.lower,
            s.RemovePort: ports.remove,
            s.AttachUplink: each(self._uplinks.prepare),
        }
        batch.part(before, self._kernel.drain)
        layers, taken = self._layers(), self._board.taken()
        if renewed := (ports.renewed() | self._uplinks.take_fresh() & self._board.rows_of_ports()):
            batch.clear_away(self._database, self._board, renewed)
        touched = batch.write(self._database, self._board, USERSPACE if self._place.userspace else KERNEL)
        self._kernel.drain()
        self._restore(layers)
        self._uplinks.release(sorted(taken - self._board.taken()))
        after: Acts = {
            s.CreateSwitch: each(lambda step: self._serve(step.switch)),
            s.SetSwitch: each(lambda step: self._serve(step.switch)),
            s.AttachUplink: each(self._uplinks.serve),
            s.SetAdvertisements: each(self._advertisements.set),
            s.AddAddress: each(self._layer3.add_address),
            s.RemoveAddress: each(self._layer3.remove_address),
            s.AddRoute: each(self._layer3.add_route),
            s.RemoveRoute: each(self._layer3.remove_route),
            s.CreatePort: ports.finish,
            s.SetPort: ports.settle,
            s.SetMirrors: self._look_up_anew,
            s.OfferPort: handover.offer,
            s.SeatPort: handover.seat,
        }
        batch.part(after, self._kernel.drain)
        return touched

    def _look_up_anew(self, steps: Sequence[s.SetMirrors]) -> list[s.StepFailure]:
        """Have every frame's way found again: ovs-vswitchd (3.1) goes on using ways that it found before there was a mirror."""
        with suppress(OSError):  # it hangs or is gone: then it knows no ways
            ask(self._place.control(), "revalidator/purge")
        return []

    def _make_room(self, step: s.CreateSwitch) -> None:
        """For the switch's own device, which ovs-vswitchd makes: what is ours and no such one goes, anything else stays."""
        link, name = self._kernel.ask(step.switch.bridge), step.switch.bridge
        if link is None or name in self._board.asked:
            return
        if not is_ours(link):
            raise Refused(f"{name} exists and is another's")
        if port_view(link):
            raise Refused(f"{name} is a port")
        self._kernel.delete_together([link.index])

    def _layers(self) -> Layers:
        table = self._kernel.table
        links = (table.link(name) for name in self._board.asked)
        return {link.name: (link.index, *table.layer3.of(link)) for link in links if link and is_switch(link)}

    def _restore(self, layers: Layers) -> None:
        """A switch that became another thing (its VLAN came, or its carrier changed) has a new device, without what was on the old one."""
        for name, (index, addresses, routes) in layers.items():
            link, asked = self._kernel.table.link(name), self._board.asked.get(name)
            if link is None or asked is None or link.index == index:
                continue
            with suppress(NetlinkError, Refused):  # what is not there afterwards is seen, and done then
                self._serve(asked)
                self._kernel.drain()
                for address in addresses:
                    self._layer3.add_address(s.AddAddress(object="", bridge=name, address=address))
                for route in routes:
                    self._layer3.add_route(s.AddRoute(object="", bridge=name, route=route))
        self._kernel.drain()

    def _serve(self, want: SwitchView) -> None:
        """The mark on the switch's own device, no address that nobody asked for, and up."""
        link = self._kernel.ask(want.bridge)
        if link is None:
            raise Unreachable(f"ovs-vswitchd has made no device {want.bridge}")
        fresh = not is_switch(link)
        mode = self._kernel.no_link_local(want.mtu) if fresh else None
        self._kernel.run(set_link(link.index, alias=switch_alias(want.network), group=LIVE, addr_gen_mode=mode))
        if fresh:
            refuse_advertisements(want.bridge)
        if fresh and self._place.userspace:
            answer_for_itself(want.bridge)
        self._kernel.run(set_link(link.index, up=want.up))
        if self._board.learning.restore(self._board.home(want.bridge)[0]):
            self._board.forget()
        if want.ethtool:
            self._kernel.drivers.tell(link, want.ethtool)
