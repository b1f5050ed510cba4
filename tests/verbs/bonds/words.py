"""What tests of bonds say over and over."""

import msgspec

from tests.plan.whole import compile_host
from tests.verbs.world import World
from xenet.model.derived import VLAN, Bond
from xenet.model.invariants import violations
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import Record, Ref
from xenet.plan.compile import compile_switch
from xenet.plan.view import BondView

MAC = "02:00:00:00:01:00"
"""Of eth0 of host a."""


def change(world: World, cls: type[Record], ref: Ref, **fields: object) -> None:
    """Behind the verbs' back: what a state may be like."""
    world.state = world.state.with_record(cls.xenapi, ref, msgspec.structs.replace(world.get(cls, ref), **fields))


def put(world: World, record: Record) -> Ref:
    world.state = world.state.with_record(record.xenapi, record.ref, record)
    return record.ref


def bonded(world: World, network: Ref, *members: Ref, mac: str = "", mode: str = "balance-slb", **properties: str) -> tuple[Ref, PIF]:
    bond = world.call("Bond.create", network, members, mac, mode, {name.replace("_", "-"): value for name, value in properties.items()})
    assert violations(world.state) == []
    return bond, world.get(PIF, world.get(Bond, bond).master)


def static(world: World, pif: Ref, address: str = "192.0.2.1") -> None:
    world.call("PIF.reconfigure_ip", pif, "Static", address, "255.255.255.0", "192.0.2.254", "192.0.2.53")


def upper(world: World, vlan: Ref) -> PIF:
    return world.get(PIF, world.get(VLAN, vlan).untagged_PIF)


def tables(state: PoolState) -> dict[str, object]:
    return {cls: dict(state.tables.get(cls, {})) for cls in ("Bond", "PIF", "PIF_metrics", "VLAN", "tunnel", "VIF", "network", "host")}


def views(world: World, host: Ref) -> object:
    return compile_host(world.state, host)


def bond_of(world: World, host: Ref) -> BondView:
    view = compile_switch(world.state, host, "xapi0")
    assert view is not None
    assert view.uplink is not None
    assert view.uplink.bond is not None
    return view.uplink.bond
