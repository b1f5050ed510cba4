"""Bonds: devices made for one switch, gone with it, whose slaves are NICs that were named. The mark is their group; one without a switch is a
remnant.

A NIC is down while it becomes a slave; as one it has the bond's MAC and MTU, and as it leaves the kernel gives it its own back and leaves it
down. The bond's patience with a link that has come back (updelay) is for one that was away: a slave that has its link as it joins counts at
once, so it joins while there is no such delay.
"""

import errno
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from xenet.datapath import fence
from xenet.datapath.batch import Refused
from xenet.datapath.bonding import Options, active_slave, bond_data, needs_down, options_of
from xenet.datapath.kernel import Kernel
from xenet.datapath.links import Link, create_bond, set_bond, set_link
from xenet.datapath.mark import DEAD, LIVE, bond_alias, is_ours
from xenet.datapath.namespaces import in_scratch
from xenet.datapath.netlink import NetlinkError, Socket
from xenet.datapath.nft import load
from xenet.datapath.nics import foreign_master
from xenet.datapath.uplinks import bond_links, is_bond, is_single, primary_of, ready_first, seen, slaves_of
from xenet.model.hidden import BondLinks
from xenet.plan.view import BondView, UplinkView

log = logging.getLogger("xenet.datapath")
LACKING = "this kernel has no bonds: load bonding (modprobe bonding), or use --datapath openvswitch"
OLD = "this kernel's bonds cannot spread frames by their source (Linux 5.12 or newer): load a newer one, or use --datapath openvswitch"


