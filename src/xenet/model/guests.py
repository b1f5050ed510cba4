"""What stands for a VM on its host, and the names of its devices there."""

from typing import Literal

from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.vif import VIF
from xenet.model.vm import VM

GuestKind = Literal["namespace", "tap", "qemu"]
"""A network namespace of the VM's own, taps that any hypervisor opens, or a QEMU on taps that xenet itself starts."""
PortKind = Literal["namespace", "tap"]
"""What a VIF is on the host: one end of a veth pair, or a tap."""
KINDS: tuple[GuestKind, ...] = ("tap", "namespace", "qemu")
KEY = "xenet-guest"


def default_kind(state: PoolState) -> str:
    """The pool's other_config:xenet-guest."""
    pool = next(state.all(Pool), None)
    return pool.other_config.get(KEY, "") if pool else ""


def kind_of(vm: VM, default: str) -> GuestKind:
    """VM.other_config:xenet-guest, else the pool's; else a tap, which suits every hypervisor."""
    said = vm.other_config.get(KEY) or default
    return next((kind for kind in KINDS if kind == said), "tap")


def port_kind(kind: GuestKind) -> PortKind:
    return "namespace" if kind == "namespace" else "tap"


def port_name(vif: VIF, domid: int, kind: GuestKind) -> str:
    """The host's device of a VIF, by XenServer's names: `vif<domid>.<device>`; of an emulated NIC `tap<domid>.<device>`."""
    return f"{'vif' if kind == 'namespace' else 'tap'}{domid}.{vif.device}"
