"""The virtual machine that xenet's own QEMU shall run for a VM: what it is made of, from the fields that XenAPI has for that, and its stage
on this host. Two hosts have one while a VM migrates; QEMU's own protocol sees to it that no more than one of them runs.
"""

from xenet.model.guests import port_name
from xenet.model.hidden import HostFacts
from xenet.model.pif import PIF, primary_address
from xenet.model.state import PoolState
from xenet.model.types import NULL, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM, born_as
from xenet.plan.view import BootView, GuestView, NICView, Stage

DISK, MACHINE = "xenet-disk", "xenet-machine"
"""Keys of VM.other_config."""
_FIRST_PORT, _PORTS = 49152, 10000
"""Where a guest that comes from another machine is awaited: a private port (RFC 6335) by its domid."""


def compile_machine(state: PoolState, host: Ref, vm: VM) -> GuestView | None:
    """None: this host has none of it."""
    stage = _stage(vm, host)
    if stage is None:
        return None
    domid = vm.domid if vm.running_on == host else vm.peer_domid
    vifs = (vif for vif in state.where(VIF, "VM", vm.ref) if vif.plugged)
    nics = sorted(NICView(int(vif.device), port_name(vif, domid, "qemu"), vif.MAC.lower(), vif.uuid) for vif in vifs)
    journey, way = _journey(state, vm, stage)
    return GuestView(vm.uuid, born_as(vm), vm.name_label, "qemu", boot_of(vm), tuple(nics), stage, journey, way)


def boot_of(vm: VM) -> BootView:
    disk, machine = vm.other_config.get(DISK, ""), vm.other_config.get(MACHINE, "pc")
    return BootView(vm.PV_kernel, vm.PV_ramdisk, vm.PV_args, vm.memory_static_max, vm.VCPUs_at_startup, disk, machine)


def files_of(boot: BootView) -> tuple[tuple[str, str], ...]:
    """What the machine starts from, by kind; an empty path is no file."""
    return ("kernel", boot.kernel), ("ramdisk", boot.ramdisk), ("disk", boot.disk)


def _stage(vm: VM, host: Ref) -> Stage | None:
    if vm.running_on == host and vm.crossing:
        return vm.crossing
    if vm.running_on == host:
        if vm.peer == NULL or vm.handing_over:
            return "halts" if vm.halting else "runs"
        return "held" if vm.taken_back else "arrives"
    if vm.peer == host and not vm.taken_back:
        return "awaits" if vm.handing_over else "goes"
    return None


def _journey(state: PoolState, vm: VM, stage: Stage) -> tuple[int, str]:
    if vm.crossing:
        return vm.peer_domid, vm.way if stage in ("awaits", "goes") else ""
    if stage == "awaits":
        return vm.peer_domid, way_to(state, vm.running_on, vm.peer, vm.peer_domid)
    return (vm.domid, way_to(state, vm.peer, vm.running_on, vm.domid)) if stage == "goes" else (-1, "")


def way_to(state: PoolState, source: Ref, target: Ref, domid: int) -> str:
    """As GuestView.way; without an address of the target's management interface, the port alone."""
    if machine_of(state, source) == machine_of(state, target):
        return ""
    pif = next((pif for pif in state.where(PIF, "host", target) if pif.management), None)
    return way_by(primary_address(pif) if pif else "", domid)


def way_by(address: str, domid: int) -> str:
    """To the host with this address."""
    return f"{f'[{address}]' if ':' in address else address}:{_FIRST_PORT + domid % _PORTS}"


def machine_of(state: PoolState, host: Ref) -> str:
    """What hosts that are on one machine have in common."""
    facts = state.find(HostFacts, host)
    return facts.place.partition(" ")[0] if facts else ""


def is_not_here(vm: VM, host: Ref, absent: bool) -> bool:
    """Whether this host shall let no frames to the guest: they would wait for it, while the other host's gets them, too. `absent`: it shall
    run here, but does not."""
    if vm.running_on == host:
        return vm.crossing == "awaits" or (not vm.taken_back and absent)
    return vm.handing_over or vm.taken_back


def is_moving(vm: VM, host: Ref, absent: bool) -> bool:
    """As PortView.moving."""
    return vm.handing_over or vm.running_on != host or absent or vm.crossing in ("awaits", "goes", "stays")