class Bonds:
    """Raises Refused for what is not ours, NetlinkError for what the kernel refuses."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._ways: dict[str, BondLinks] = {}
        """The links of each bond as `steer` last saw them."""

    # --- a bond as it must be ----------------------------------------------------------------------

    def ensure(self, want: UplinkView, bond: BondView) -> Link | None:
        """The bond with these slaves and settings: made, or changed with as little interruption as the kernel allows."""
        self._check(bond.slaves)
        link = self._found(want.device) or self._make(want, bond)
        others = [slave for slave in self._kernel.table.members(link.index) if slave.name not in bond.slaves]
        self._release(others)
        options = options_of(bond, primary_of(self._kernel.table, bond, bond.slaves))
        self._set(link, options)
        self._fence(want.device, bond)
        self._enslave(link, bond.slaves, options)
        self._kernel.run(set_link(link.index, mac=bond.mac if link.mac != bond.mac else "", alias=bond_alias(bond)))
        return self._kernel.ask(want.device)

    def prepare(self, uplinks: Iterable[UplinkView]) -> None:
        """What takes its time and can be done while the NICs still work alone: the device of a new bond, and its fence. What does not come to
        pass here is done, or refused, in its turn."""
        for want in uplinks:
            if want.bond and self._kernel.ask(want.device) is None:  # of one that another has just made there may be no news yet
                with suppress(Refused, OSError):
                    self._check(want.bond.slaves)
                    self._make(want, want.bond)
                    self._fence(want.device, want.bond)
                    self._kernel.table.ear_of(want.device, want.bond.slaves)  # to be known is what takes longest

    def _check(self, names: Sequence[str]) -> None:
        for name in names:
            self._nic(name)

    def _nic(self, name: str) -> Link:
        nic = self._kernel.table.link(name)
        if nic is None:
            raise Refused(f"there is no NIC {name}")
        if is_ours(nic):
            raise Refused(f"{name} is a port or a bridge, not a NIC")
        if master := foreign_master(self._kernel.table, name):
            raise Refused(f"{name} belongs to {master.name}, which is not xenet's")
        return nic

    def _found(self, name: str) -> Link | None:
        """The bond of this name where it is there and in service; one that waits for its deletion is gone then."""
        link = self._kernel.ask(name)
        if link and not is_ours(link):
            raise Refused(f"{name} exists and is another's")
        if link and not is_bond(link):
            self._release(self._kernel.table.members(link.index))
            self._kernel.delete_together([link.index])
            return None
        return link

    def _make(self, want: UplinkView, bond: BondView) -> Link:
        new = create_bond(want.device, bond.mac, want.mtu, LIVE, bond_data(options_of(bond, 0)))
        try:
            self._kernel.run(new)
        except NetlinkError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Refused(LACKING) from error
            if error.errno == errno.EINVAL and bond.mode == "balance-slb":
                raise Refused(OLD) from error
            if error.errno != errno.EEXIST:
                raise
            self._take_away_default(want.device)
            self._kernel.run(new)
        link = self._kernel.ask(want.device)
        if link is None:
            raise Refused(f"{want.device} was deleted at once")
        return link

    def _take_away_default(self, name: str) -> None:
        """The driver makes an empty bond of its own (bond0) as the kernel loads it, which our own request has just made it do."""
        link = self._kernel.ask(name)
        if link and link.kind == "bond" and not (link.up or link.alias or link.master or self._kernel.table.members(link.index)):
            self._kernel.delete_together([link.index])

    def _set(self, link: Link, options: Options) -> None:
        have = link.bond
        if have is None or have == (want := seen(options, have)):
            return
        if needs_down(want, have):
            if want.mode != have.mode:
                self._release(self._kernel.table.members(link.index), up=False)
            self._kernel.run(set_link(link.index, up=False))
            self._kernel.run(set_bond(link.index, bond_data(want, have)))
            self._kernel.run(set_link(link.index, up=True))
        else:
            self._kernel.run(set_bond(link.index, bond_data(want, have)))
        self._kernel.drain()

    def _enslave(self, link: Link, names: Sequence[str], options: Options) -> None:
        """Those of them that are none of its slaves yet."""
        nics = [nic for name in names if (nic := self._nic(name)).master != link.index]
        if not nics:
            return
        self._kernel.run(set_bond(link.index, bond_data(msgspec.structs.replace(options, updelay=0), options)))
        for nic in nics:
            if nic.master:
                self._kernel.run(set_link(nic.index, master=0))
            self._kernel.run(set_link(nic.index, up=False))
            self._kernel.run(set_link(nic.index, master=link.index))
        self._kernel.run(set_bond(link.index, bond_data(options, options)))
        self._kernel.drain()

    def _release(self, slaves: Iterable[Link], up: bool = True) -> None:
        """Each NIC with what it had before; down, if it is not to be up."""
        for slave in slaves:
            self._kernel.run(set_link(slave.index, master=0), errno.ENODEV)
            if up:
                self._kernel.run(set_link(slave.index, up=True), errno.ENODEV)
        self._kernel.drain()

    # --- its end -----------------------------------------------------------------------------------

    def remove(self, link: Link) -> None:
        """Out of its switch, then its slaves out of it; the device itself is deleted later."""
        if not is_ours(link):
            return
        self._kernel.run(set_link(link.index, master=0, up=False, group=DEAD), errno.ENODEV)
        self._kernel.ask(link.index)
        self._release(self._kernel.table.members(link.index))
        with suppress(Refused):  # it has nothing to hold any more, and `reap` tries again
            self._unfence([link.name])

    def of(self, device: str) -> Link | None:
        """The bond of ours that this NIC is in."""
        nic = self._kernel.table.link(device)
        master = self._kernel.table.link(nic.master) if nic else None
        return master if master and master.kind == "bond" and is_ours(master) else None

    def free(self, nic: Link) -> Link:
        """A NIC that shall be a port of its own leaves the bond of ours that it is in, whose fence is then about the others; it is up once it
        is a port."""
        master = self.of(nic.name)
        if master is None:
            return nic
        slaves = slaves_of(self._kernel.table, master)
        fenced = self._kernel.table.ear_of(master.name, slaves)
        self._release([nic], up=False)
        if others := [slave for slave in slaves if fenced and slave != nic.name]:
            ready = [slave.name for slave in ready_first(self._kernel.table, master)]
            load(fence.listen(master.name, others, (ready or others)[0]), fence.WHO, "netdev")
            self._kernel.drain()
        return self._kernel.ask(nic.index) or nic

    def reap(self, remnants: Iterable[Link]) -> None:
        """What bonds that wait for their deletion still hold: slaves, and fences, those of bonds that are gone, too."""
        for link in remnants:
            if link.kind == "bond":
                self._release(self._kernel.table.members(link.index))
        needed = {link.name for link in self._kernel.table.bonds() if link.master}
        with suppress(Refused):
            self._unfence(self._kernel.guard.fenced() - needed)

    # --- the fence of balance-slb ------------------------------------------------------------------

    def _fence(self, device: str, bond: BondView) -> None:
        """Before there are slaves that it has to hold."""
        if bond.mode != "balance-slb":
            self._unfence({device} & self._kernel.guard.fenced())
        elif not self._kernel.table.ear_of(device, bond.slaves):
            load(fence.rules(device, bond.slaves, self._first_ear(bond)), fence.WHO, "netdev")
            self._kernel.drain()

    def _first_ear(self, bond: BondView) -> str:
        nics = [self._nic(name) for name in bond.slaves]
        best = min(nics, key=lambda nic: (not nic.carrier, nic.name != bond.primary, nic.name))
        return best.name

    def _unfence(self, bonds: Iterable[str]) -> None:
        for bond in bonds:
            load(fence.remove(bond), fence.WHO, "netdev")
        self._kernel.drain()

    def forget(self, macs: Sequence[str]) -> None:
        """The guests with these MACs have left: from now on they may be heard from outside. What hinders that passes by itself soon."""
        table = self._kernel.table
        for link in table.bonds() if macs else ():
            if table.ear_of(link.name, slaves_of(table, link)):
                tags = [vlan.tag for vlan in table.links() if vlan.kind == "vlan" and vlan.peer == link.index]
                with suppress(Refused):
                    load(fence.forget(link.name, macs, tags), fence.WHO, "netdev")

    # --- links that come and go --------------------------------------------------------------------

    def steer(self) -> set[str]:
        """What hangs on one slave alone goes to another when its link is gone, without waiting for the bond to look at it: the traffic of
        active-backup, the ear of balance-slb. The bonds whose frames take other ways than when this was last asked; of one that is new, who sees
        to it that it is there tells (agent/bonds.py)."""
        moved = set()
        known, self._ways = self._ways, {}
        for link in self._kernel.table.bonds():
            if not link.master:
                continue
            with suppress(Refused, NetlinkError):  # what does not come to pass is tried again at the next news
                self._hasten(link)
                self._choose_ear(link)
            ways = self._ways[link.name] = bond_links(self._kernel.table, link)
            if known.get(link.name, ways) != ways:
                moved.add(link.name)
        return moved

    def _hasten(self, link: Link) -> None:
        ready = ready_first(self._kernel.table, link)
        if is_single(link) and ready and not any(slave.slave and slave.slave.active for slave in ready):
            log.info("%s: %s takes over", link.name, ready[0].name)
            self._kernel.run(set_bond(link.index, active_slave(ready[0].index)))
            self._kernel.drain()

    def _choose_ear(self, link: Link) -> None:
        table, slaves = self._kernel.table, slaves_of(self._kernel.table, link)
        ready = [slave.name for slave in ready_first(table, link)]
        ear = table.ear_of(link.name, slaves)
        if ear and ready and ear != ready[0]:
            log.info("%s: %s listens for all", link.name, ready[0])
            load(fence.listen(link.name, slaves, ready[0]), fence.WHO, "netdev")
            self._kernel.drain()


def find_lack() -> str:
    """What this kernel lacks for bonds and what to do, empty where it has them: one is tried out, where nobody sees it. Raises OSError."""
    return in_scratch(_try_out)


def _try_out() -> str:
    with Socket() as kernel:
        outcome = kernel.do([create_bond("bond", "", 1500, LIVE, bond_data(Options()))])[0]
    if outcome is None:
        return ""
    return {errno.EOPNOTSUPP: LACKING, errno.EINVAL: OLD}.get(outcome.errno or 0, str(outcome))
